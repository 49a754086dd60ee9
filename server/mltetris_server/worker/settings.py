"""Where the server is and which run this process is for: what a launcher hands over."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ADDRESS_VARIABLE = "MLTETRIS_WORKER_ADDRESS"
RUN_VARIABLE = "MLTETRIS_WORKER_RUN"
SECRET_VARIABLE = "MLTETRIS_WORKER_SECRET"
SPOOL_VARIABLE = "MLTETRIS_WORKER_SPOOL"


class SettingsError(ValueError):
    """The environment does not say what a worker must know."""


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker must know before it can ask the server for the rest."""

    address: str
    """gRPC target of the server's WorkerService: `unix:/path` or `127.0.0.1:port`."""
    run: str
    """Id of the run."""
    secret: str = field(repr=False)
    """The run's secret, known to the server and to this worker only."""
    spool: Path | None = None
    """The folder for a last checkpoint, should the server be gone for good; None: there is none."""

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The metadata that every call carries."""
        return (("mltetris-run", self.run), ("mltetris-secret", self.secret))

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> WorkerSettings:
        """Reads the settings a launcher put into the environment.

        Raises:
            SettingsError: a variable is missing or empty.
        """
        values = {}
        for name in (ADDRESS_VARIABLE, RUN_VARIABLE, SECRET_VARIABLE):
            value = environment.get(name, "")
            if not value:
                raise SettingsError(
                    f"{name} is not set: a worker is started by an mltetris server, not by hand"
                )
            values[name] = value
        spool = environment.get(SPOOL_VARIABLE, "")
        return cls(
            values[ADDRESS_VARIABLE],
            values[RUN_VARIABLE],
            values[SECRET_VARIABLE],
            Path(spool) if spool else None,
        )

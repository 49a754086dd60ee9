"""How a run's worker process comes to be. A launcher only starts it: the worker dials back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Link:
    """What a worker needs to know to dial back."""

    run: str
    address: str
    """`unix:/path` or `127.0.0.1:port`."""
    secret: str


class Worker(Protocol):
    """A worker process that a launcher started, or found again."""

    @property
    def pid(self) -> int:
        """Its process id."""

    async def wait(self) -> str:
        """Waits until it has ended and says how, e.g. `exit code 3` or `killed by SIGKILL`."""

    def kill(self) -> None:
        """Ends it and whatever it started, at once. Of an ended one: nothing."""

    def log_tail(self) -> str:
        """The end of what it wrote, at most 4,000 characters."""


class Launcher(Protocol):
    """Starts workers. All methods block: call them off the event loop."""

    def launch(self, link: Link) -> Worker:
        """Starts a worker for `link.run`. Where its output cannot be kept, it runs without.

        Raises:
            OSError: the process could not be started.
        """

    def find(self, run: str, pid: int) -> Worker | None:
        """Returns the worker of `run` that a former server process started, if it still lives.

        Args:
            pid: what its process id was; another process may have it by now. 0: the server died
                before it had stored it, so there may be a worker or none.
        """

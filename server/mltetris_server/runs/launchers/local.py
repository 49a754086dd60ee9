"""Workers as processes on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import structlog

from mltetris_server.errors import DomainError
from mltetris_server.runs.launchers import Link, Worker
from mltetris_server.runs.launchers.processes import (
    RUN_VARIABLE,
    Child,
    Stranger,
    find_worker_of,
    is_worker_of,
)
from mltetris_server.runs.launchers.worker_log import open_log
from mltetris_server.runs.secret import NOT_FOR_WORKERS
from mltetris_server.storage.spool import FOLDER as SPOOL_FOLDER

_log = structlog.get_logger(__name__)


WORKER_COMMAND: Final = (sys.executable, "-m", "mltetris_server.worker")
"""The program; what it is to do reaches it through its environment, never its arguments, which
every user of the machine can read."""

# subprocess.CREATE_NEW_PROCESS_GROUP | CREATE_NO_WINDOW, which exist only on Windows.
_WINDOWS_FLAGS: Final = 0x00000200 | 0x08000000 if os.name == "nt" else 0


class LocalLauncher:
    """Starts workers as children, each in a session of its own: Ctrl-C in the server's terminal is
    the server's affair, and a worker outlives a server that dies.

    Args:
        log_path: makes of a run's id the file that its worker's output goes to.
        command: the program to start.
    """

    def __init__(
        self, log_path: Callable[[str], Path], command: Sequence[str] = WORKER_COMMAND
    ) -> None:
        self._log_path = log_path
        self._command = tuple(command)

    def launch(self, link: Link) -> Worker:
        """Starts a worker; see `Launcher.launch`. A disk that refuses its log is no reason not to:
        it runs without one then."""
        environment = {
            # A worker has no business with what lets callers in.
            name: value
            for name, value in os.environ.items()
            if name not in NOT_FOR_WORKERS
        } | {
            "MLTETRIS_WORKER_ADDRESS": link.address,
            RUN_VARIABLE: link.run,
            "MLTETRIS_WORKER_SECRET": link.secret,
        }
        log = self._log_of(link.run)
        out = open_log(log) if log is not None else None
        if log is not None:
            environment["MLTETRIS_WORKER_SPOOL"] = str(log.parent / SPOOL_FOLDER)
            environment["MLTETRIS_WORKER_LOG"] = str(log)
        try:
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=out if out is not None else subprocess.DEVNULL,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=os.name == "posix",
                creationflags=_WINDOWS_FLAGS,
            )
        finally:
            if out is not None:
                out.close()
        return Child(link.run, process, log)

    def find(self, run: str, pid: int) -> Worker | None:
        """Returns a worker of a former server; see `Launcher.find`."""
        if pid == 0:
            pid = find_worker_of(run)
        if not is_worker_of(run, pid):
            return None
        worker = Stranger(run, pid, self._log_of(run))
        return worker if worker.lives() else None

    def _log_of(self, run: str) -> Path | None:
        try:
            return self._log_path(run)
        except (DomainError, OSError) as error:
            _log.warning("a worker's log cannot be written", run=run, error=str(error))
            return None

"""Workers as processes on this machine."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import psutil

from mltetris_server.runs.launchers import Link, Worker
from mltetris_server.storage.spool import FOLDER as SPOOL_FOLDER

_LOG_TAIL_BYTES: Final = 4000
_POLL_S: Final = 0.25

_RUN_VARIABLE: Final = "MLTETRIS_WORKER_RUN"
_NOT_FOR_WORKERS: Final = frozenset(
    {"MLTETRIS_OPERATOR_TOKEN", "MLTETRIS_VIEWER_TOKEN", "MLTETRIS_TOKEN"}
)

WORKER_COMMAND: Final = (sys.executable, "-m", "mltetris_server.worker")
"""The program; what it is to do reaches it through its environment, never its arguments, which
every user of the machine can read."""


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
        """Starts a worker; see `Launcher.launch`."""
        log = self._log_path(link.run)
        environment = {
            # A worker has no business with what lets callers in.
            name: value
            for name, value in os.environ.items()
            if name not in _NOT_FOR_WORKERS
        } | {
            "MLTETRIS_WORKER_ADDRESS": link.address,
            _RUN_VARIABLE: link.run,
            "MLTETRIS_WORKER_SECRET": link.secret,
            "MLTETRIS_WORKER_SPOOL": str(log.parent / SPOOL_FOLDER),
        }
        with log.open("ab") as out:
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=os.name == "posix",
                creationflags=_WINDOWS_FLAGS,
            )
        return _Child(process, log)

    def find(self, run: str, pid: int) -> Worker | None:
        """Returns a worker of a former server; see `Launcher.find`."""
        if not _is_worker_of(run, pid):
            return None
        worker = _Stranger(pid, self._log_path(run))
        return worker if worker.lives() else None


def _is_worker_of(run: str, pid: int) -> bool:
    """Whether process `pid` is the worker of `run`, by the environment it was started with."""
    if pid <= 0:
        return False
    try:
        return psutil.Process(pid).environ().get(_RUN_VARIABLE) == run
    except (psutil.Error, OSError):
        return False


# subprocess.CREATE_NEW_PROCESS_GROUP | CREATE_NO_WINDOW, which exist only on Windows.
_WINDOWS_FLAGS: Final = 0x00000200 | 0x08000000 if os.name == "nt" else 0


class _Child:
    """A worker that this process started. A thread waits for it: the one way that needs neither
    SIGCHLD nor a certain event loop, and so is the same on every platform."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log
        self._ended = threading.Event()
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self._guard = threading.Lock()
        self.pid = process.pid
        self._started = _create_time(process.pid)
        threading.Thread(target=self._reap, name=f"wait-{process.pid}", daemon=True).start()

    async def wait(self) -> str:
        ended = asyncio.Event()
        with self._guard:
            if self._process.returncode is not None:
                ended.set()
            else:
                self._waiting.append((asyncio.get_running_loop(), ended))
        await ended.wait()
        return _how(self._process.returncode)

    def kill(self) -> None:
        if self._process.returncode is None:
            _kill(self.pid, self._started)

    def log_tail(self) -> str:
        return _tail(self._log)

    def _reap(self) -> None:
        self._process.wait()
        with self._guard:
            waiting, self._waiting = self._waiting, []
        for loop, ended in waiting:
            # The loop may be closing: then nobody is left to tell.
            if not loop.is_closed():
                loop.call_soon_threadsafe(ended.set)


class _Stranger:
    """A worker that another server process started: no child, so it has no exit code for us."""

    def __init__(self, pid: int, log: Path) -> None:
        self.pid = pid
        # With the pid it names one process for ever.
        self._started = _create_time(pid)
        self._log = log

    def lives(self) -> bool:
        """Whether the process with that id is still the one that began then."""
        return self._started > 0 and _create_time(self.pid) == self._started

    async def wait(self) -> str:
        # There is nothing to wait on: only a parent is told when a process ends.
        while self.lives():  # noqa: ASYNC110
            await asyncio.sleep(_POLL_S)
        return "exit code unknown"

    def kill(self) -> None:
        if self.lives():
            _kill(self.pid, self._started)

    def log_tail(self) -> str:
        return _tail(self._log)


def _create_time(pid: int) -> float:
    """When process `pid` began, or 0 where there is none (or only its zombie)."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return 0.0
        return process.create_time()
    except psutil.Error:
        return 0.0


def _kill(pid: int, started: float) -> None:
    """Kills process `pid` and its descendants, unless another has its number by now."""
    try:
        process = psutil.Process(pid)
        if process.create_time() != started:
            return
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for member in family:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue


def _how(returncode: int) -> str:
    if returncode >= 0:
        return f"exit code {returncode}"
    try:
        return f"killed by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"killed by signal {-returncode}"


def _tail(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _LOG_TAIL_BYTES))
            return file.read().decode("utf-8", errors="replace").strip()
    except FileNotFoundError:
        return ""

"""Processes that are workers: when they end, how, and that nothing of them is left."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Final

import psutil

from mltetris_server.runs.launchers import worker_log

RUN_VARIABLE: Final = "MLTETRIS_WORKER_RUN"
"""The variable by which a process is known as the worker of a run, or something it started."""

_POLL_S: Final = 0.05
"""Between two looks at a process whose end nothing tells."""


class Child:
    """A worker that this process started. A thread waits for it: the one way that needs neither
    SIGCHLD nor a certain event loop, and so is the same on every platform.

    Args:
        run: whose worker it is.
        log: where its output goes; None: nowhere.
    """

    def __init__(self, run: str, process: subprocess.Popen[bytes], log: Path | None) -> None:
        self.pid = process.pid
        self._run = run
        self._process = process
        self._log = log
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self._guard = threading.Lock()
        self._started = create_time(process.pid)
        threading.Thread(target=self._reap, name=f"wait-{process.pid}", daemon=True).start()

    async def wait(self) -> str:
        """Waits until it has ended and says how; see `Worker.wait`."""
        ended = asyncio.Event()
        with self._guard:
            if self._process.returncode is not None:
                ended.set()
            else:
                self._waiting.append((asyncio.get_running_loop(), ended))
        await ended.wait()
        return _how(self._process.returncode)

    def kill(self) -> None:
        """Ends it and what it started; see `Worker.kill`."""
        if self._process.returncode is None:
            _kill(self.pid, self._started)

    def log_tail(self) -> str:
        """The end of what it wrote; see `Worker.log_tail`."""
        return worker_log.tail(self._log) if self._log is not None else ""

    def _reap(self) -> None:
        self._process.wait()
        with self._guard:
            waiting, self._waiting = self._waiting, []
        for loop, ended in waiting:
            # The loop may be closing: then nobody is left to tell.
            if not loop.is_closed():
                loop.call_soon_threadsafe(ended.set)
        _kill_rest(self._run, self.pid)


class Stranger:
    """A worker that another server process started: no child, so it has no exit code for us.

    Args:
        run: whose worker it is.
        pid: its process id.
        log: where its output goes; None: nowhere.
    """

    def __init__(self, run: str, pid: int, log: Path | None) -> None:
        self.pid = pid
        self._run = run
        # With the pid it names one process for ever.
        self._started = create_time(pid)
        self._log = log

    def lives(self) -> bool:
        """Whether the process with that id is still the one that began then."""
        return self._started > 0 and create_time(self.pid) == self._started

    async def wait(self) -> str:
        """Waits until it has ended; how, only its parent could know. See `Worker.wait`."""
        await self._ended()
        await asyncio.to_thread(_kill_rest, self._run, self.pid)
        return "exit code unknown"

    def kill(self) -> None:
        """Ends it and what it started; see `Worker.kill`."""
        if self.lives():
            _kill(self.pid, self._started)

    def log_tail(self) -> str:
        """The end of what it wrote; see `Worker.log_tail`."""
        return worker_log.tail(self._log) if self._log is not None else ""

    async def _ended(self) -> None:
        descriptor = _pidfd(self.pid)
        if descriptor is not None:
            try:
                # Now that there is a handle on it: it cannot be another one from here on.
                if self.lives():
                    await _readable(descriptor)
            finally:
                os.close(descriptor)
        while self.lives():  # noqa: ASYNC110 - only a parent is told when a process ends
            await asyncio.sleep(_POLL_S)


def is_worker_of(run: str, pid: int) -> bool:
    """Whether process `pid` is of the worker of `run`, by the environment it was started with."""
    if pid <= 0:
        return False
    try:
        return psutil.Process(pid).environ().get(RUN_VARIABLE) == run
    except (psutil.Error, OSError):
        return False


def find_worker_of(run: str) -> int:
    """Returns the process id of the worker of `run`, by looking at all processes; 0: none."""
    found = []
    for process in psutil.process_iter():
        if is_worker_of(run, process.pid) and (began := create_time(process.pid)):
            found.append((began, process.pid))
    # What it started itself has its environment, and began later.
    return min(found, default=(0.0, 0))[1]


def create_time(pid: int) -> float:
    """When process `pid` began, or 0 where there is none (or only its zombie)."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return 0.0
        return process.create_time()
    except psutil.Error:
        return 0.0


def _pidfd(pid: int) -> int | None:
    """A descriptor that tells of the end of process `pid`; None where there is no such thing."""
    if sys.platform != "linux":
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        # It is gone, or the kernel is older than 5.3.
        return None


async def _readable(descriptor: int) -> None:
    """Waits until `descriptor` can be read; returns at once where this loop cannot wait for it."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(descriptor, ready.set)
    except (NotImplementedError, OSError):
        return
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)


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


def _kill_rest(run: str, session: int) -> None:
    """Kills what a worker that has ended left behind in its session, where there are sessions."""
    if sys.platform == "win32":
        return
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == session and is_worker_of(run, process.pid):
                process.kill()
        except (psutil.Error, OSError):
            continue


def _how(returncode: int) -> str:
    if returncode >= 0:
        return f"exit code {returncode}"
    try:
        return f"killed by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"killed by signal {-returncode}"

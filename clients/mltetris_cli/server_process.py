"""A server as a child process: started, waited for, and never left behind."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from mltetris_cli.exits import CliError, ExitCode
from mltetris_cli.guard import STOP_TIMEOUT_S
from mltetris_cli.settings import DEFAULT_LISTEN

_START_TIMEOUT_S = 60.0
# The guard kills what does not follow; it needs a moment longer than it gives.
_STOP_TIMEOUT_S = STOP_TIMEOUT_S + 3.0
_KEPT_LOG_LINES = 200
_SERVER_MODULE = "mltetris_server.service"


class ServerProcess:
    """A server of our own. In a ``with`` it is stopped at the end, whatever happens.

    It runs in a session of its own, so that Ctrl-C in the terminal reaches only us, who then stop
    it in order. ``log_to_terminal`` shows its log on our stderr; else the end of it is kept.

    Raises:
        CliError: the server's packages are missing, or it did not start; says why.
    """

    def __init__(
        self,
        *,
        listen: str,
        data_dir: Path,
        log_to_terminal: bool = False,
        arguments: tuple[str, ...] = (),
    ) -> None:
        require_server()
        check_listen(listen)
        self._log: deque[str] = deque(maxlen=_KEPT_LOG_LINES)
        self._ready: queue.SimpleQueue[dict[str, object] | None] = queue.SimpleQueue()
        self._echo = log_to_terminal
        command = [
            *(sys.executable, "-m", "mltetris_cli.guard"),
            *(sys.executable, "-m", _SERVER_MODULE),
            *("--listen", listen),
            *("--data-dir", str(data_dir)),
            *arguments,
        ]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,  # closes when we end, however we end: see guard.py
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=os.name == "posix",
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        self._readers = [
            _start_reader(self._process.stdout, self._read_ready),
            _start_reader(self._process.stderr, self._read_log),
        ]
        try:
            ready = self._await_ready()
        except BaseException:
            self.stop()
            raise
        self.pid = int(str(ready["pid"]))
        self.address = str(ready["address"])
        self.data_dir = Path(str(ready.get("data_dir", data_dir)))
        self.metrics_url = str(ready.get("metrics", ""))

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def check(self) -> None:
        """Raises CliError if the server has ended by itself."""
        if not self.running:
            raise CliError(
                f"the server ended unexpectedly (exit code {self._process.returncode})"
                + self._last_words(),
                "Start it with `mltetris serve` to see its log.",
            )

    def wait(self) -> int:
        """Waits for its end; returns its exit code."""
        return wait_interruptibly(self._process)

    def stop(self) -> None:
        """Ends it: in order, with every run checkpointed, or by force if it does not listen.

        Interrupted (Ctrl-C once more), it leaves the rest to the guard, which goes on by itself.
        """
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for reader in self._readers:
            reader.join(timeout=1.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # -- Reading what it says --------------------------------------------------------------------

    def _read_ready(self, stream: IO[str]) -> None:
        """Finds the one JSON line on stdout; everything else there is drained."""
        for line in stream:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict) and event.get("event") == "ready" and "address" in event:
                self._ready.put(event)
        self._ready.put(None)

    def _read_log(self, stream: IO[str]) -> None:
        for line in stream:
            self._log.append(line.rstrip())
            # Why it could not start is said once, by whoever started it.
            if self._echo and not line.startswith("error: "):
                sys.stderr.write(line)
                sys.stderr.flush()

    def _await_ready(self) -> dict[str, object]:
        deadline = time.monotonic() + _START_TIMEOUT_S
        try:
            ready = self._ready.get(timeout=max(0.1, deadline - time.monotonic()))
        except queue.Empty:
            raise CliError(
                f"the server was not ready within {_START_TIMEOUT_S:.0f} s" + self._last_words(),
                "Start it with `mltetris serve` to see its log.",
            ) from None
        if ready is not None:
            return ready
        code = self._process.wait()
        for reader in self._readers:
            reader.join(timeout=1.0)
        for line in reversed(self._log):
            _, found, reason = line.partition("error: ")
            if found:
                usage = code == ExitCode.USAGE
                raise CliError(reason, exit_code=ExitCode.USAGE if usage else ExitCode.FAILURE)
        raise CliError(f"the server did not start (exit code {code})" + self._last_words())

    def _last_words(self) -> str:
        return f": {self._log[-1].strip()}" if self._log else ""


def _start_reader(stream: IO[str] | None, work: Callable[[IO[str]], None]) -> threading.Thread:
    assert stream is not None
    thread = threading.Thread(target=work, args=(stream,), daemon=True)
    thread.start()
    return thread


def require_server() -> None:
    """Raises CliError unless the packages a server needs are installed."""
    needed = ("mltetris_server", "sqlalchemy", "structlog", "torch", "numba", "stable_baselines3")
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise CliError(
            f"this is the thin client: {', '.join(missing)} not installed",
            'Install the server with `pip install "mltetris[server]"`.',
        )


def wait_interruptibly(process: subprocess.Popen[Any]) -> int:
    """Waits for a process such that Ctrl-C is heard on Windows, too; returns its exit code."""
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(timeout=0.5)


def check_listen(address: str) -> None:
    """Raises CliError unless it is HOST:PORT, with a port of 0..65535, or unix:/PATH."""
    if address.startswith("unix:") and len(address) > len("unix:"):
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise CliError(
            f"{address!r} is not an address to listen on",
            "Write HOST:PORT, for example 127.0.0.1:50051; port 0 is any free one. Or unix:/PATH.",
            ExitCode.USAGE,
        )


def free_listen_address() -> tuple[str, bool]:
    """Where to listen when nobody said: the default port, or any free one where it is taken.

    Returns the address and whether it is the default.
    """
    host, _, port = DEFAULT_LISTEN.rpartition(":")
    if port_is_free(host, int(port)):
        return DEFAULT_LISTEN, True
    return f"{host}:0", False


def port_is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        if sys.platform == "win32":
            # On Windows SO_REUSEADDR would let us share a port that is in use.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True

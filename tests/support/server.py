"""A real server process for tests, on a free port with a data directory of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType

import grpc
import psutil

READY_TIMEOUT_S = 30.0

CHANNEL_OPTIONS = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 1024),
)


class ServerProcess:
    """`python -m mltetris_server.service`; a context manager that leaves no process behind.

    `address` is `127.0.0.1:port`, `data_dir` its data directory, `process` the running process
    and `log_path` the file of everything it has logged. `arguments` are passed on; environment
    variables may be set in `environment` before `start`.
    """

    def __init__(self, data_dir: Path, *arguments: str, module: str = "mltetris_server.service"):
        self.data_dir = data_dir
        self.arguments = arguments
        self.module = module
        self.environment = dict(os.environ)
        self.environment.pop("MLTETRIS_SERVER", None)
        self.environment.pop("MLTETRIS_DATA_DIR", None)
        self.address = "127.0.0.1:0"
        self.process: subprocess.Popen[str] | None = None
        # Beside the data directory and not in it: tests look at what the server puts there.
        handle, name = tempfile.mkstemp(prefix="server-", suffix=".log")
        os.close(handle)
        self.log_path = Path(name)

    def __enter__(self) -> ServerProcess:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        left = self.close()
        if kind is None:
            assert not left, f"the server left processes behind: {left}"

    def start(self) -> None:
        """Starts it (at its former address, if it had one) and waits until it is ready."""
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", self.module),
                    *("--listen", self.address),
                    *("--data-dir", str(self.data_dir)),
                    *("--log-format", "json"),
                    *self.arguments,
                ],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=self.environment,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            raise RuntimeError(f"the server did not start: {self.log()}")
        ready = json.loads(line)
        assert ready["event"] == "ready"
        self.address = ready["address"]

    def kill(self) -> None:
        """Kills it as a power cut would; its workers live on."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self._close_pipe()

    def terminate(self, timeout: float = 20.0) -> int:
        """Ends it as an operator would; returns its exit status."""
        assert self.process is not None
        if os.name == "posix":
            self.process.send_signal(signal.SIGTERM)
        else:
            self.process.terminate()
        status = self.process.wait(timeout)
        self._close_pipe()
        return status

    def restart(self) -> None:
        """Ends it if it runs, and starts it again with the same address and data directory."""
        assert self.process is not None
        if self.process.poll() is None:
            self.terminate()
        self.start()

    def log(self) -> str:
        """Everything it has logged so far."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def workers(self) -> list[psutil.Process]:
        """The living worker processes of this server's data directory, whoever their parent is."""
        runs = {path.name for path in (self.data_dir / "runs").glob("*")}
        found = []
        for process in psutil.process_iter():
            try:
                if (
                    process.status() != psutil.STATUS_ZOMBIE
                    and process.environ().get("MLTETRIS_WORKER_RUN") in runs
                ):
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    def channel(self) -> grpc.Channel:
        """A new channel to it; the caller closes it."""
        return grpc.insecure_channel(self.address, options=CHANNEL_OPTIONS)

    def close(self) -> list[psutil.Process]:
        """Ends it and kills whatever it left behind, which is returned."""
        if self.process is not None and self.process.poll() is None:
            try:
                self.terminate()
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._close_pipe()
        left = self.workers()
        for process in left:
            try:
                process.kill()
                process.wait(5)
            except psutil.NoSuchProcess:
                continue
        self.log_path.unlink(missing_ok=True)
        return left

    def _close_pipe(self) -> None:
        if self.process is not None and self.process.stdout is not None:
            self.process.stdout.close()

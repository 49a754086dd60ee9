"""Real worker processes, and the server of a test for each."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mltetris_server.worker.settings import ADDRESS_VARIABLE, RUN_VARIABLE, SECRET_VARIABLE
from worker.fake_server import RUN, SECRET, FakeServer, address

Serve = Callable[..., FakeServer]
StartWorker = Callable[[FakeServer], "subprocess.Popen[bytes]"]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts servers of a test; the arguments are those of FakeServer but the address."""
    servers: list[FakeServer] = []

    def start(**arguments: object) -> FakeServer:
        folder = tmp_path / str(len(servers))
        folder.mkdir()
        servers.append(FakeServer(address(folder), **arguments))  # type: ignore[arg-type]
        return servers[-1].start()

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def start_worker(tmp_path: Path) -> Iterator[StartWorker]:
    """Starts worker processes as a launcher does; none is left behind, and logs are shown."""
    started: list[tuple[subprocess.Popen[bytes], Path]] = []

    def start(server: FakeServer) -> subprocess.Popen[bytes]:
        log = tmp_path / f"worker-{len(started)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "mltetris_server.worker"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={
                    **os.environ,
                    ADDRESS_VARIABLE: server.address,
                    RUN_VARIABLE: RUN,
                    SECRET_VARIABLE: SECRET,
                },
                start_new_session=True,
            )
        started.append((process, log))
        return process

    yield start
    for process, log in started:
        process.kill()
        process.wait()
        # Shown by pytest where the test failed.
        print(log.read_text(errors="replace"))

"""Workers as processes of this machine: started without a log, found again, wholly gone."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from mltetris_server.errors import DiskFull
from mltetris_server.runs.launchers import Link
from mltetris_server.runs.launchers.local import LocalLauncher
from mltetris_server.runs.launchers.processes import RUN_VARIABLE

LINK = Link("train-launch", "unix:/nowhere", "secret")
SLEEP = (sys.executable, "-c", "import time; time.sleep(60)")


def refuse(run: str) -> Path:
    raise DiskFull("no room")


def below_a_file(run: str) -> Path:
    return Path(__file__) / "worker.log"


@pytest.mark.parametrize("log_path", [refuse, below_a_file])
async def test_a_log_that_cannot_be_had_is_no_reason_not_to_start(
    log_path: Callable[[str], Path],
) -> None:
    script = "import sys; print('hello', flush=True); sys.exit(5)"
    worker = LocalLauncher(log_path, (sys.executable, "-c", script)).launch(LINK)
    assert await worker.wait() == "exit code 5"
    assert worker.log_tail() == ""


async def test_a_worker_whose_process_id_was_never_stored_is_found(tmp_path: Path) -> None:
    launcher = LocalLauncher(lambda run: tmp_path / "worker.log", SLEEP)
    assert launcher.find("train-launch", 0) is None
    worker = launcher.launch(LINK)
    try:
        async with asyncio.timeout(20):
            # Between the fork and the new program it has its parent's environment.
            while (found := launcher.find("train-launch", 0)) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert found.pid == worker.pid
        assert launcher.find("train-other", 0) is None
        assert launcher.find("train-launch", os.getpid()) is None, "another has that number"
        ended = asyncio.create_task(found.wait())
        await asyncio.sleep(0.05)
        assert not ended.done()
    finally:
        worker.kill()
    async with asyncio.timeout(20):
        assert await ended == "exit code unknown"
        assert await found.wait() == "exit code unknown", "however often it is asked"
        assert await worker.wait() == "killed by SIGKILL"
    assert launcher.find("train-launch", worker.pid) is None


@pytest.mark.skipif(os.name != "posix", reason="there are no sessions")
async def test_what_shares_nothing_but_the_environment_lives_on(tmp_path: Path) -> None:
    launcher = LocalLauncher(lambda run: tmp_path / "worker.log", SLEEP)
    environment = {**os.environ, RUN_VARIABLE: "train-launch"}
    other = subprocess.Popen(SLEEP, env=environment, start_new_session=True)  # noqa: ASYNC220
    try:
        worker = launcher.launch(LINK)
        worker.kill()
        await worker.wait()
        await asyncio.sleep(0.3)
        assert psutil.Process(other.pid).status() != psutil.STATUS_ZOMBIE
    finally:
        other.kill()
        other.wait()

"""Workers that end otherwise than they should: who watches knows within a second."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import mltetris_client
import psutil
import pytest
from mltetris_api.v1 import run_pb2
from mltetris_api.v1.run_pb2 import RunReason
from mltetris_client import Trainer
from support.server import ServerProcess
from support.small import PATIENCE_S, eventually, in_state, small_service

pytestmark = pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")

FAILED, RUNNING = run_pb2.RUN_STATE_FAILED, run_pb2.RUN_STATE_RUNNING
SEEN_S = 1.0
"""From the death of a worker to the event that says so, in the median: what is promised."""


class Watcher:
    """Every event of every run, with the time at which it came."""

    def __init__(self, trainer: Trainer) -> None:
        self._events: queue.Queue[tuple[float, run_pb2.Run]] = queue.Queue()
        self._stream = trainer.watch_runs()
        self._caught_up = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        assert self._caught_up.wait(PATIENCE_S)

    def _watch(self) -> None:
        for event in self._stream:
            if event.HasField("run"):
                self._events.put((time.monotonic(), event.run))
            if event.caught_up:
                self._caught_up.set()

    def until(
        self, run: str, condition: Callable[[run_pb2.Run], bool]
    ) -> tuple[float, run_pb2.Run]:
        """Waits until a run is as wanted; when that was heard, and the run."""
        while True:
            at, seen = self._events.get(timeout=PATIENCE_S)
            if seen.id == run and condition(seen):
                return at, seen

    def close(self) -> None:
        """Stops watching."""
        self._stream.cancel()
        self._thread.join(PATIENCE_S)


@contextmanager
def watching(trainer: Trainer) -> Iterator[Watcher]:
    watcher = Watcher(trainer)
    try:
        yield watcher
    finally:
        watcher.close()


def process_of(server: ServerProcess, run: str) -> psutil.Process:
    """The worker of a run: of what has its environment, what began first."""
    mine = []
    for process in server.workers():
        # One that has just been killed has no environment any more.
        with contextlib.suppress(psutil.Error):
            if process.environ()["MLTETRIS_WORKER_RUN"] == run:
                mine.append(process)
    return min(mine, key=lambda process: process.create_time())


def gone(server: ServerProcess) -> None:
    eventually(lambda: not server.workers(), "all workers, and what they started, to be gone")


@pytest.mark.parametrize("stranger", [False, True])
def test_a_killed_worker_is_seen_within_a_second(tmp_path: Path, stranger: bool) -> None:
    took = []
    with (
        small_service(tmp_path / "data", "--max-runs", "8") as server,
        mltetris_client.connect(server.address) as trainer,
    ):
        ways = [signal.SIGKILL, signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT, signal.SIGKILL]
        runs = [trainer.start_training() for _ in ways]
        for run in runs:
            in_state(trainer, run.id, "running")
        if stranger:
            server.kill()
            server.start()
        before = {run.id: trainer.get_run(run.id).metrics.sequence for run in runs}
        for run in runs:
            eventually(
                lambda run=run: (  # type: ignore[misc]
                    trainer.get_run(run.id).metrics.sequence > before[run.id] + 2
                ),
                "the worker to say something to this server",
            )
        with watching(trainer) as watcher:
            for run, way in zip(runs, ways, strict=True):
                worker = process_of(server, run.id)
                killed = time.monotonic()
                worker.send_signal(way)
                at, failed = watcher.until(run.id, lambda run: run.state == FAILED)
                took.append(at - killed)
                assert failed.reason == RunReason.RUN_REASON_WORKER_DIED
                expected = "exit code unknown" if stranger else f"killed by {way.name}"
                assert expected in failed.error.message
                points = [point.sequence for point in trainer.stream_metrics(run.id)]
                assert points == list(range(1, failed.metrics.sequence + 1))
    print(f"seen after {', '.join(f'{s * 1000:.0f}' for s in took)} ms")
    assert statistics.median(took) < SEEN_S, took


def test_how_a_real_worker_ended_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    expected = {
        1: (RunReason.RUN_REASON_WORKER_ERROR, "MemoryError: no room for 1 TiB", "MemoryError"),
        2: (RunReason.RUN_REASON_WORKER_ERROR, "ZeroDivisionError: learnt", "Traceback (most"),
        3: (RunReason.RUN_REASON_WORKER_DIED, "exit code 3", "exiting now"),
        4: (RunReason.RUN_REASON_WORKER_DIED, "killed by SIGSEGV", "Segmentation fault"),
    }
    with (
        small_service(
            tmp_path / "data", "--max-runs", "2", module="support.failing_service"
        ) as server,
        mltetris_client.connect(server.address) as trainer,
    ):
        runs = {seed: trainer.start_training(seed=seed, mode="headless") for seed in expected}
        end = time.monotonic() + 4 * PATIENCE_S
        for seed, (reason, message, log) in expected.items():
            while (run := trainer.get_run(runs[seed].id)).state != FAILED:
                assert time.monotonic() < end, run
                time.sleep(0.05)
            assert run.reason == reason, run
            assert message in run.error.message
            assert log in run.log_tail
            assert len(run.log_tail) <= 4000
        gone(server)


def test_nothing_that_a_worker_started_outlives_it(tmp_path: Path) -> None:
    with (
        small_service(tmp_path / "data", "--silence", "2.5", habits="child") as server,
        mltetris_client.connect(server.address) as trainer,
    ):
        killed, hung = trainer.start_training(), trainer.start_training()
        for run in (killed, hung):
            in_state(trainer, run.id, "running")
        eventually(lambda: len(server.workers()) == 4, "two workers and a child of each")
        process_of(server, killed.id).kill()
        process_of(server, hung.id).suspend()
        for run, reason in (
            (killed, RunReason.RUN_REASON_WORKER_DIED),
            (hung, RunReason.RUN_REASON_WORKER_UNRESPONSIVE),
        ):
            assert in_state(trainer, run.id, "failed").reason == reason
        gone(server)


def test_nor_what_a_worker_of_the_server_before_started(tmp_path: Path) -> None:
    with (
        small_service(tmp_path / "data", "--silence", "2.5", habits="child") as server,
        mltetris_client.connect(server.address) as trainer,
    ):
        killed, hung = trainer.start_training(), trainer.start_training()
        for run in (killed, hung):
            in_state(trainer, run.id, "running")
        eventually(lambda: len(server.workers()) == 4, "two workers and a child of each")
        server.kill()
        server.start()
        for run in (killed, hung):
            sequence = trainer.get_run(run.id).metrics.sequence
            eventually(
                lambda run=run, sequence=sequence: (  # type: ignore[misc]
                    trainer.get_run(run.id).metrics.sequence > sequence + 2
                ),
                "the worker to come back",
            )
        process_of(server, killed.id).kill()
        process_of(server, hung.id).suspend()
        for run in (killed, hung):
            in_state(trainer, run.id, "failed")
        gone(server)

"""Runs whose workers die, and that go on by themselves."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import mltetris_client
import psutil
import pytest
from google.protobuf.duration_pb2 import Duration
from mltetris_api.v1 import run_pb2, trainer_pb2
from mltetris_api.v1.run_pb2 import RunReason
from mltetris_client import Trainer, Unreachable, WrongState
from mltetris_server.runs import restarts
from mltetris_server.storage.history import History
from support.server import ServerProcess
from support.small import until
from support.small_worker import VARIABLE

PATIENCE_S = 30.0
SOON = Duration(nanos=50_000_000)
LATE = Duration(seconds=3600)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    process = ServerProcess(
        tmp_path / "data",
        *("--max-runs", "2", "--grace", "15"),
        module="support.small_service",
    )
    with process:
        yield process


@pytest.fixture
def trainer(server: ServerProcess) -> Iterator[Trainer]:
    with mltetris_client.connect(server.address) as made:
        yield made


def policy(most: int, backoff: Duration = SOON) -> run_pb2.RestartPolicy:
    return run_pb2.RestartPolicy(max_restarts=most, backoff=backoff)


def start(trainer: Trainer, most: int, backoff: Duration = SOON) -> run_pb2.Run:
    request = trainer_pb2.StartRunRequest(
        training=run_pb2.TrainingSpec(), restart_policy=policy(most, backoff)
    )
    return trainer._link.trainer.StartRun(request, timeout=PATIENCE_S).run  # type: ignore[no-any-return]


def points(trainer: Trainer, run: str) -> list[int]:
    return [point.sequence for point in trainer.stream_metrics(run)]


def kill_worker(server: ServerProcess) -> psutil.Process:
    (worker,) = server.workers()
    worker.kill()
    return worker


def test_a_run_goes_on_as_the_same_run(server: ServerProcess, trainer: Trainer) -> None:
    run = start(trainer, 2)
    until(trainer, run.id, lambda run: run.metrics.sequence > 5)
    trainer.save_slot("mine", run=run.id, checkpoint="latest")
    with trainer.watch_runs(run.id) as events:
        stream = iter(events)
        next(event for event in stream if event.caught_up)
        first = kill_worker(server)
        notice = next(event.notice for event in stream if event.HasField("notice"))
    assert "killed by SIGKILL; restart 1 of 2 from" in notice.text.replace("(", "").replace(")", "")
    again = until(
        trainer, run.id, lambda run: run.state == run_pb2.RUN_STATE_RUNNING and run.restarts == 1
    )
    assert not again.HasField("error")
    assert not again.HasField("next_start_time")
    (second,) = server.workers()
    assert second.pid != first.pid
    until(trainer, run.id, lambda now: now.metrics.sequence > again.metrics.sequence + 5)
    trainer.stop_run(run.id)
    seen = points(trainer, run.id)
    assert seen == list(range(1, len(seen) + 1))


def test_enough_is_enough(server: ServerProcess, trainer: Trainer) -> None:
    run = start(trainer, 2)
    for restarts_before in range(3):
        until(
            trainer,
            run.id,
            lambda run, n=restarts_before: (  # type: ignore[misc]
                run.state == run_pb2.RUN_STATE_RUNNING and run.restarts == n
            ),
        )
        kill_worker(server)
    failed = until(trainer, run.id, lambda run: run.state == run_pb2.RUN_STATE_FAILED)
    assert failed.restarts == 2
    assert failed.reason == RunReason.RUN_REASON_WORKER_DIED
    assert "SIGKILL" in failed.error.message


def test_without_a_policy_it_fails(server: ServerProcess, trainer: Trainer) -> None:
    run = trainer.start_training()
    until(trainer, run.id, lambda run: run.state == run_pb2.RUN_STATE_RUNNING)
    kill_worker(server)
    failed = until(trainer, run.id, lambda run: run.state == run_pb2.RUN_STATE_FAILED)
    assert failed.restarts == 0


def test_a_paused_run_comes_back_paused(server: ServerProcess, trainer: Trainer) -> None:
    run = start(trainer, 1)
    until(trainer, run.id, lambda run: run.metrics.sequence > 2)
    held = trainer.pause_run(run.id)
    kill_worker(server)
    again = until(
        trainer, run.id, lambda run: run.restarts == 1 and run.state == run_pb2.RUN_STATE_PAUSED
    )
    assert again.metrics.sequence == held.metrics.sequence
    trainer.resume_run(run.id)
    until(trainer, run.id, lambda run: run.metrics.sequence > held.metrics.sequence + 2)


def test_a_run_that_waits_can_be_stopped_and_not_steered(
    server: ServerProcess, trainer: Trainer
) -> None:
    run = start(trainer, 1, LATE)
    until(trainer, run.id, lambda run: run.state == run_pb2.RUN_STATE_RUNNING)
    kill_worker(server)
    waiting = until(trainer, run.id, lambda run: run.reason == RunReason.RUN_REASON_RESTARTING)
    assert waiting.state == run_pb2.RUN_STATE_STARTING
    left = waiting.next_start_time.ToNanoseconds() / 1e9 - time.time()
    assert 3500 < left <= 3600
    with pytest.raises(WrongState):
        trainer.pause_run(run.id)
    stopped = trainer.stop_run(run.id)
    assert stopped.state == run_pb2.RUN_STATE_STOPPED
    assert not stopped.HasField("next_start_time")
    trainer.delete_run(run.id)


def test_a_caller_who_waits_for_the_lost_worker_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "die-on-pause")
    with (
        ServerProcess(tmp_path / "data", module="support.small_service") as server,
        mltetris_client.connect(server.address) as trainer,
    ):
        run = start(trainer, 1)
        until(trainer, run.id, lambda run: run.state == run_pb2.RUN_STATE_RUNNING)
        with pytest.raises(Unreachable, match="is being restarted"):
            trainer.pause_run(run.id)
        until(trainer, run.id, lambda run: run.state == run_pb2.RUN_STATE_RUNNING)


def test_a_run_that_waits_outlives_its_server(server: ServerProcess, trainer: Trainer) -> None:
    run = start(trainer, 1, LATE)
    until(trainer, run.id, lambda run: run.metrics.sequence > 2)
    trainer.pause_run(run.id)
    kill_worker(server)
    until(trainer, run.id, lambda run: run.reason == RunReason.RUN_REASON_RESTARTING)
    server.kill()
    server.start()
    again = until(trainer, run.id, lambda run: run.state == run_pb2.RUN_STATE_PAUSED)
    assert again.restarts == 1


def test_server_and_worker_lost_together(server: ServerProcess, trainer: Trainer) -> None:
    kept, lost = start(trainer, 1), trainer.start_training()
    for run in (kept, lost):
        until(trainer, run.id, lambda run: run.metrics.sequence > 2)
    workers = server.workers()
    server.kill()
    for worker in workers:
        worker.kill()
    psutil.wait_procs(workers, timeout=PATIENCE_S)
    server.start()
    again = until(trainer, kept.id, lambda run: run.state == run_pb2.RUN_STATE_RUNNING)
    assert again.restarts == 1
    failed = trainer.get_run(lost.id)
    assert failed.state == run_pb2.RUN_STATE_FAILED
    assert failed.reason == RunReason.RUN_REASON_SERVER_RESTARTED


@pytest.mark.skipif(os.name != "posix", reason="a process cannot be stopped here")
def test_a_worker_that_hangs_is_replaced(tmp_path: Path) -> None:
    with (
        ServerProcess(
            tmp_path / "data", "--silence", "2", module="support.small_service"
        ) as server,
        mltetris_client.connect(server.address) as trainer,
    ):
        run = start(trainer, 1)
        until(trainer, run.id, lambda run: run.metrics.sequence > 2)
        (worker,) = server.workers()
        worker.send_signal(signal.SIGSTOP)
        again = until(
            trainer,
            run.id,
            lambda run: run.restarts == 1 and run.state == run_pb2.RUN_STATE_RUNNING,
        )
        worker.wait(PATIENCE_S)
        assert [process.pid for process in server.workers()] != [worker.pid]
        until(trainer, run.id, lambda run: run.metrics.sequence > again.metrics.sequence)


@pytest.mark.parametrize(
    ("backoff", "waits"),
    [
        (None, [1, 2, 4, 8, 16, 32, 60, 60]),
        (Duration(nanos=500_000_000), [0.5, 1, 2]),
        (Duration(seconds=600), [600, 600]),
    ],
)
def test_waits_double(backoff: Duration | None, waits: list[float]) -> None:
    run = run_pb2.Run(state=run_pb2.RUN_STATE_RUNNING)
    run.restart_policy.max_restarts = len(waits)
    if backoff is not None:
        run.restart_policy.backoff.CopyFrom(backoff)
    for wait in waits:
        assert restarts.wait_s(run, RunReason.RUN_REASON_WORKER_DIED) == wait
        run.restarts += 1
    assert restarts.wait_s(run, RunReason.RUN_REASON_WORKER_DIED) is None


def test_what_is_no_accident_is_not_tried_again() -> None:
    run = run_pb2.Run(state=run_pb2.RUN_STATE_RUNNING)
    run.restart_policy.max_restarts = 9
    assert restarts.wait_s(run, RunReason.RUN_REASON_WORKER_ERROR) is None
    run.state = run_pb2.RUN_STATE_STOPPING
    assert restarts.wait_s(run, RunReason.RUN_REASON_WORKER_DIED) is None


def edit(server: ServerProcess, run_id: str, change: Callable[[run_pb2.Run], None]) -> None:
    """Changes what a killed server had stored of a run, whose worker it does not know then."""
    with History(server.data_dir / "mltetris.db") as history:
        run = history.get_run(run_id)
        assert run is not None
        change(run)
        history.save_run(run)
        history.set_worker(run_id, pid=0)


def test_a_server_killed_before_it_had_started_the_worker(
    server: ServerProcess, trainer: Trainer
) -> None:
    others = [trainer.start_training(), trainer.start_training()]
    queued = trainer.start_training()
    assert queued.state == run_pb2.RUN_STATE_QUEUED
    for run in others:
        until(trainer, run.id, lambda run: run.state == run_pb2.RUN_STATE_RUNNING)
    server.kill()
    edit(server, queued.id, lambda run: setattr(run, "state", run_pb2.RUN_STATE_STARTING))
    server.start()
    begun = until(trainer, queued.id, lambda run: run.state == run_pb2.RUN_STATE_RUNNING)
    assert begun.restarts == 0
    assert len(server.workers()) == 3


def test_a_server_killed_before_it_had_stored_the_workers_process_id(
    server: ServerProcess, trainer: Trainer
) -> None:
    run = trainer.start_training()
    before = until(trainer, run.id, lambda run: run.metrics.sequence > 2)
    (worker,) = server.workers()
    server.kill()
    edit(server, run.id, lambda run: None)
    server.start()
    until(trainer, run.id, lambda run: run.metrics.sequence > before.metrics.sequence + 3)
    assert [process.pid for process in server.workers()] == [worker.pid]
    seen = points(trainer, trainer.stop_run(run.id).id)
    assert seen == list(range(1, len(seen) + 1))


def test_a_server_killed_between_two_workers_of_a_paused_run(
    server: ServerProcess, trainer: Trainer
) -> None:
    run = start(trainer, 1, LATE)
    until(trainer, run.id, lambda run: run.metrics.sequence > 2)
    trainer.pause_run(run.id)
    kill_worker(server)
    until(trainer, run.id, lambda run: run.reason == RunReason.RUN_REASON_RESTARTING)
    server.kill()
    server.environment[VARIABLE] = "mute"
    server.start()
    with History(server.data_dir / "mltetris.db") as history:
        end = time.monotonic() + PATIENCE_S
        while history.worker(run.id).pid == 0:
            assert time.monotonic() < end
            time.sleep(0.02)
    # Its next worker has begun, and says nothing.
    server.kill()
    kill_worker(server)
    server.environment.pop(VARIABLE)
    with History(server.data_dir / "mltetris.db") as history:
        history.set_worker(run.id, pid=0)
    server.start()
    until(trainer, run.id, lambda run: run.state == run_pb2.RUN_STATE_PAUSED)

"""Servers that end or are killed, and what the next one finds."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import psutil
import pytest
from mltetris_api.v1 import run_pb2, trainer_pb2, trainer_pb2_grpc
from mltetris_api.v1.run_pb2 import RunReason
from support.server import ServerProcess
from support.small_worker import VARIABLE

RUNNING = run_pb2.RUN_STATE_RUNNING
PAUSED = run_pb2.RUN_STATE_PAUSED
FAILED = run_pb2.RUN_STATE_FAILED
STOPPED = run_pb2.RUN_STATE_STOPPED
QUEUED = run_pb2.RUN_STATE_QUEUED

PATIENCE_S = 20.0


class Client:
    """Calls to a server that may come and go."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server

    def __getattr__(self, name: str) -> Callable[..., object]:
        def call(request: object, **options: object) -> object:
            channel = self.server.channel()
            method = getattr(trainer_pb2_grpc.TrainerServiceStub(channel), name)
            return method(request, timeout=PATIENCE_S, **options)

        return call

    def start(self, **fields: object) -> run_pb2.Run:
        request = trainer_pb2.StartRunRequest(training=run_pb2.TrainingSpec(), **fields)
        return self.StartRun(request).run  # type: ignore[attr-defined]

    def run(self, run_id: str) -> run_pb2.Run:
        return self.GetRun(trainer_pb2.GetRunRequest(run=run_id)).run  # type: ignore[attr-defined]

    def until(self, run_id: str, condition: Callable[[run_pb2.Run], bool]) -> run_pb2.Run:
        events = self.WatchRuns(trainer_pb2.WatchRunsRequest(run=run_id))
        for event in events:  # type: ignore[attr-defined]
            if event.HasField("run") and condition(event.run):
                events.cancel()  # type: ignore[attr-defined]
                return event.run
        raise AssertionError("the stream of runs ended")

    def until_state(self, run_id: str, *states: run_pb2.RunState.ValueType) -> run_pb2.Run:
        return self.until(run_id, lambda run: run.state in states)

    def points(self, run_id: str) -> list[int]:
        stream = self.StreamMetrics(trainer_pb2.StreamMetricsRequest(run=run_id))
        return [p.sequence for response in stream for p in response.points]  # type: ignore[attr-defined]


@pytest.fixture(params=["auto", "loopback"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServerProcess]:
    """A real server process with small workers, over both kinds of private line."""
    process = ServerProcess(
        tmp_path / "data",
        *("--max-runs", "2", "--grace", "15", "--worker-transport", request.param),
        module="support.small_service",
    )
    with process:
        yield process


@pytest.fixture
def client(server: ServerProcess) -> Client:
    return Client(server)


def wait_gone(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=PATIENCE_S)
    assert not alive


def test_training_survives_a_killed_server(server: ServerProcess, client: Client) -> None:
    run = client.start(request_id="the-one")
    held = client.start()
    client.until_state(run.id, RUNNING)
    client.until_state(held.id, RUNNING)
    waiting = client.start()
    assert waiting.state == QUEUED
    client.PauseRun(trainer_pb2.PauseRunRequest(run=held.id))
    client.until(run.id, lambda run: run.metrics.sequence > 5)
    workers = server.workers()
    assert len(workers) == 2
    server.kill()
    server.start()
    before = client.run(run.id)
    assert client.run(held.id).state == PAUSED
    assert before.state == RUNNING
    # It goes on where it was, with the same workers, and nobody misses a point.
    later = client.until(run.id, lambda run: run.metrics.sequence > before.metrics.sequence + 10)
    assert later.state == RUNNING
    assert {p.pid for p in server.workers()} == {p.pid for p in workers}
    assert client.start(request_id="the-one").id == run.id
    paused = client.PauseRun(trainer_pb2.PauseRunRequest(run=run.id)).run  # type: ignore[attr-defined]
    assert paused.state == PAUSED
    resumed = client.ResumeRun(trainer_pb2.ResumeRunRequest(run=held.id)).run  # type: ignore[attr-defined]
    assert resumed.state == RUNNING
    assert client.run(waiting.id).queue_position == 1
    stopped = client.StopRun(trainer_pb2.StopRunRequest(run=run.id)).run  # type: ignore[attr-defined]
    assert stopped.state == STOPPED
    assert client.points(run.id) == list(range(1, stopped.metrics.sequence + 1))
    client.until_state(waiting.id, RUNNING)


def test_a_worker_of_the_server_before_is_missed_when_it_dies(
    server: ServerProcess, client: Client
) -> None:
    run = client.start()
    client.until_state(run.id, RUNNING)
    (worker,) = server.workers()
    server.kill()
    server.start()
    client.until(run.id, lambda run: run.metrics.sequence > 5)
    worker.kill()
    failed = client.until_state(run.id, FAILED)
    assert failed.reason == RunReason.RUN_REASON_WORKER_DIED


def test_a_worker_that_died_with_its_server(server: ServerProcess, client: Client) -> None:
    run = client.start()
    client.until_state(run.id, RUNNING)
    server.kill()
    (worker,) = server.workers()
    worker.kill()
    wait_gone([worker])
    server.start()
    failed = client.run(run.id)
    assert failed.state == FAILED
    assert failed.reason == RunReason.RUN_REASON_SERVER_RESTARTED


@pytest.mark.skipif(os.name != "posix", reason="stops a process with SIGSTOP")
def test_a_worker_that_does_not_come_back_in_time(server: ServerProcess, client: Client) -> None:
    run = client.start()
    client.until_state(run.id, RUNNING)
    (worker,) = server.workers()
    worker.suspend()
    server.kill()
    server.arguments = (*server.arguments, "--grace", "0.5")
    server.start()
    failed = client.until_state(run.id, FAILED)
    assert failed.reason == RunReason.RUN_REASON_SERVER_RESTARTED
    assert "did not come back within 0.5 s" in failed.error.message
    wait_gone([worker])


def test_workers_do_not_outlive_their_grace(tmp_path: Path) -> None:
    with ServerProcess(
        tmp_path / "data", "--grace", "0.5", module="support.small_service"
    ) as server:
        client = Client(server)
        run = client.start()
        client.until_state(run.id, RUNNING)
        workers = server.workers()
        server.kill()
        assert workers
        wait_gone(workers)
        server.start()
        assert client.run(run.id).state == FAILED


def test_an_orderly_end_keeps_everything(
    server: ServerProcess, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, paused = client.start(), client.start()
    client.until_state(running.id, RUNNING)
    client.until_state(paused.id, RUNNING)
    client.PauseRun(trainer_pb2.PauseRunRequest(run=paused.id))
    queued = client.start()
    statuses: list[grpc.StatusCode] = []

    def watch(method: str, request: object) -> threading.Thread:
        call = getattr(client, method)(request)
        began = threading.Event()

        def read() -> None:
            try:
                for _ in call:
                    began.set()
            except grpc.RpcError as error:
                statuses.append(error.code())  # type: ignore[attr-defined]

        thread = threading.Thread(target=read)
        thread.start()
        assert began.wait(PATIENCE_S)
        return thread

    watchers = [
        watch("WatchRuns", trainer_pb2.WatchRunsRequest()),
        watch("StreamMetrics", trainer_pb2.StreamMetricsRequest(run=running.id)),
        watch("StreamBoard", trainer_pb2.StreamBoardRequest(run=paused.id)),
    ]
    # One who does not read, with more on the way than fits in between.
    stalled = client.StreamBoard(trainer_pb2.StreamBoardRequest(run=running.id, max_fps=120))
    begin = time.monotonic()
    assert server.terminate() == 0
    assert time.monotonic() - begin < 5.0, "an operator's supervisor kills after five seconds"
    for watcher in watchers:
        watcher.join(PATIENCE_S)
    assert statuses == [grpc.StatusCode.UNAVAILABLE] * 3
    del stalled
    assert not server.workers()
    server.start()
    for run in (running, paused):
        ended = client.run(run.id)
        assert ended.state == STOPPED
        assert ended.reason == RunReason.RUN_REASON_SERVER_SHUTDOWN
        assert [c.kind for c in ended.checkpoints] == [run_pb2.CHECKPOINT_KIND_FINAL]
    client.until_state(queued.id, RUNNING)


def test_an_orderly_end_with_a_worker_that_takes_no_notice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "deaf")
    with ServerProcess(tmp_path / "data", module="support.small_service") as server:
        client = Client(server)
        run = client.start()
        client.until_state(run.id, RUNNING)
        workers = server.workers()
        begin = time.monotonic()
        assert server.terminate() == 0
        assert time.monotonic() - begin < 5.0
        wait_gone(workers)
        monkeypatch.delenv(VARIABLE)
        server.start()
        assert client.run(run.id).state == STOPPED


@pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")
def test_a_second_signal_ends_it_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "deaf")
    with ServerProcess(tmp_path / "data", module="support.small_service") as server:
        client = Client(server)
        run = client.start()
        client.until_state(run.id, RUNNING)
        assert server.process is not None
        workers = server.workers()
        server.process.send_signal(signal.SIGINT)
        while client.run(run.id).state != run_pb2.RUN_STATE_STOPPING:
            time.sleep(0.02)
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(PATIENCE_S) == 128 + signal.SIGINT
        assert len(workers) == 1
        wait_gone(workers)

"""SIGTERM while a hundred streams are open: an end in time; all come back to the next server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import grpc
import mltetris_client
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from mltetris_api.v1 import run_pb2, trainer_pb2, trainer_pb2_grpc
from mltetris_client import MlTetrisError, Trainer, name_of
from mltetris_server.runs.settings import RunSettings
from mltetris_server.service.handlers import SHUTTING_DOWN
from support.left_behind import left_behind
from support.server import CHANNEL_OPTIONS, ServerProcess
from support.small import PATIENCE_S, eventually, in_state, small_service

STREAMS: Final = 100
CONNECTIONS: Final = 10
GRACE_S: Final = 5.0
"""What the end of a server takes at most, workers that do not stop included."""
SLACK_S: Final = 5.0
"""For a machine that has other things to do."""
STOPPED, QUEUED = run_pb2.RUN_STATE_STOPPED, run_pb2.RUN_STATE_QUEUED
assert RunSettings(max_runs=1).shutdown_s < GRACE_S


class Streams:
    """Plain calls of every kind, over a few connections; every other one is not read."""

    def __init__(self, server: ServerProcess, run: str) -> None:
        alone = (*CHANNEL_OPTIONS, ("grpc.use_local_subchannel_pool", 1))
        self.channels = [
            grpc.insecure_channel(server.address, options=alone) for _ in range(CONNECTIONS)
        ]
        self.calls = [self._open(number, run) for number in range(STREAMS)]
        self.ends: dict[int, grpc.StatusCode] = {}
        self.words: dict[int, str] = {}
        self.threads = [
            threading.Thread(target=self._read, args=(number,), daemon=True)
            for number in range(0, STREAMS, 2)
        ]
        for thread in self.threads:
            thread.start()

    def _open(self, number: int, run: str) -> Any:
        channel = self.channels[number % CONNECTIONS]
        stub = trainer_pb2_grpc.TrainerServiceStub(channel)
        health = health_pb2_grpc.HealthStub(channel)
        board = trainer_pb2.StreamBoardRequest(run=run, max_fps=60, include_values=True)
        ways: list[Callable[[], Any]] = [
            lambda: stub.StreamBoard(board),
            lambda: stub.StreamMetrics(trainer_pb2.StreamMetricsRequest(run=run)),
            lambda: stub.WatchRuns(trainer_pb2.WatchRunsRequest()),
            lambda: stub.WatchRuns(trainer_pb2.WatchRunsRequest(run=run)),
            lambda: health.Watch(health_pb2.HealthCheckRequest()),
        ]
        # Neighbours, of which only one is read, are of one kind.
        call = ways[number // 2 % len(ways)]()
        next(call)
        return call

    def _read(self, number: int) -> None:
        try:
            for _ in self.calls[number]:
                pass
            self.ends[number] = grpc.StatusCode.OK
        except grpc.RpcError as error:
            self.ends[number] = error.code()  # type: ignore[attr-defined]
            self.words[number] = error.details()  # type: ignore[attr-defined]

    def all_ends(self) -> dict[int, grpc.StatusCode]:
        """How every stream has ended; the ones that were not read are, now."""
        for number in range(1, STREAMS, 2):
            self._read(number)
        for thread in self.threads:
            thread.join(PATIENCE_S)
        for channel in self.channels:
            channel.close()
        return self.ends


class Coming:
    """What an SDK stream gives, read on a thread of its own over any number of breaks."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.items: list[Any] = []
        self.error: MlTetrisError | None = None
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        try:
            for item in self.stream:
                self.items.append(item)
        except MlTetrisError as error:
            self.error = error

    def ended(self) -> list[Any]:
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive(), "the stream does not end"
        assert self.error is None, self.error
        return self.items


def sequences(points: list[run_pb2.MetricPoint]) -> list[int]:
    return [point.sequence for point in points]


@pytest.fixture(params=["", "deaf"], ids=["as-usual", "workers-that-do-not-stop"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServerProcess]:
    with small_service(tmp_path / "data", "--max-runs", "2", habits=request.param) as process:
        yield process


def test_it_ends_in_time_and_everybody_comes_back(server: ServerProcess) -> None:
    deaf = bool(server.environment["MLTETRIS_SMALL_WORKER"])
    with mltetris_client.connect(server.address) as trainer:
        going, held = (trainer.start_training().id for _ in range(2))
        waiting = trainer.start_training().id
        for run in (going, held):
            in_state(trainer, run, "running")
        trainer.pause_run(held)
        assert trainer.get_run(waiting).state == QUEUED
        plain = Streams(server, going)
        metrics = {run: Coming(trainer.stream_metrics(run)) for run in (going, held, waiting)}
        events = Coming(trainer.watch_runs())
        boards = Coming(trainer.stream_board(waiting, max_fps=30))
        eventually(lambda: metrics[going].items and events.items, "the streams")

        begin = time.monotonic()
        status = server.terminate(GRACE_S + SLACK_S)
        took = time.monotonic() - begin
        print(f"{STREAMS} streams, workers {'deaf' if deaf else 'as usual'}: {took:.2f} s")
        assert status == 0
        assert left_behind(server.data_dir) == []
        ends = plain.all_ends()
        assert set(ends.values()) == {grpc.StatusCode.UNAVAILABLE}, ends
        told = [plain.words[number] == SHUTTING_DOWN for number in range(0, STREAMS, 2)]
        assert sum(told) > len(told) / 2, "who reads is told why, while the connection stands"
        assert '"ended"' in server.log(), "it was killed by something else"
        eventually(lambda: not any(m.stream.connected for m in metrics.values()), "the breaks")
        assert all(coming.error is None for coming in (*metrics.values(), events, boards))

        server.start()
        trainer.wait_ready(PATIENCE_S)
        ended(trainer, going, held, checkpointed=not deaf)
        # The one that waited has its turn now, and its watchers their fill.
        in_state(trainer, waiting, "running")
        eventually(lambda: len(metrics[waiting].items) > 10, "points of the run that waited")
        eventually(lambda: len(boards.items) > 5, "frames of the run that waited")
        eventually(lambda: waiting in changed_to(events, "RUNNING"), "the news of it")
        assert going in changed_to(events, "STOPPED") and held in changed_to(events, "STOPPED")
        if deaf:
            server.terminate()
            server.environment["MLTETRIS_SMALL_WORKER"] = ""
            server.start()
            trainer.wait_ready(PATIENCE_S)
            in_state(trainer, waiting, "stopped")
        else:
            trainer.stop_run(waiting)
        for run, coming in metrics.items():
            newest = trainer.get_run(run).metrics.sequence
            assert sequences(coming.ended()) == list(range(1, newest + 1)), run
        boards.ended()
        events.stream.cancel()
        events.ended()


def ended(trainer: Trainer, *runs: str, checkpointed: bool) -> None:
    """What became of the runs that were going when the server ended."""
    for run in runs:
        after = trainer.get_run(run)
        assert after.state == STOPPED
        assert after.reason == run_pb2.RUN_REASON_SERVER_SHUTDOWN
        kinds = [info.kind for info in after.checkpoints]
        assert (run_pb2.CHECKPOINT_KIND_FINAL in kinds) == checkpointed


def changed_to(events: Coming, state: str) -> set[str]:
    """The runs that were seen to be in a state."""
    return {
        event.run.id
        for event in list(events.items)
        if event.HasField("run") and name_of(run_pb2.RunState, event.run.state) == state.lower()
    }

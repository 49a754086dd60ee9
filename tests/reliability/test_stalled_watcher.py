"""Watchers that stop reading: what they cost the server and the others, and what they see after."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import mltetris_client
import psutil
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from mltetris_api.v1 import trainer_pb2, trainer_pb2_grpc
from mltetris_client import Trainer
from support.board_watcher import FRESH_S, age_s
from support.server import CHANNEL_OPTIONS, ServerProcess
from support.small import TESTS, in_state, small_service
from support.small_server import small_server

FPS: Final = 60.0
STALLED: Final = 4
"""Clients that do not read, each with three streams on a connection of its own."""
MOST_BYTES: Final = 10e6
"""What one of them may cost the server."""
BATCH: Final = 100
"""Points that are made at a time, ten times a second."""


class Watcher(threading.Thread):
    """One who reads boards, metrics and events, as fast as they come."""

    def __init__(self, address: str, run: str) -> None:
        super().__init__(name="watcher", daemon=True)
        self.frames = 0
        self.points = 0
        self._trainer = mltetris_client.connect(address)
        self._boards = self._trainer.stream_board(run, max_fps=FPS, include_values=True)
        self._metrics = self._trainer.stream_metrics(run)
        self._events = self._trainer.watch_runs()
        self._others = [
            threading.Thread(target=work, daemon=True)
            for work in (self._count_points, self._read_events)
        ]
        for other in self._others:
            other.start()

    def run(self) -> None:
        for _ in self._boards:
            self.frames += 1

    def _count_points(self) -> None:
        for _ in self._metrics:
            self.points += 1

    def _read_events(self) -> None:
        for _ in self._events:
            pass

    def end(self) -> None:
        self._boards.close()
        self._metrics.cancel()
        self._events.cancel()
        for thread in (self, *self._others):
            thread.join(10)
        self._trainer.close()


@dataclass
class Rates:
    """What one who reads got, a second."""

    frames: float
    points: float


def traffic(trainer: Trainer, run: str, watcher: Watcher, seconds: float) -> Rates:
    """Keeps a run busy for so long: points, episodes, changes and frames."""
    frames, points, begin = watcher.frames, watcher.points, time.monotonic()
    while (elapsed := time.monotonic() - begin) < seconds:
        trainer.set_speed(run, max_training_rate=BATCH)
        time.sleep(0.1)
    return Rates((watcher.frames - frames) / elapsed, (watcher.points - points) / elapsed)


@dataclass
class Stalled:
    """A plain gRPC client that has read one message of every stream and then no more."""

    channel: grpc.Channel
    boards: Any
    metrics: Any
    events: Any


def stall(address: str, run: str, options: tuple[tuple[str, int], ...]) -> Stalled:
    """Opens the streams of one who will not read."""
    alone = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0))
    channel = grpc.insecure_channel(address, options=(*options, *alone))
    stub = trainer_pb2_grpc.TrainerServiceStub(channel)
    request = trainer_pb2.StreamBoardRequest(run=run, max_fps=FPS, include_values=True)
    made = Stalled(
        channel,
        stub.StreamBoard(request),
        stub.StreamMetrics(trainer_pb2.StreamMetricsRequest(run=run)),
        stub.WatchRuns(trainer_pb2.WatchRunsRequest()),
    )
    for call in (made.boards, made.metrics, made.events):
        next(call)
    return made


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with small_service(tmp_path / "data", habits="on-demand") as process:
        yield process


def resident(server: ServerProcess) -> int:
    assert server.process is not None
    return int(psutil.Process(server.process.pid).memory_info().rss)


@pytest.mark.parametrize(
    "seconds", [8.0, pytest.param(180.0, marks=[pytest.mark.slow, pytest.mark.timeout(600)])]
)
def test_one_who_stalls_costs_little_and_nobody_else_anything(
    server: ServerProcess, seconds: float
) -> None:
    with mltetris_client.connect(server.address) as trainer:
        run = trainer.start_training().id
        in_state(trainer, run, "running")
        watcher = Watcher(server.address, run)
        watcher.start()
        traffic(trainer, run, watcher, 2.0)  # what costs something only once
        before = traffic(trainer, run, watcher, 3.0)
        memory = resident(server)
        # The one the SDK makes, and the others with and without what the SDK sets.
        sdk = trainer.stream_board(run, max_fps=FPS, include_values=True)
        assert sdk.wait(30) is not None
        stalled = [stall(server.address, run, CHANNEL_OPTIONS) for _ in range(STALLED - 1)]
        stalled.append(stall(server.address, run, ()))
        during = traffic(trainer, run, watcher, seconds)
        grown = resident(server) - memory

        message = sdk.latest()
        assert message is not None
        assert age_s(message.frames[0]) < FRESH_S, "the SDK has kept an old frame"
        assert message.frames[0].skipped > seconds * 10, "nothing was left out?"
        for one in stalled[: STALLED - 1]:
            # A few are on their way in the connection, where nobody can take them back.
            stale = 0
            while age_s(next(one.boards).frames[0]) >= FRESH_S:
                stale += 1
            assert stale < 30, f"{stale} old frames were kept for one who did not read"
        newest = trainer.get_run(run).metrics.sequence
        for one in stalled:
            # What must not be left out was not: every point is there.
            read = 1
            for answer in one.metrics:
                read = answer.points[-1].sequence if answer.points else read
                if read >= newest:
                    break
        sdk.close()
        for one in stalled:
            one.channel.close()
        after = traffic(trainer, run, watcher, 3.0)
        watcher.end()
        trainer.stop_run(run)
    print(f"{STALLED} clients stalled for {seconds:g} s: {grown / 1e6:+.1f} MB; {before} {during}")
    assert grown / STALLED < MOST_BYTES, f"{STALLED} stalled clients cost {grown / 1e6:.1f} MB"
    # The machine has other things to do, too: held against the slower of the two.
    assert during.frames > 0.6 * min(before.frames, after.frames), (before, during, after)
    assert during.points > 0.6 * min(before.points, after.points), (before, during, after)


@pytest.mark.skipif(os.name != "posix", reason="needs SIGSTOP")
@pytest.mark.parametrize(
    "seconds", [4.0, pytest.param(90.0, marks=[pytest.mark.slow, pytest.mark.timeout(600)])]
)
def test_a_watching_program_that_was_asleep_sees_the_present(
    server: ServerProcess, seconds: float
) -> None:
    """After more than half a minute its connection is given up, and the SDK makes another."""
    with mltetris_client.connect(server.address) as trainer:
        run = trainer.start_training().id
        in_state(trainer, run, "running")
        program = subprocess.Popen(
            [sys.executable, "-m", "support.board_watcher", server.address, run, str(FPS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=TESTS,
        )
        assert program.stdin is not None and program.stdout is not None
        try:
            looks = []
            for asleep in (0.0, seconds):
                if asleep:
                    os.kill(program.pid, signal.SIGSTOP)
                    time.sleep(asleep)
                    os.kill(program.pid, signal.SIGCONT)
                program.stdin.write("look\n")
                program.stdin.flush()
                looks.append(json.loads(program.stdout.readline()))
        finally:
            program.kill()
            program.communicate()
        trainer.stop_run(run)
    (_, woken) = looks
    assert woken["age_s"] < FRESH_S
    assert woken["took_s"] < 10, woken
    assert woken["stale"] <= 3, woken


async def test_one_who_falls_behind_is_told_and_starts_over(
    tmp_path: Path,
) -> None:
    """WatchRuns keeps everything for a while, then nothing: whoever comes back sees the present."""
    async with small_server(tmp_path / "data") as small:
        run = await small.running()
        call = small.trainer.WatchRuns(trainer_pb2.WatchRunsRequest())
        reader = SlowReader(small.server.address)
        while not (await call.read()).caught_up:
            pass
        await asyncio.to_thread(reader.until_caught_up)
        await small.trainer.PauseRun(trainer_pb2.PauseRunRequest(run=run.id))
        for number in range(5000):
            small.server._manager.events.notice(run.id, f"notice {number}" + " " * 1000)
            if number % 100 == 0:
                await asyncio.sleep(0)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async with asyncio.timeout(60):
                while await call.read() is not grpc.aio.EOF:
                    pass
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "watch again" in (caught.value.details() or "")
        late = trainer_pb2.RunUpdate(display_name="late")
        mask = FieldMask(paths=["display_name"])
        await small.trainer.UpdateRun(
            trainer_pb2.UpdateRunRequest(run=run.id, update=late, update_mask=mask)
        )
        notices = await asyncio.to_thread(reader.until_named, "late")
        assert notices == [f"notice {number}" for number in range(len(notices))], "out of order"
        assert 1000 < len(notices) < 5000
        await asyncio.to_thread(reader.close)


class SlowReader:
    """The SDK's stream of events, read in pieces."""

    def __init__(self, address: str) -> None:
        self.trainer = mltetris_client.connect(address)
        self.stream = self.trainer.watch_runs()
        self.events = iter(self.stream)

    def until_caught_up(self) -> None:
        next(event for event in self.events if event.caught_up)

    def until_named(self, name: str) -> list[str]:
        """Reads until the run has that name, over a break; returns the notices on the way."""
        notices = []
        for event in self.events:
            if event.HasField("notice"):
                notices.append(event.notice.text.strip())
            if event.run.display_name == name:
                return notices
        raise AssertionError("the stream ended")

    def close(self) -> None:
        self.stream.cancel()
        self.trainer.close()

"""Watching runs over the wire: boards, metrics and events, by who reads and who does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from mltetris_api.v1 import board_pb2, run_pb2, system_pb2, trainer_pb2, trainer_pb2_grpc
from support.server import CHANNEL_OPTIONS
from support.small_server import SmallServer
from support.small_worker import VARIABLE


def boards(small: SmallServer, run: run_pb2.Run, **fields: Any) -> Any:
    return small.trainer.StreamBoard(trainer_pb2.StreamBoardRequest(run=run.id, **fields))


async def frame_of(call: Any) -> board_pb2.BoardFrame:
    async with asyncio.timeout(20):
        response = await call.read()
    assert response is not grpc.aio.EOF
    frame: board_pb2.BoardFrame = response.frames[0]
    return frame


async def sequences(call: AsyncIterator[trainer_pb2.StreamMetricsResponse]) -> list[int]:
    return [point.sequence async for response in call for point in response.points]


async def test_frames_are_made_only_while_somebody_watches(small: SmallServer) -> None:
    run = await small.running()
    await small.until(run.id, lambda run: run.metrics.sequence > 10)
    call = boards(small, run, max_fps=50)
    first = await frame_of(call)
    assert (first.sequence, first.run, first.skipped) == (1, run.id, 0)
    info = await small.system.GetServerInfo(system_pb2.GetServerInfoRequest())
    assert info.watchers == 1
    call.cancel()
    while True:
        # They end a moment after the last watcher has left.
        last = await frame_of(boards(small, run, max_fps=0.01))
        seen = (await small.run(run.id)).metrics.sequence
        await small.until(run.id, lambda run, seen=seen: run.metrics.sequence > seen + 40)
        again = await frame_of(boards(small, run, max_fps=0.01))
        if again.sequence <= last.sequence + 1:
            break


async def test_values_come_only_to_those_who_ask(small: SmallServer) -> None:
    run = await small.running()
    without = boards(small, run)
    assert not (await frame_of(without)).values
    with_values = boards(small, run, include_values=True)
    async with asyncio.timeout(20):
        while not (await frame_of(with_values)).values:
            pass
    for _ in range(5):
        assert not (await frame_of(without)).values


async def test_a_paused_run_still_shows_itself(small: SmallServer) -> None:
    run = await small.running()
    call = boards(small, run)
    await frame_of(call)
    await small.trainer.PauseRun(trainer_pb2.PauseRunRequest(run=run.id))
    assert (await frame_of(boards(small, run))).run == run.id


async def test_one_who_does_not_read_costs_the_others_nothing(small: SmallServer) -> None:
    run = await small.running()
    address = small.server.address
    async with grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        stub = trainer_pb2_grpc.TrainerServiceStub(channel)
        request = trainer_pb2.StreamBoardRequest(run=run.id, max_fps=120, include_values=True)
        stalled = stub.StreamBoard(request)
        await frame_of(stalled)
        lively = boards(small, run, max_fps=120, include_values=True)
        newest = await frame_of(lively)
        async with asyncio.timeout(60):
            # Far more than any buffer on the way holds.
            while newest.sequence < 400:
                newest = await frame_of(lively)
                assert newest.skipped < 60
        skipped = 0
        async with asyncio.timeout(20):
            while True:
                frame = await frame_of(stalled)
                skipped += frame.skipped
                if frame.sequence >= newest.sequence:
                    break
        assert skipped > 0, "everything was kept for one who did not read"


@pytest.mark.parametrize("max_fps", [0.5, 0])
async def test_boards_end_with_the_run(small: SmallServer, max_fps: float) -> None:
    run = await small.running()
    call = boards(small, run, max_fps=max_fps)
    await frame_of(call)
    await small.trainer.StopRun(trainer_pb2.StopRunRequest(run=run.id))
    for watch in (call, boards(small, run)):
        async with asyncio.timeout(5):
            while await watch.read() is not grpc.aio.EOF:
                pass
        assert await watch.code() == grpc.StatusCode.OK


async def test_metrics_of_the_past_and_the_present_meet(small: SmallServer) -> None:
    run = await small.running()
    readers = []
    for after in (0, 3, 10):
        await small.until(run.id, lambda run, after=after: run.metrics.sequence > after + 5)
        request = trainer_pb2.StreamMetricsRequest(run=run.id, after_sequence=after)
        call = small.trainer.StreamMetrics(request)
        readers.append((after, asyncio.ensure_future(sequences(call))))
    stopped = (await small.trainer.StopRun(trainer_pb2.StopRunRequest(run=run.id))).run
    last = stopped.metrics.sequence
    for after, reader in readers:
        assert await reader == list(range(after + 1, last + 1))
    after_all = trainer_pb2.StreamMetricsRequest(run=run.id, after_sequence=last - 1)
    assert await sequences(small.trainer.StreamMetrics(after_all)) == [last]


async def test_everything_that_happens_to_a_run_is_told(
    small: SmallServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "")
    watch = small.trainer.WatchRuns(trainer_pb2.WatchRunsRequest())
    assert (await watch.read()).caught_up
    run = await small.start()
    states: list[int] = []
    revision, episodes = 0, 0
    stop = None
    async with asyncio.timeout(20):
        while run_pb2.RUN_STATE_STOPPED not in states:
            event = await watch.read()
            if event.HasField("run"):
                assert event.run.revision == revision + 1, "a change was left out"
                revision = event.run.revision
                if states[-1:] != [event.run.state]:
                    states.append(event.run.state)
            elif event.HasField("episode"):
                assert event.episode.run == run.id
                episodes += 1
                if stop is None:
                    stop = asyncio.ensure_future(
                        small.trainer.StopRun(trainer_pb2.StopRunRequest(run=run.id))
                    )
    assert states == [
        run_pb2.RUN_STATE_QUEUED,
        run_pb2.RUN_STATE_STARTING,
        run_pb2.RUN_STATE_RUNNING,
        run_pb2.RUN_STATE_STOPPING,
        run_pb2.RUN_STATE_STOPPED,
    ]
    assert episodes
    await small.trainer.DeleteRun(trainer_pb2.DeleteRunRequest(run=run.id))
    assert (await watch.read()).deleted_run == run.id


async def test_saving_the_latest_saves_what_the_agent_is_now(small: SmallServer) -> None:
    run = await small.running()
    await small.until(run.id, lambda run: run.metrics.sequence > 5)
    latest = run_pb2.RunCheckpoint(run=run.id, kind=run_pb2.CHECKPOINT_KIND_LATEST)
    saved = []
    for name in ("one", "two"):
        now = (await small.run(run.id)).metrics.placements
        request = trainer_pb2.SaveSlotRequest(name=name, checkpoint=latest)
        slot = (await small.trainer.SaveSlot(request)).slot
        assert slot.placements >= now
        assert (slot.source_run, slot.source_checkpoint) == (run.id, latest.kind)
        saved.append(slot)
        await small.until(run.id, lambda run, slot=slot: run.metrics.placements > slot.placements)
    assert saved[0].sha256 != saved[1].sha256
    final = run_pb2.RunCheckpoint(run=run.id, kind=run_pb2.CHECKPOINT_KIND_FINAL)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await small.trainer.SaveSlot(trainer_pb2.SaveSlotRequest(name="three", checkpoint=final))
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    follower = await small.running(training=run_pb2.TrainingSpec(checkpoint=latest))
    assert follower.display_name.endswith(f"from {run.id}")

"""Who may go and who waits."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from mltetris_api.v1 import run_pb2, system_pb2, trainer_pb2
from support.small_server import SmallServer

RUNNING = run_pb2.RUN_STATE_RUNNING
QUEUED = run_pb2.RUN_STATE_QUEUED


async def test_runs_wait_their_turn(small: SmallServer) -> None:
    runs = [await small.start() for _ in range(5)]
    assert [run.queue_position for run in runs] == [0, 0, 1, 2, 3]
    info = await small.system.GetServerInfo(system_pb2.GetServerInfoRequest())
    assert (info.max_runs, info.live_runs, info.queued_runs) == (2, 2, 3)
    await small.trainer.StopRun(trainer_pb2.StopRunRequest(run=runs[2].id))
    fourth = await small.until(runs[3].id, lambda run: run.queue_position == 1)
    assert fourth.state == QUEUED
    await small.until(runs[4].id, lambda run: run.queue_position == 2)
    await small.trainer.StopRun(trainer_pb2.StopRunRequest(run=runs[0].id))
    fourth = await small.until_state(runs[3].id, RUNNING)
    assert fourth.queue_position == 0
    fifth = await small.until(runs[4].id, lambda run: run.queue_position == 1)
    assert fifth.state == QUEUED


async def test_never_more_than_allowed_go_at_once(small: SmallServer) -> None:
    count = 6
    live: set[str] = set()
    finished: set[str] = set()
    stops: dict[str, asyncio.Future[trainer_pb2.StopRunResponse]] = {}
    watch = small.trainer.WatchRuns(trainer_pb2.WatchRunsRequest())
    await asyncio.gather(*(small.start() for _ in range(count)))
    async with asyncio.timeout(60):
        async for event in watch:
            run = event.run
            if not event.HasField("run") or run.state == QUEUED:
                continue
            if run.HasField("end_time"):
                live.discard(run.id)
                finished.add(run.id)
            else:
                live.add(run.id)
            assert len(live) <= 2
            if run.state == RUNNING and run.id not in stops:
                stop = small.trainer.StopRun(trainer_pb2.StopRunRequest(run=run.id))
                stops[run.id] = asyncio.ensure_future(stop)
            if len(finished) == count:
                break
    watch.cancel()
    await asyncio.gather(*stops.values())


async def test_one_request_id_is_one_run(small: SmallServer) -> None:
    first, *others = await asyncio.gather(
        *(small.start(request_id="key-1", display_name=f"n{i}") for i in range(5))
    )
    assert {run.id for run in others} == {first.id}
    await small.trainer.StopRun(trainer_pb2.StopRunRequest(run=first.id))
    again = await small.start(request_id="key-1")
    assert (again.id, again.state) == (first.id, run_pb2.RUN_STATE_STOPPED)
    assert (await small.start(request_id="key-2")).id != first.id


async def test_deleting_takes_a_final_run(small: SmallServer) -> None:
    run = await small.running()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await small.trainer.DeleteRun(trainer_pb2.DeleteRunRequest(run=run.id))
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    await small.trainer.StopRun(trainer_pb2.StopRunRequest(run=run.id))
    watch = small.trainer.WatchRuns(trainer_pb2.WatchRunsRequest(run=run.id))
    folder = small.server.data_dir / "runs" / run.id
    assert folder.is_dir()
    await small.trainer.DeleteRun(trainer_pb2.DeleteRunRequest(run=run.id))
    assert not folder.exists()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await small.run(run.id)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    watch.cancel()
    assert not (await small.trainer.ListRuns(trainer_pb2.ListRunsRequest())).runs

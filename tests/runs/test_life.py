"""The life of a run, with real processes: every command in every state it can be given in."""

from __future__ import annotations

import grpc
import pytest
from mltetris_api.v1 import run_pb2, trainer_pb2
from support.small_server import SmallServer

RUNNING = run_pb2.RUN_STATE_RUNNING
PAUSED = run_pb2.RUN_STATE_PAUSED
STOPPED = run_pb2.RUN_STATE_STOPPED


async def test_a_run_goes_from_start_to_stop(small: SmallServer) -> None:
    run = await small.start(display_name="mine")
    assert run.state in (run_pb2.RUN_STATE_STARTING, RUNNING)
    assert run.id.startswith("train-")
    run = await small.until_state(run.id, RUNNING)
    assert run.training.seed == 42, "the worker's defaults are not in the spec"
    assert run.HasField("start_time")
    paused = (await small.trainer.PauseRun(trainer_pb2.PauseRunRequest(run=run.id))).run
    assert paused.state == PAUSED
    again = (await small.trainer.PauseRun(trainer_pb2.PauseRunRequest(run=run.id))).run
    assert again.state == PAUSED
    resumed = (await small.trainer.ResumeRun(trainer_pb2.ResumeRunRequest(run=run.id))).run
    assert resumed.state == RUNNING
    stopped = (await small.trainer.StopRun(trainer_pb2.StopRunRequest(run=run.id))).run
    assert stopped.state == STOPPED
    assert stopped.reason == run_pb2.RUN_REASON_STOPPED_BY_CALLER
    assert stopped.HasField("end_time")
    assert [c.kind for c in stopped.checkpoints] == [run_pb2.CHECKPOINT_KIND_FINAL]
    assert not stopped.HasField("error")


async def test_a_final_run_stays_as_it_is(small: SmallServer) -> None:
    run = await small.running()
    stopped = (await small.trainer.StopRun(trainer_pb2.StopRunRequest(run=run.id))).run
    again = (await small.trainer.StopRun(trainer_pb2.StopRunRequest(run=run.id))).run
    assert again == stopped
    for call in (
        small.trainer.PauseRun(trainer_pb2.PauseRunRequest(run=run.id)),
        small.trainer.ResumeRun(trainer_pb2.ResumeRunRequest(run=run.id)),
        small.trainer.SetSpeed(trainer_pb2.SetSpeedRequest(run=run.id, placements_per_second=5)),
        small.trainer.SetMode(trainer_pb2.SetModeRequest(run=run.id, mode=1)),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
        assert "STOPPED" in (caught.value.details() or "")
    assert await small.run(run.id) == stopped

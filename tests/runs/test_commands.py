"""What callers may tell a run, and what they are answered where they may not."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from mltetris_api.v1 import run_pb2, trainer_pb2
from mltetris_api.worker.v1 import worker_pb2
from mltetris_server.runs.commands import Commands
from support.small_server import SmallServer
from support.small_worker import VARIABLE

RUNNING = run_pb2.RUN_STATE_RUNNING
QUEUED = run_pb2.RUN_STATE_QUEUED


def update_request(run: str, *paths: str, **values: object) -> trainer_pb2.UpdateRunRequest:
    return trainer_pb2.UpdateRunRequest(
        run=run,
        update=trainer_pb2.RunUpdate(**values),  # type: ignore[arg-type]
        update_mask=FieldMask(paths=paths),
    )


async def refusal(call: grpc.aio.UnaryUnaryCall) -> tuple[grpc.StatusCode, str]:  # type: ignore[type-arg]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), caught.value.details() or ""


async def queued(small: SmallServer) -> run_pb2.Run:
    """Fills both places and returns a run that waits."""
    await small.running()
    await small.running()
    run = await small.start()
    assert run.state == QUEUED
    return run


async def test_what_a_queued_run_can_be_told(small: SmallServer) -> None:
    run = await queued(small)
    for call in (
        small.trainer.PauseRun(trainer_pb2.PauseRunRequest(run=run.id)),
        small.trainer.ResumeRun(trainer_pb2.ResumeRunRequest(run=run.id)),
        small.trainer.UpdateRun(update_request(run.id, "learning_rate", learning_rate=0.1)),
    ):
        code, text = await refusal(call)
        assert code == grpc.StatusCode.FAILED_PRECONDITION
        assert "is QUEUED" in text and "once it is RUNNING" in text
    await small.trainer.SetSpeed(trainer_pb2.SetSpeedRequest(run=run.id, placements_per_second=3))
    await small.trainer.SetMode(
        trainer_pb2.SetModeRequest(run=run.id, mode=run_pb2.RUN_MODE_HEADLESS)
    )
    changed = (
        await small.trainer.UpdateRun(
            update_request(
                run.id,
                "display_name",
                "budget",
                display_name="later",
                budget=run_pb2.Budget(max_placements=5),
            )
        )
    ).run
    assert changed.display_name == "later"
    assert changed.training.budget.max_placements == 5
    assert changed.control.placements_per_second == 3
    assert changed.control.mode == run_pb2.RUN_MODE_HEADLESS
    assert changed.control.view == run_pb2.RUN_VIEW_SHOWCASE
    stopped = (await small.trainer.StopRun(trainer_pb2.StopRunRequest(run=run.id))).run
    assert stopped.state == run_pb2.RUN_STATE_STOPPED
    assert not stopped.HasField("start_time")


async def test_a_starting_run_can_be_steered_and_stopped(
    small: SmallServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "mute")
    run = await small.start()
    assert run.state == run_pb2.RUN_STATE_STARTING
    code, text = await refusal(small.trainer.PauseRun(trainer_pb2.PauseRunRequest(run=run.id)))
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert "is STARTING" in text
    request = trainer_pb2.SetSpeedRequest(run=run.id, placements_per_second=3)
    steered = (await small.trainer.SetSpeed(request)).run
    assert steered.control.placements_per_second == 3
    stopped = (await small.trainer.StopRun(trainer_pb2.StopRunRequest(run=run.id))).run
    assert stopped.state == run_pb2.RUN_STATE_STOPPED


async def test_steering_a_running_run(small: SmallServer) -> None:
    run = await small.running()
    assert run.control == run_pb2.RunControl(
        mode=run_pb2.RUN_MODE_VISUAL, view=run_pb2.RUN_VIEW_SHOWCASE, placements_per_second=8
    )
    # All at once: none may undo another.
    await asyncio.gather(
        small.trainer.SetSpeed(trainer_pb2.SetSpeedRequest(run=run.id, placements_per_second=20)),
        small.trainer.SetMode(
            trainer_pb2.SetModeRequest(run=run.id, mode=run_pb2.RUN_MODE_HEADLESS)
        ),
        small.trainer.SetMode(
            trainer_pb2.SetModeRequest(run=run.id, view=run_pb2.RUN_VIEW_TRAINING)
        ),
    )
    assert (await small.run(run.id)).control == run_pb2.RunControl(
        mode=run_pb2.RUN_MODE_HEADLESS,
        view=run_pb2.RUN_VIEW_TRAINING,
        placements_per_second=20,
    )


async def test_a_training_can_be_slowed_down(small: SmallServer) -> None:
    run = await small.running()
    request = trainer_pb2.SetSpeedRequest(run=run.id, max_training_rate=3_000)
    slowed = (await small.trainer.SetSpeed(request)).run
    assert slowed.control.max_training_rate == 3_000
    assert slowed.control.placements_per_second == run.control.placements_per_second
    request = trainer_pb2.SetSpeedRequest(run=run.id, max_training_rate=0)
    assert (await small.trainer.SetSpeed(request)).run.control.max_training_rate == 0
    code, text = await refusal(small.trainer.SetSpeed(trainer_pb2.SetSpeedRequest(run=run.id)))
    assert code == grpc.StatusCode.INVALID_ARGUMENT and "placements_per_second" in text


async def test_updating_a_running_run(small: SmallServer) -> None:
    run = await small.running(training=run_pb2.TrainingSpec(budget={"max_placements": 10**9}))
    budget = run_pb2.Budget(target_mean_lines=500)
    updated = (
        await small.trainer.UpdateRun(
            update_request(
                run.id,
                "budget",
                "learning_rate",
                "exploration",
                "display_name",
                budget=budget,
                learning_rate=0.01,
                display_name="renamed",
            )
        )
    ).run
    assert updated.training.budget == budget
    assert updated.display_name == "renamed"
    period = Duration(seconds=9)
    slower = await small.trainer.UpdateRun(
        update_request(run.id, "evaluation_period", evaluation_period=period)
    )
    assert slower.run.training.evaluation.period == period
    reset = (await small.trainer.UpdateRun(update_request(run.id, "display_name", "budget"))).run
    assert reset.display_name == "td on bcts features, 10x20"
    assert reset.training.budget == run_pb2.Budget()


@pytest.mark.parametrize(
    ("algorithm", "path"),
    [
        (run_pb2.ALGORITHM_CEM, "learning_rate"),
        (run_pb2.ALGORITHM_CEM, "exploration"),
        (run_pb2.ALGORITHM_PPO, "exploration"),
    ],
)
async def test_what_an_algorithm_does_not_have_cannot_be_steered(
    small: SmallServer, algorithm: run_pb2.Algorithm.ValueType, path: str
) -> None:
    run = await small.running(training=run_pb2.TrainingSpec(algorithm=algorithm))
    request = update_request(run.id, path, **{path: 0.1})
    code, text = await refusal(small.trainer.UpdateRun(request))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert f"update.{path}" in text


@pytest.mark.parametrize(
    ("paths", "values", "field"),
    [
        ([], {}, "update_mask"),
        (["name"], {}, "update_mask.paths[0]"),
        (["display_name", "budget.max_placements"], {}, "update_mask.paths[1]"),
        (["display_name"], {"display_name": "a\x1b[2J"}, "update.display_name"),
    ],
)
async def test_an_update_that_is_none_changes_nothing(
    small: SmallServer, paths: list[str], values: dict[str, object], field: str
) -> None:
    run = await queued(small)
    code, text = await refusal(small.trainer.UpdateRun(update_request(run.id, *paths, **values)))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert field in text
    assert await small.run(run.id) == run


async def test_a_final_run_can_be_renamed_and_nothing_else(small: SmallServer) -> None:
    run = await small.start()
    await small.trainer.StopRun(trainer_pb2.StopRunRequest(run=run.id))
    request = update_request(
        run.id, "display_name", "learning_rate", display_name="x", learning_rate=0.1
    )
    code, _ = await refusal(small.trainer.UpdateRun(request))
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert (await small.run(run.id)).display_name != "x"
    renamed = (
        await small.trainer.UpdateRun(update_request(run.id, "display_name", display_name="x"))
    ).run
    assert (renamed.display_name, renamed.state) == ("x", run_pb2.RUN_STATE_STOPPED)


async def test_a_caller_who_waits_for_a_run_that_ends_is_told(
    small: SmallServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "die-on-pause")
    run = await small.running()
    code, text = await refusal(small.trainer.PauseRun(trainer_pb2.PauseRunRequest(run=run.id)))
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert "FAILED" in text


async def test_a_demo_trains_nothing(small: SmallServer) -> None:
    run = await small.running()
    await small.trainer.SaveSlot(
        trainer_pb2.SaveSlotRequest(
            name="one",
            checkpoint=run_pb2.RunCheckpoint(run=run.id, kind=run_pb2.CHECKPOINT_KIND_LATEST),
        )
    )
    demo = (
        await small.trainer.StartRun(
            trainer_pb2.StartRunRequest(demo=run_pb2.DemoSpec(slots=["one", "one"]))
        )
    ).run
    assert demo.id.startswith("demo-")
    assert demo.display_name == "one vs one"
    assert demo.control.placements_per_second == 4
    demo = await small.until_state(demo.id, RUNNING)
    code, text = await refusal(
        small.trainer.SetMode(
            trainer_pb2.SetModeRequest(run=demo.id, view=run_pb2.RUN_VIEW_TRAINING)
        )
    )
    assert code == grpc.StatusCode.INVALID_ARGUMENT and "view" in text
    code, text = await refusal(
        small.trainer.SetSpeed(trainer_pb2.SetSpeedRequest(run=demo.id, max_training_rate=9))
    )
    assert code == grpc.StatusCode.INVALID_ARGUMENT and "max_training_rate" in text
    code, text = await refusal(small.trainer.UpdateRun(update_request(demo.id, "budget")))
    assert code == grpc.StatusCode.INVALID_ARGUMENT and "update_mask" in text
    boards = small.trainer.StreamBoard(trainer_pb2.StreamBoardRequest(run=demo.id))
    async for response in boards:
        assert [frame.board for frame in response.frames] == [0, 1]
        assert {frame.run for frame in response.frames} == {demo.id}
        break
    boards.cancel()


async def test_what_a_former_server_was_answered_is_no_answer_here() -> None:
    """A worker may say so once the server is back from a kill and has told it other things."""
    before, now = Commands(), Commands()
    for _ in range(10):
        before.add(worker_pb2.AttachResponse(pause=worker_pb2.Pause()))
        now.add(worker_pb2.AttachResponse(resume=worker_pb2.Resume()))
    for message in before.unanswered():
        assert now.get(message.command) is None

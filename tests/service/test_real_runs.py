"""The server with its real workers, from the first board to the last checkpoint."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Callable, Iterator

import pytest
from mltetris_api.v1 import run_pb2, trainer_pb2
from mltetris_api.v1.run_pb2 import RunReason
from support.calls import Client, demo, training
from support.server import ServerProcess

RUNNING = run_pb2.RUN_STATE_RUNNING
PAUSED = run_pb2.RUN_STATE_PAUSED
STOPPED = run_pb2.RUN_STATE_STOPPED
FAILED = run_pb2.RUN_STATE_FAILED

# Loading torch on a busy machine takes its time.
PATIENCE_S = 90.0


def until(client: Client, run_id: str, condition: Callable[[run_pb2.Run], bool]) -> run_pb2.Run:
    """Watches a run until it is as `condition` wants it."""
    events = client.stub.WatchRuns(
        trainer_pb2.WatchRunsRequest(run=run_id), timeout=PATIENCE_S, wait_for_ready=True
    )
    for event in events:
        if event.HasField("run"):
            run: run_pb2.Run = event.run
            if condition(run):
                events.cancel()
                return run
            assert run.state != FAILED, (run.error.message, run.log_tail)
    raise AssertionError("the stream of runs ended")


def until_state(client: Client, run_id: str, *states: run_pb2.RunState.ValueType) -> run_pb2.Run:
    def reached(run: run_pb2.Run) -> bool:
        return run.state in states

    return until(client, run_id, reached)


def get(client: Client, run_id: str) -> run_pb2.Run:
    run: run_pb2.Run = client.call("GetRun", trainer_pb2.GetRunRequest(run=run_id)).run
    return run


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with ServerProcess(tmp_path_factory.mktemp("real") / "data", "--max-runs", "4") as server:
        client = Client(server)
        yield client
        client.channel.close()


def test_a_training_is_watched_held_saved_and_played(served: Client) -> None:
    run = served.call("StartRun", training(seed=3, game={"height": 20})).run
    run = until_state(served, run.id, RUNNING)
    assert run.training.td.boards == 64, "the worker's defaults are not in the spec"
    frames = served.stub.StreamBoard(
        trainer_pb2.StreamBoardRequest(run=run.id, include_values=True), timeout=PATIENCE_S
    )
    for response in frames:
        (frame,) = response.frames
        assert (frame.run, frame.width, frame.height) == (run.id, 10, 20)
        assert len(frame.cells) == 200
        if frame.values and frame.placements > 2:
            break
    frames.cancel()
    until(served, run.id, lambda run: run.HasField("best_evaluation") and bool(run.checkpoints))

    held = served.call("PauseRun", trainer_pb2.PauseRunRequest(run=run.id)).run
    assert held.state == PAUSED
    latest = run_pb2.RunCheckpoint(run=run.id, kind=run_pb2.CHECKPOINT_KIND_LATEST)
    save = trainer_pb2.SaveSlotRequest(name="mine", checkpoint=latest)
    first = served.call("SaveSlot", save).slot
    save.overwrite = True
    assert served.call("SaveSlot", save).slot.placements == first.placements, "it was not held"
    assert first.resumable
    steered = served.call(
        "SetSpeed", trainer_pb2.SetSpeedRequest(run=run.id, placements_per_second=50)
    ).run
    assert (steered.state, steered.control.placements_per_second) == (PAUSED, 50)
    gone_on = served.call("ResumeRun", trainer_pb2.ResumeRunRequest(run=run.id)).run
    assert gone_on.state == RUNNING
    until(served, run.id, lambda run: run.metrics.placements > first.placements + 10_000)

    played = served.call("StartRun", demo(slots=["mine", "mine"], placements_per_second=100)).run
    until_state(served, played.id, RUNNING)
    boards = served.stub.StreamBoard(
        trainer_pb2.StreamBoardRequest(run=played.id), timeout=PATIENCE_S
    )
    for response in boards:
        assert [(f.board, f.player) for f in response.frames] == [(0, "mine"), (1, "mine")]
        if response.frames[0].placements > 5:
            break
    boards.cancel()
    assert get(served, run.id).state == RUNNING, "a training and a demo go at once"

    stopped = served.call("StopRun", trainer_pb2.StopRunRequest(run=run.id)).run
    assert (stopped.state, stopped.reason) == (STOPPED, RunReason.RUN_REASON_STOPPED_BY_CALLER)
    assert run_pb2.CHECKPOINT_KIND_FINAL in {c.kind for c in stopped.checkpoints}
    metrics = served.call("StreamMetrics", trainer_pb2.StreamMetricsRequest(run=run.id))
    points = [point for response in metrics for point in response.points]
    assert [point.sequence for point in points] == list(range(1, stopped.metrics.sequence + 1))
    assert points[-1].placements >= points[0].placements
    served.call("StopRun", trainer_pb2.StopRunRequest(run=played.id))

    further = served.call("StartRun", training(slot="mine")).run
    further = until(served, further.id, lambda run: run.metrics.sequence > 0)
    assert further.metrics.placements > first.placements, "it begins anew"
    served.call("StopRun", trainer_pb2.StopRunRequest(run=further.id))


def test_a_slot_leaves_as_an_sb3_zip(served: Client) -> None:
    header, *chunks = served.call(
        "ExportSlot", trainer_pb2.ExportSlotRequest(name="mine", format=2)
    )
    assert header.header.file_name == "mine.sb3.zip"
    with zipfile.ZipFile(io.BytesIO(b"".join(part.chunk for part in chunks))) as archive:
        assert "policy.pth" in archive.namelist()


def test_a_killed_worker_is_missed_and_nothing_else(served: Client) -> None:
    run = served.call("StartRun", training()).run
    until_state(served, run.id, RUNNING)
    (victim,) = [
        process
        for process in served.server.workers()
        if process.environ()["MLTETRIS_WORKER_RUN"] == run.id
    ]
    victim.kill()
    failed = until(served, run.id, lambda run: run.state == FAILED)
    assert failed.reason == RunReason.RUN_REASON_WORKER_DIED
    assert failed.log_tail
    again = served.call("StartRun", training()).run
    until_state(served, again.id, RUNNING)
    served.call("StopRun", trainer_pb2.StopRunRequest(run=again.id))


def test_a_training_survives_its_server_and_an_orderly_end_keeps_it(server: ServerProcess) -> None:
    client = Client(server)
    run = client.call("StartRun", training(seed=1)).run
    until(client, run.id, lambda run: run.metrics.sequence > 0)
    (worker,) = server.workers()
    server.kill()
    server.start()
    before = get(client, run.id)
    assert before.state == RUNNING
    later = until(
        client, run.id, lambda run: run.metrics.placements > before.metrics.placements + 1000
    )
    assert [p.pid for p in server.workers()] == [worker.pid]
    begin = time.monotonic()
    assert server.terminate() == 0
    assert time.monotonic() - begin < 5.0, "an operator's supervisor kills after five seconds"
    assert not server.workers()
    server.start()
    ended = get(client, run.id)
    assert (ended.state, ended.reason) == (STOPPED, RunReason.RUN_REASON_SERVER_SHUTDOWN)
    (final,) = [c for c in ended.checkpoints if c.kind == run_pb2.CHECKPOINT_KIND_FINAL]
    assert final.placements >= later.metrics.placements
    client.channel.close()


@pytest.mark.parametrize("features", ["SIMPLE", "BCTS", "BOARD"])
def test_a_model_of_another_size_goes_on_and_plays_with_nothing_said(
    served: Client, features: str
) -> None:
    seen = run_pb2.FeatureSet.Value(f"FEATURE_SET_{features}")
    game = {"width": 8, "height": 14}
    budget = {"max_placements": 2_000}
    first = served.call("StartRun", training(game=game, features=seen, budget=budget)).run
    until_state(served, first.id, run_pb2.RUN_STATE_SUCCEEDED)
    name = f"small-{features.lower()}"
    source = {"run": first.id, "kind": run_pb2.CHECKPOINT_KIND_FINAL}
    served.call("SaveSlot", trainer_pb2.SaveSlotRequest(name=name, checkpoint=source))
    on = served.call("StartRun", training(slot=name, budget=budget)).run
    assert on.display_name == f"td on {features.lower()} features, 8x14, from {name}"
    after = until_state(served, on.id, run_pb2.RUN_STATE_SUCCEEDED)
    assert (after.training.game.width, after.training.game.height) == (8, 14)
    assert after.training.features == seen
    shown = served.call("StartRun", demo(slots=[name], games=1, mode="RUN_MODE_HEADLESS")).run
    after = until_state(served, shown.id, run_pb2.RUN_STATE_SUCCEEDED)
    assert (after.demo.game.width, after.demo.game.height) == (8, 14)

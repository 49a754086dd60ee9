"""Trainings in real worker processes."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from statistics import median

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from mltetris_api.v1.board_pb2 import BoardFrame
from mltetris_api.v1.run_pb2 import (
    Budget,
    CheckpointKind,
    Episode,
    Evaluation,
    EvaluationSpec,
    GameSpec,
    MetricPoint,
    RunControl,
    RunMode,
    RunReason,
    RunView,
    TdParams,
    TrainingSpec,
)
from mltetris_api.worker.v1.worker_pb2 import (
    AttachRequest,
    AttachResponse,
    Pause,
    Resume,
    SaveLatest,
    Stop,
    Update,
    Watch,
    WorkerState,
)
from mltetris_server.learning.checkpoint import load
from mltetris_server.learning.td import TD
from worker.conftest import Serve, StartWorker
from worker.fake_server import PATIENCE, FakeServer, StoredCheckpoint, sequences

PAUSED = WorkerState.WORKER_STATE_PAUSED
RUNNING = WorkerState.WORKER_STATE_RUNNING
BEST = CheckpointKind.CHECKPOINT_KIND_BEST
LATEST = CheckpointKind.CHECKPOINT_KIND_LATEST
FINAL = CheckpointKind.CHECKPOINT_KIND_FINAL
HEADLESS = RunMode.RUN_MODE_HEADLESS
VISUAL = RunMode.RUN_MODE_VISUAL
SHOWCASE = RunView.RUN_VIEW_SHOWCASE
TRAINING = RunView.RUN_VIEW_TRAINING
DAY = Duration(seconds=86_400)


def control(mode: RunMode.ValueType, view: RunView.ValueType, pace: float = 8) -> RunControl:
    return RunControl(mode=mode, view=view, placements_per_second=pace)


def points(server: FakeServer) -> list[MetricPoint]:
    return [event.metrics for event in server.events("metrics")]


def frames(server: FakeServer) -> list[BoardFrame]:
    return [event.frames.frames[0] for event in server.events("frames")]


def episodes(server: FakeServer, view: RunView.ValueType) -> list[Episode]:
    found = [e for event in server.events("episodes") for e in event.episodes.episodes]
    return [episode for episode in found if episode.view == view]


def stop(server: FakeServer) -> RunReason.ValueType:
    server.say(AttachResponse(stop=Stop()))
    return server.await_events("finished")[0].finished.reason


def model(stored: StoredCheckpoint) -> tuple[dict[str, object], dict[str, bytes]]:
    return json.loads(stored.header.model_json), stored.files


def after_answer(server: FakeServer, command: int) -> list[AttachRequest]:
    """Everything said after the answer to a command."""
    server.await_answer(command)
    said = list(server.received)
    for position, event in enumerate(said):
        if event.WhichOneof("event") == "state" and event.state.command == command:
            return said[position + 1 :]
    raise AssertionError("no answer")


def test_it_learns_until_its_goal_is_reached(serve: Serve, start_worker: StartWorker) -> None:
    server = serve(training=TrainingSpec(seed=1, budget=Budget(target_mean_lines=200)))
    process = start_worker(server)
    finished = server.await_events("finished")[0]
    assert finished.finished.reason == RunReason.RUN_REASON_GOAL_REACHED
    assert process.wait(PATIENCE) == 0
    assert server.received[-1] == finished  # nothing follows the last word
    # The spec, with every default.
    report = server.events("state")[0].state
    assert report.state == RUNNING
    assert report.training.seed == 1
    assert report.training.td.boards == 64
    assert report.training.evaluation.games == 20
    # Metrics: numbered, growing, whole.
    said = points(server)
    assert [point.sequence for point in said] == list(range(1, len(said) + 1))
    placements = [point.placements for point in said]
    assert placements == sorted(placements)
    assert all(p.HasField("score") and p.HasField("lines") for p in said)
    middle = said[len(said) // 2]
    for field in (
        "episodes",
        "mean_reward",
        "mean_lines",
        "best_lines",
        "loss",
        "exploration",
        "learning_rate",
        "placements_per_second",
    ):
        assert getattr(middle, field) > 0, field
    assert said[-1].progress == 1
    evaluations = [p.evaluation for p in said if p.HasField("evaluation")]
    assert evaluations[-1].mean_lines >= 200
    assert evaluations[-1].games == 20
    assert said[-1].best_lines >= evaluations[-1].best_lines
    # Checkpoints.
    best = server.of_kind(BEST)
    assert best[-1].header.evaluation == evaluations[-1]
    assert best[-1].header.placements == evaluations[-1].placements
    (final,) = server.of_kind(FINAL)
    assert server.checkpoints[-1] is final
    assert final.header.placements == said[-1].placements
    assert set(final.files) == {"policy.safetensors", "training.safetensors"}
    assert load(*model(final)).num_timesteps == said[-1].placements
    assert episodes(server, TRAINING)


def test_placements_run_out(serve: Serve, start_worker: StartWorker) -> None:
    budget = Budget(max_placements=30_000)
    server = serve(training=TrainingSpec(seed=2, budget=budget))
    server.welcome.control.mode = HEADLESS
    process = start_worker(server)
    finished = server.await_events("finished")[0].finished
    assert finished.reason == RunReason.RUN_REASON_BUDGET_SPENT
    assert process.wait(PATIENCE) == 0
    last = points(server)[-1]
    assert 30_000 <= last.placements < 33_000
    assert last.progress == 1
    # What the budget left was examined, so that it is the best or a better one is kept.
    (final,) = server.of_kind(FINAL)
    assert final.header.evaluation.placements == last.placements
    assert server.of_kind(BEST)
    best = max(s.header.evaluation.mean_lines for s in server.of_kind(BEST))
    assert best >= final.header.evaluation.mean_lines


def test_time_runs_out_and_pauses_do_not_count(serve: Serve, start_worker: StartWorker) -> None:
    budget = Budget(max_duration=Duration(seconds=1))
    server = serve(training=TrainingSpec(seed=2, budget=budget))
    server.welcome.paused = True
    start_worker(server)
    server.await_events("state")
    server.await_events("heartbeat", len(server.events("heartbeat")) + 2)
    assert server.events("finished") == []
    server.say(AttachResponse(resume=Resume()))
    finished = server.await_events("finished")[0].finished
    assert finished.reason == RunReason.RUN_REASON_BUDGET_SPENT
    assert points(server)[-1].elapsed.ToMilliseconds() >= 1_000


def test_evaluations_grow_with_the_agent(serve: Serve, start_worker: StartWorker) -> None:
    """Short games first, so that there is something to see; longer ones once they say little."""
    server = serve(training=TrainingSpec(seed=1, evaluation={"games": 2, "max_lines": 6_000}))
    server.welcome.control.mode = HEADLESS
    start_worker(server)
    seen: list[Evaluation] = []
    while len(seen) < 2 or seen[-1].max_lines == seen[-2].max_lines:
        server.await_events("metrics", len(server.events("metrics")) + 1)
        seen = [point.evaluation for point in points(server) if point.HasField("evaluation")]
    assert seen[0].max_lines == 2_500
    assert seen[-2].cut_off_games > 0
    assert seen[-1].max_lines == 6_000  # four times as long, but never longer than was asked for
    stop(server)


def test_a_limited_training_learns_no_faster(serve: Serve, start_worker: StartWorker) -> None:
    """The limit holds whatever the machine: only too many placements are a failure."""
    rate, seconds = 4_000, 2
    budget = Budget(max_duration=Duration(seconds=seconds))
    server = serve(training=TrainingSpec(seed=2, budget=budget))
    server.welcome.control.max_training_rate = rate
    start_worker(server)
    server.await_events("finished")
    last = points(server)[-1]
    assert 0 < last.placements <= rate * last.elapsed.ToMilliseconds() / 1_000 + 2_048
    assert last.elapsed.ToMilliseconds() >= 1_000 * seconds


def test_a_limited_training_does_not_hold_the_showcase_back(
    serve: Serve, start_worker: StartWorker
) -> None:
    server = serve(training=TrainingSpec(seed=2, evaluation=EvaluationSpec(period=DAY)))
    server.welcome.control.CopyFrom(control(VISUAL, SHOWCASE, 50))
    server.welcome.control.max_training_rate = 100
    server.welcome.watch.max_fps = 100
    start_worker(server)
    server.await_events("frames", 60)
    # Between two batches, more than half a second apart, the showcase makes its placements. Were
    # it woken for metric points only, as many of those would have come as frames.
    assert len(points(server)) < 25


@pytest.mark.parametrize(
    "shown",
    [
        control(HEADLESS, SHOWCASE),
        control(VISUAL, SHOWCASE, 100),
        control(VISUAL, TRAINING, 20),
        control(HEADLESS, TRAINING),
    ],
    ids=["full speed", "showcase", "paced training", "sampled training"],
)
def test_it_stands_still_while_it_is_paused(
    serve: Serve, start_worker: StartWorker, shown: RunControl
) -> None:
    server = serve(training=TrainingSpec(seed=3))
    server.welcome.control.CopyFrom(shown)
    server.welcome.watch.max_fps = 20
    start_worker(server)
    server.await_events("metrics", 3)
    server.await_events("frames", 2)
    pause = server.say(AttachResponse(pause=Pause()))
    server.await_answer(pause)
    server.await_events("heartbeat", len(server.events("heartbeat")) + 2)
    # After the answer nothing is learnt and nothing moves: at most the board that was on its way
    # when it was held, which the answer may overtake, and the one that stands.
    after = after_answer(server, pause)
    assert [e for e in after if e.WhichOneof("event") == "metrics"] == []
    still = [e.frames.frames[0] for e in after if e.WhichOneof("event") == "frames"]
    assert len(still) <= 2
    resume = server.say(AttachResponse(resume=Resume()))
    assert server.await_answer(resume).state.state == RUNNING
    before = points(server)[-1].placements
    server.wait_for(lambda: points(server)[-1].placements > before)
    changes = [change for point in points(server) for change in point.changes]
    assert changes == ["paused", "resumed"]
    assert stop(server) == RunReason.RUN_REASON_STOPPED_BY_CALLER


def test_who_begins_to_watch_a_held_training_sees_it(
    serve: Serve, start_worker: StartWorker
) -> None:
    server = serve(training=TrainingSpec(seed=3))
    start_worker(server)
    server.await_events("metrics")
    server.await_answer(server.say(AttachResponse(pause=Pause())))
    assert server.events("frames") == []
    server.say(AttachResponse(watch=Watch(max_fps=0.1)))
    (frame,) = [event.frames.frames[0] for event in server.await_events("frames")]
    assert (frame.width, frame.height) == (10, 20)
    # Another view is shown at once as well, at one frame in ten seconds.
    server.say(AttachResponse(control=control(HEADLESS, TRAINING)))
    other = server.await_events("frames", 2)[1].frames.frames[0]
    assert (other.width, other.height) == (10, 10)
    assert any(other.cells)


def test_the_showcase_is_played_by_what_is_known_now(
    serve: Serve, start_worker: StartWorker
) -> None:
    server = serve(training=TrainingSpec(seed=3))
    server.welcome.control.placements_per_second = 1_000
    server.welcome.watch.max_fps = 60
    server.welcome.watch.include_values = True
    start_worker(server)
    server.wait_for(lambda: len(episodes(server, SHOWCASE)) >= 1 and len(frames(server)) > 30)
    server.wait_for(lambda: points(server)[-1].lines > 100)
    frame = frames(server)[-1]
    assert len(frame.values) > 5
    assert frame.height == 20
    numbers = [frame.sequence for frame in frames(server)]
    assert numbers == sorted(set(numbers))
    shown = episodes(server, SHOWCASE)
    assert [e.number for e in shown] == list(range(1, len(shown) + 1))
    assert shown[0].run_placements > 0
    assert stop(server) == RunReason.RUN_REASON_STOPPED_BY_CALLER


def test_a_paced_training_shows_every_placement(serve: Serve, start_worker: StartWorker) -> None:
    server = serve(training=TrainingSpec(seed=3))
    server.welcome.control.CopyFrom(control(VISUAL, TRAINING, 50))
    server.welcome.watch.max_fps = 120
    start_worker(server)
    server.await_events("frames", 60)
    shown = frames(server)
    assert {(frame.width, frame.height) for frame in shown} == {(10, 10)}
    steps = [
        (before, after) for before, after in pairwise(shown) if before.episode == after.episode
    ]
    assert len(steps) > 30
    # Where the machine is busy, the pace is made up for and a frame is replaced by the next one.
    made = [after.placements - before.placements for before, after in steps]
    assert median(made) == 1
    assert max(made) < 25
    moved = [pair for pair in steps if pair[0].placements + 1 == pair[1].placements]
    # The piece that was about to be placed is the one that was placed, in its own colour.
    for before, after in moved:
        assert after.last_placement.piece == before.active.piece
        if not after.last_placement.cleared_rows:
            assert {after.cells[i] for i in after.last_placement.cells} == {before.active.piece}
    # With fewer frames than placements the colours of those between are known all the same.
    server.say(AttachResponse(watch=Watch(max_fps=10)))
    server.await_events("frames", len(shown) + 10)
    later = [frame for frame in frames(server)[len(shown) + 1 :] if frame.placements > 3]
    assert later
    assert all(set(frame.cells) - {0, 1} for frame in later)
    # And from there to full speed within the time of one placement.
    slow = points(server)[-1].placements
    server.await_answer(server.say(AttachResponse(control=control(VISUAL, TRAINING, 0.1))))
    server.await_answer(server.say(AttachResponse(control=control(HEADLESS, TRAINING))))
    server.wait_for(lambda: points(server)[-1].placements > slow + 100_000)
    assert stop(server) == RunReason.RUN_REASON_STOPPED_BY_CALLER


def test_nobody_watching_means_no_frames(serve: Serve, start_worker: StartWorker) -> None:
    server = serve(training=TrainingSpec(seed=3))
    start_worker(server)
    server.await_events("metrics", 5)
    assert server.events("frames") == []
    server.say(AttachResponse(watch=Watch(max_fps=30)))
    server.await_events("frames", 2)
    server.say(AttachResponse(watch=Watch()))
    quiet = after_answer(server, server.say(AttachResponse(update=Update())))
    server.await_events("metrics", len(points(server)) + 3)
    assert [e for e in quiet if e.WhichOneof("event") == "frames"] == []
    assert points(server)[-1].HasField("score")


def test_a_learner_is_steered(serve: Serve, start_worker: StartWorker) -> None:
    server = serve(training=TrainingSpec(seed=3))
    start_worker(server)
    server.await_events("metrics")
    update = Update(learning_rate=0.0005, exploration=0.25)
    server.await_answer(server.say(AttachResponse(update=update)))
    server.wait_for(lambda: points(server)[-1].exploration == 0.25)
    assert points(server)[-1].learning_rate == 0.0005
    update = Update(learning_rate=0, exploration=-1)
    server.await_answer(server.say(AttachResponse(update=update)))
    server.wait_for(lambda: points(server)[-1].exploration < 0.2)
    assert points(server)[-1].learning_rate > 0.0005
    changes = [change for point in points(server) for change in point.changes]
    assert changes[0].startswith("learning_rate 0.00")
    assert changes[0].endswith(" -> 0.0005")
    assert changes[1].endswith(" -> 0.25")
    assert changes[2:] == ["learning_rate back to its schedule", "exploration back to its schedule"]
    # A budget that is spent already ends it.
    server.say(AttachResponse(update=Update(budget=Budget(max_placements=1))))
    finished = server.await_events("finished")[0].finished
    assert finished.reason == RunReason.RUN_REASON_BUDGET_SPENT


def test_a_new_target_that_was_reached_already_ends_it(
    serve: Serve, start_worker: StartWorker
) -> None:
    server = serve(training=TrainingSpec(seed=3))
    start_worker(server)
    server.wait_for(
        lambda: any(p.evaluation.mean_lines >= 100 for p in points(server)), "an evaluation"
    )
    server.await_answer(server.say(AttachResponse(pause=Pause())))
    server.say(AttachResponse(update=Update(budget=Budget(target_mean_lines=1))))
    server.say(AttachResponse(resume=Resume()))
    finished = server.await_events("finished")[0].finished
    assert finished.reason == RunReason.RUN_REASON_GOAL_REACHED


def test_latest_is_kept_on_a_period_and_on_request(serve: Serve, start_worker: StartWorker) -> None:
    period = Duration(nanos=200_000_000)
    evaluation = EvaluationSpec(period=DAY)
    server = serve(training=TrainingSpec(seed=3, checkpoint_period=period, evaluation=evaluation))
    start_worker(server)
    server.wait_for(lambda: len(server.of_kind(LATEST)) >= 3)
    kept = [stored.header.placements for stored in server.of_kind(LATEST)]
    assert kept == sorted(kept)
    server.await_answer(server.say(AttachResponse(pause=Pause())))
    before = len(server.of_kind(LATEST))
    server.await_answer(server.say(AttachResponse(save_latest=SaveLatest())))
    assert len(server.of_kind(LATEST)) > before  # stored before it was answered
    assert load(*model(server.of_kind(LATEST)[-1])).num_timesteps > 0
    assert stop(server) == RunReason.RUN_REASON_STOPPED_BY_CALLER
    assert server.of_kind(BEST) == []
    assert server.of_kind(FINAL)[0].header.evaluation.games == 0


def test_stop_ends_a_held_training_with_its_last_checkpoint(
    serve: Serve, start_worker: StartWorker
) -> None:
    server = serve(training=TrainingSpec(seed=3))
    process = start_worker(server)
    server.await_events("metrics")
    server.await_answer(server.say(AttachResponse(pause=Pause())))
    assert stop(server) == RunReason.RUN_REASON_STOPPED_BY_CALLER
    assert process.wait(PATIENCE) == 0
    assert len(server.of_kind(FINAL)) == 1


def test_a_stop_while_it_comes_up_ends_it_before_it_begins(
    serve: Serve, start_worker: StartWorker
) -> None:
    server = serve(training=TrainingSpec(seed=3))
    process = start_worker(server)
    server.await_events("hello")
    assert stop(server) == RunReason.RUN_REASON_STOPPED_BY_CALLER
    assert process.wait(PATIENCE) == 0
    assert server.events("state") == []
    assert server.checkpoints == []


def test_a_training_goes_on_exactly(serve: Serve, start_worker: StartWorker) -> None:
    """What a run and its continuation learn is what one run learns without the break."""
    quiet = EvaluationSpec(period=DAY)
    first = serve(training=TrainingSpec(seed=9, evaluation=quiet))
    start_worker(first)
    first.wait_for(lambda: bool(points(first)) and points(first)[-1].placements > 40_000)
    assert stop(first) == RunReason.RUN_REASON_STOPPED_BY_CALLER
    (half,) = first.of_kind(FINAL)
    # Not a round number: it was stopped in the middle of something.
    budget = Budget(max_placements=60_000)
    second = serve(training=TrainingSpec(slot="half", budget=budget, evaluation=quiet))
    second.keep_slot("half", half.header.model_json, half.files)
    second.slots["half"].header.placements = half.header.placements
    start_worker(second)
    second.await_events("finished")
    report = second.events("state")[0].state.training
    assert report.seed == 9
    said = points(second)
    assert said[0].placements > half.header.placements
    assert said[-1].placements - half.header.placements >= 60_000
    assert said[0].episodes >= points(first)[-1].episodes
    assert said[-1].progress == 1
    (end,) = second.of_kind(FINAL)

    whole = TD(seed=9)
    whole.learn(end.header.placements)
    resumed = load(*model(end))
    resumed.learn(whole.num_timesteps - resumed.num_timesteps, reset_num_timesteps=False)
    assert resumed.num_timesteps == whole.num_timesteps
    for mine, other in zip(resumed.player().network, whole.player().network, strict=True):
        assert (mine == other).all()


def test_a_model_without_its_training_goes_on_from_its_weights(
    serve: Serve, start_worker: StartWorker
) -> None:
    first = serve(training=TrainingSpec(seed=4, budget=Budget(target_mean_lines=300)))
    start_worker(first)
    first.await_events("finished")
    best = first.of_kind(BEST)[-1]
    spec = TrainingSpec(slot="weights", budget=Budget(max_placements=4_096))
    second = serve(training=spec)
    files = {"policy.safetensors": best.files["policy.safetensors"]}
    second.keep_slot("weights", best.header.model_json, files)
    second.slots["weights"].header.placements = best.header.placements
    start_worker(second)
    second.await_events("finished")
    assert second.of_kind(FINAL)[0].header.placements >= best.header.placements + 4_096
    assert second.of_kind(FINAL)[0].header.evaluation.mean_lines > 50


@pytest.mark.parametrize(
    ("spec", "code", "complaint"),
    [
        (TrainingSpec(slot="nobody"), 5, "nobody"),
        (TrainingSpec(game=GameSpec(height=6), td=TdParams(training_height=9)), 3, "height"),
        (TrainingSpec(td=TdParams(boards=4096, rollout_steps=1024)), 3, "window"),
    ],
    ids=["unknown slot", "too high", "too large"],
)
def test_what_cannot_be_done_is_said(
    serve: Serve, start_worker: StartWorker, spec: TrainingSpec, code: int, complaint: str
) -> None:
    server = serve(training=spec)
    process = start_worker(server)
    finished = server.await_events("finished")[0].finished
    assert finished.reason == RunReason.RUN_REASON_WORKER_ERROR
    assert finished.error.code == code
    assert complaint in finished.error.message
    assert process.wait(PATIENCE) == 1


def test_training_goes_on_while_the_server_is_away(serve: Serve, start_worker: StartWorker) -> None:
    server = serve(training=TrainingSpec(seed=5, checkpoint_period=Duration(nanos=100_000_000)))
    server.welcome.watch.max_fps = 30
    start_worker(server)
    server.await_events("frames", 3)
    before = points(server)[-1]
    server.stop()
    server.start()
    server.wait_for(lambda: server.conversations == 2)
    server.await_events("metrics", len(points(server)) + 10)
    assert stop(server) == RunReason.RUN_REASON_STOPPED_BY_CALLER
    said = points(server)
    assert [point.sequence for point in said] == list(range(1, len(said) + 1))
    numbers = sequences(server.received)
    assert numbers == list(range(1, len(numbers) + 1))
    assert said[-1].placements > before.placements
    assert len(server.of_kind(FINAL)) == 1


def test_a_training_leaves_when_its_server_is_gone(serve: Serve, start_worker: StartWorker) -> None:
    server = serve(training=TrainingSpec(seed=5), grace=0.5)
    process = start_worker(server)
    server.await_events("metrics", 2)
    server.stop()
    kept = len(server.checkpoints)
    assert process.wait(PATIENCE) == 3
    assert len(server.checkpoints) == kept


def test_a_last_checkpoint_that_cannot_be_stored_is_a_failure(
    serve: Serve, start_worker: StartWorker
) -> None:
    server = serve(training=TrainingSpec(seed=5, evaluation=EvaluationSpec(period=DAY)))
    server.put_refusal = grpc.StatusCode.RESOURCE_EXHAUSTED
    process = start_worker(server)
    server.await_events("metrics", 1)
    server.say(AttachResponse(stop=Stop()))
    finished = server.await_events("finished")[0].finished
    assert finished.reason == RunReason.RUN_REASON_WORKER_ERROR
    assert "the disk is full" in finished.error.message
    assert server.events("notice")
    assert process.wait(PATIENCE) == 1


def test_the_compiler_of_torch_is_not_loaded() -> None:
    """It costs a second and a hundred megabytes, and the same is learnt without it."""
    code = """
import sys
from mltetris_server.learning.td import TD
from mltetris_server.worker.lean_torch import spare_the_compiler
if sys.argv[1] == "lean":
    spare_the_compiler()
td = TD(seed=1)
td.learn(6000)
print("torch._dynamo" in sys.modules, [part.tobytes().hex() for part in td.player().network])
"""
    results = [
        subprocess.run(
            [sys.executable, "-c", code, how], capture_output=True, text=True, check=True
        ).stdout.split(" ", 1)
        for how in ("lean", "usual")
    ]
    (lean, weights), (usual, same_weights) = results
    assert (lean, usual) == ("False", "True")
    assert weights == same_weights


def test_a_worker_in_the_place_of_a_lost_one_knows_what_that_had_found_out(
    serve: Serve, start_worker: StartWorker
) -> None:
    server = serve(
        training=TrainingSpec(
            seed=3,
            evaluation=EvaluationSpec(
                games=2, period=Duration(nanos=50_000_000), max_lines=100_000
            ),
        )
    )
    before = server.welcome.resumption
    before.metric_sequence, before.best_lines = 41, 70_000_000
    before.best.mean_lines = 60_000_000
    before.last.mean_lines, before.last.max_lines, before.last.cut_off_games = 5_000, 6_000, 1
    start_worker(server)
    server.wait_for(lambda: any(p.HasField("evaluation") for p in points(server)))
    assert stop(server) == RunReason.RUN_REASON_STOPPED_BY_CALLER
    assert [p.sequence for p in points(server)] == list(range(42, 42 + len(points(server))))
    assert {point.best_lines for point in points(server)} == {70_000_000}
    first = next(p.evaluation for p in points(server) if p.HasField("evaluation"))
    assert first.max_lines == 24_000, "four times as long, and not from the beginning again"
    assert server.of_kind(BEST) == [], "none was better"

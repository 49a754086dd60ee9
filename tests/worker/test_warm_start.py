"""Warm starts in real worker processes."""

from __future__ import annotations

import json
import math

import pytest
from mltetris_api.v1.run_pb2 import (
    Budget,
    CheckpointKind,
    MetricPoint,
    RunReason,
    TrainingSpec,
    WarmStart,
    WarmStartMethod,
)
from mltetris_api.worker.v1.worker_pb2 import AttachResponse, Pause, Resume, SaveLatest, Stop
from mltetris_server.learning.checkpoint import dump, load
from mltetris_server.learning.td import TD
from support.games_to_learn import played
from worker.conftest import Serve, StartWorker
from worker.fake_server import FakeServer

CLONING = WarmStartMethod.WARM_START_METHOD_CLONING
REPLAY = WarmStartMethod.WARM_START_METHOD_REPLAY
BEST = CheckpointKind.CHECKPOINT_KIND_BEST
LATEST = CheckpointKind.CHECKPOINT_KIND_LATEST
FINAL = CheckpointKind.CHECKPOINT_KIND_FINAL


def points(server: FakeServer) -> list[MetricPoint]:
    return [event.metrics for event in server.events("metrics")]


def warming(server: FakeServer) -> list[MetricPoint]:
    return [point for point in points(server) if point.HasField("warm_start_epoch")]


def notes(server: FakeServer) -> list[str]:
    return [event.notice.text for event in server.events("notice")]


def spec(target: float = 50, **warm_start: object) -> TrainingSpec:
    return TrainingSpec(
        seed=1,
        budget=Budget(target_mean_lines=target),
        warm_start=WarmStart(dataset="games", **warm_start),  # type: ignore[arg-type]
    )


def serving(serve: Serve, training: TrainingSpec) -> FakeServer:
    server = serve(training=training)
    server.trajectories = played().dump()
    return server


def test_what_was_learnt_from_games_is_examined_first(
    serve: Serve, start_worker: StartWorker
) -> None:
    server = serving(serve, spec(epochs=5))
    start_worker(server)
    finished = server.await_events("finished")[0].finished
    assert finished.reason == RunReason.RUN_REASON_GOAL_REACHED
    warm, rest = warming(server), points(server)[len(warming(server)) :]
    assert warm and warm == points(server)[: len(warm)]
    assert all(1 <= point.warm_start_epoch <= 5 and not point.placements for point in warm)
    losses = [p.warm_start_loss for p in warm if p.HasField("warm_start_loss")]
    assert losses and all(math.isfinite(loss) and loss > 0 for loss in losses)
    assert 0.5 < warm[-1].warm_start_accuracy <= 1
    # The first thing behind it is an evaluation of it, and the goal is reached before the training
    # has made a placement of its own.
    assert rest[0].evaluation.mean_lines >= 50
    assert rest[0].evaluation.placements == 0
    assert server.of_kind(BEST)[0].header.evaluation == rest[0].evaluation
    (told,) = [change for change in rest[0].changes if change.startswith("warm start")]
    assert told.startswith("warm start: 5 epochs over 2,000 placements of games: accuracy 0.")
    assert told in notes(server)
    # The spec, with every default.
    planned = server.events("state")[0].state.training.warm_start
    assert (planned.method, planned.epochs) == (CLONING, 5)
    assert (planned.max_placements, planned.learning_rate) == (10_000, 0.01)
    assert server.trajectory_calls == 1


def test_it_is_held_and_stopped_midway_and_keeps_what_it_has(
    serve: Serve, start_worker: StartWorker
) -> None:
    server = serving(serve, spec(epochs=1000))
    start_worker(server)
    server.wait_for(lambda: any(p.warm_start_epoch > 1 for p in points(server)))
    server.await_answer(server.say(AttachResponse(pause=Pause())))
    server.await_answer(server.say(AttachResponse(resume=Resume())))
    before = len(points(server))
    server.wait_for(lambda: len(points(server)) > before)
    # Only what is asked for is kept: who takes over begins with the dataset once more.
    assert not server.checkpoints
    server.await_answer(server.say(AttachResponse(save_latest=SaveLatest())))
    assert len(server.of_kind(LATEST)) == 1
    server.say(AttachResponse(stop=Stop()))
    finished = server.await_events("finished")[0].finished
    assert finished.reason == RunReason.RUN_REASON_STOPPED_BY_CALLER
    assert not any(point.HasField("evaluation") for point in points(server))
    assert not any("epochs over" in text for text in notes(server))
    (final,) = server.of_kind(FINAL)
    kept = load(json.loads(final.header.model_json), final.files)
    fresh = TD(seed=1).player().network.hidden_weights
    assert kept.num_timesteps == 0
    assert (kept.player().network.hidden_weights != fresh).mean() > 0.5


def test_games_may_be_replayed(serve: Serve, start_worker: StartWorker) -> None:
    server = serving(serve, spec(method=REPLAY, epochs=4))
    start_worker(server)
    server.wait_for(lambda: any("epochs over" in text for text in notes(server)))
    assert warming(server)
    assert not any(point.HasField("warm_start_accuracy") for point in points(server))
    assert "accuracy" not in notes(server)[0]
    server.say(AttachResponse(stop=Stop()))
    server.await_events("finished")


@pytest.mark.parametrize("kind", [CheckpointKind.CHECKPOINT_KIND_UNSPECIFIED, LATEST])
def test_who_takes_over_from_a_checkpoint_does_not_begin_with_it_again(
    serve: Serve, start_worker: StartWorker, kind: CheckpointKind.ValueType
) -> None:
    server = serving(serve, spec())
    server.welcome.resumption.metric_sequence = 7
    server.welcome.resumption.checkpoint = kind
    model, files = dump(TD(seed=1))
    server.keep_slot("", json.dumps(model), files)  # what a checkpoint is asked for by, here
    start_worker(server)
    server.await_events("metrics", 3)
    assert server.trajectory_calls == (0 if kind else 1)
    assert bool(warming(server)) == (not kind)
    server.say(AttachResponse(stop=Stop()))
    server.await_events("finished")


def test_a_broken_line_is_tried_again(serve: Serve, start_worker: StartWorker) -> None:
    server = serving(serve, spec())
    server.trajectory_faults = ["broken", "broken"]
    start_worker(server)
    finished = server.await_events("finished")[0].finished
    assert finished.reason == RunReason.RUN_REASON_GOAL_REACHED
    assert server.trajectory_calls == 3


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("flipped", "SHA-256"),
        ("longer", "longer than its header"),
        ("shorter", "bytes came instead"),
        ("no header", "does not tell of one file"),
    ],
)
def test_a_damaged_dataset_is_refused(
    serve: Serve, start_worker: StartWorker, fault: str, told: str
) -> None:
    server = serving(serve, spec())
    server.trajectory_faults = [fault]
    start_worker(server)
    error = server.await_events("finished")[0].finished.error
    assert "the dataset is damaged" in error.message and told in error.message


def test_games_that_do_not_fit_their_boards_are_refused(
    serve: Serve, start_worker: StartWorker
) -> None:
    server = serving(serve, spec())
    games = played()
    actions = games.actions.copy()
    actions[500] = 39
    server.trajectories = type(games)(
        games.game, games.pieces, games.next_pieces, actions, games.starts, games.ended, games.lines
    ).dump()
    start_worker(server)
    error = server.await_events("finished")[0].finished.error
    assert "actions: placement" in error.message

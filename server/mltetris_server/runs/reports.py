"""What a worker's events make of its run: pure, without time, disk or network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from google.protobuf.timestamp_pb2 import Timestamp
from mltetris_api.v1 import dataset_pb2, run_pb2
from mltetris_api.v1.run_pb2 import RunReason
from mltetris_api.worker.v1 import worker_pb2

from mltetris_server.errors import InvalidArgument
from mltetris_server.runs import states
from mltetris_server.runs.benchmark_specs import is_official
from mltetris_server.runs.commands import Commands
from mltetris_server.runs.recipe import with_seed
from mltetris_server.storage.history import WorkerEvent

_FINISHED_AS = {
    RunReason.RUN_REASON_GOAL_REACHED: states.SUCCEEDED,
    RunReason.RUN_REASON_BUDGET_SPENT: states.SUCCEEDED,
    RunReason.RUN_REASON_STOPPED_BY_CALLER: states.STOPPED,
    RunReason.RUN_REASON_WORKER_ERROR: states.FAILED,
}

_WORKER_STATES = {
    worker_pb2.WORKER_STATE_RUNNING: states.RUNNING,
    worker_pb2.WORKER_STATE_PAUSED: states.PAUSED,
}


@dataclass
class Outcome:
    """What a batch of events adds up to."""

    run: run_pb2.Run
    """The run afterwards."""
    events: list[WorkerEvent] = field(default_factory=list)
    """What of them is to be stored."""
    points: list[run_pb2.MetricPoint] = field(default_factory=list)
    episodes: list[run_pb2.Episode] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    answered: list[int] = field(default_factory=list)
    """Numbers of commands the worker has answered."""


def move(run: run_pb2.Run, state: states.State, reason: RunReason.ValueType = 0) -> None:  # type: ignore[assignment]
    """Puts `run` into `state`, with the times that go with it.

    Raises:
        WrongState: there is no such way.
    """
    states.check(run.id, run.state, state)
    run.state = state
    run.reason = reason
    run.queue_position = 0
    run.ClearField("next_start_time")
    if state != states.FAILED:
        run.ClearField("error")
    if state in (states.RUNNING, states.PAUSED) and not run.HasField("start_time"):
        run.start_time.GetCurrentTime()
    if state in states.FINAL:
        run.end_time.GetCurrentTime()


def add_checkpoint(run: run_pb2.Run, info: run_pb2.CheckpointInfo) -> None:
    """Notes a checkpoint in `run`, in the place of the last one of its kind."""
    kept = [known for known in run.checkpoints if known.kind != info.kind]
    del run.checkpoints[:]
    run.checkpoints.extend(sorted([*kept, info], key=lambda known: known.kind))


def add_dataset(run: run_pb2.Run, dataset: dataset_pb2.Dataset) -> None:
    """Notes in `run`, a simulation, that its dataset is stored."""
    run.simulation_result.CopyFrom(
        run_pb2.SimulationResult(
            dataset=dataset.name,
            stored=True,
            games=dataset.games,
            cut_off_games=dataset.cut_off_games,
            placements=dataset.placements,
            mean_lines=dataset.mean_lines,
            best_lines=dataset.best_lines,
            size_bytes=dataset.size_bytes,
        )
    )


def apply(
    run: run_pb2.Run,
    events: Iterable[worker_pb2.AttachRequest],
    commands: Commands,
    stop_reason: RunReason.ValueType,
) -> Outcome:
    """Returns what `events`, in order, make of `run`, which itself stays as it is.

    Args:
        commands: those not answered yet: what they change becomes true with their answer.
        stop_reason: why the run was told to stop, if it was.
    """
    changed = run_pb2.Run()
    changed.CopyFrom(run)
    outcome = Outcome(changed)
    last_point = changed.metrics.sequence
    for event in events:
        points: list[run_pb2.MetricPoint] = []
        episodes: list[run_pb2.Episode] = []
        match event.WhichOneof("event"):
            case "metrics":
                # Its number tells a repeated point from a new one even if the event's does not.
                if event.metrics.sequence > last_point + 1:
                    raise InvalidArgument.field(
                        "metrics.sequence", f"must be {last_point + 1}: points have no gaps"
                    )
                if event.metrics.sequence > last_point:
                    last_point = event.metrics.sequence
                    points.append(event.metrics)
                    _measure(changed, event.metrics)
            case "episodes":
                for episode in event.episodes.episodes:
                    episode.run = changed.id
                    if not episode.HasField("end_time"):
                        episode.end_time.CopyFrom(_now())
                    episodes.append(episode)
            case "state":
                _report(changed, event.state, commands, outcome)
            case "benchmark_result":
                if changed.HasField("benchmark"):
                    changed.benchmark_result.CopyFrom(event.benchmark_result)
                    changed.benchmark_result.suite = changed.benchmark.suite
                    changed.benchmark_result.official = (
                        event.benchmark_result.complete and is_official(changed.benchmark)
                    )
            case "simulation_result":
                if changed.HasField("simulation"):
                    stored = changed.simulation_result.stored
                    changed.simulation_result.CopyFrom(event.simulation_result)
                    changed.simulation_result.dataset = changed.simulation.dataset
                    changed.simulation_result.stored = stored
            case "notice":
                outcome.notices.append(event.notice.text)
            case "finished":
                _finish(changed, event.finished, stop_reason)
        # With the spec comes the first report of a worker, which plays from the first game on.
        anew = changed.HasField("benchmark") and event.state.HasField("benchmark")
        outcome.events.append(WorkerEvent(event.sequence, points, episodes, begins_anew=anew))
        outcome.points += points
        outcome.episodes += episodes
    return outcome


def split(
    events: list[worker_pb2.AttachRequest],
) -> tuple[list[worker_pb2.AttachRequest], list[worker_pb2.AttachRequest]]:
    """Returns what of `events` may be stored at once, and the rest.

    An event that may change the state comes last, so that every state is recorded.
    """
    for i, event in enumerate(events):
        if event.WhichOneof("event") in ("state", "finished"):
            return events[: i + 1], events[i + 1 :]
    return events, []


def _measure(run: run_pb2.Run, point: run_pb2.MetricPoint) -> None:
    if not point.HasField("time"):
        point.time.CopyFrom(_now())
    run.metrics.CopyFrom(point)
    if point.HasField("evaluation"):
        run.last_evaluation.CopyFrom(point.evaluation)
        best = run.best_evaluation if run.HasField("best_evaluation") else None
        if best is None or point.evaluation.mean_lines > best.mean_lines:
            run.best_evaluation.CopyFrom(point.evaluation)


def _report(
    run: run_pb2.Run, report: worker_pb2.StateReport, commands: Commands, outcome: Outcome
) -> None:
    kind = run.WhichOneof("spec")
    # Which models it is given is not the worker's to say.
    if kind == "training" and report.HasField("training"):
        told = run_pb2.TrainingSpec()
        told.CopyFrom(run.training)
        run.training.CopyFrom(report.training)
        run.training.ClearField("slot")
        run.training.ClearField("checkpoint")
        run.training.warm_start.dataset = told.warm_start.dataset
        if not told.HasField("warm_start"):
            run.training.ClearField("warm_start")
        if told.HasField("slot"):
            run.training.slot = told.slot
        elif told.HasField("checkpoint"):
            run.training.checkpoint.CopyFrom(told.checkpoint)
        run.command = with_seed(run.command, report.training.seed)
    elif kind == "demo" and report.HasField("demo"):
        slots = list(run.demo.slots)
        run.demo.CopyFrom(report.demo)
        run.demo.slots[:] = slots
    elif kind == "benchmark" and report.HasField("benchmark"):
        asked = run_pb2.BenchmarkSpec()
        asked.CopyFrom(run.benchmark)
        run.benchmark.CopyFrom(report.benchmark)
        del run.benchmark.players[:]
        run.benchmark.players.extend(asked.players)
        run.benchmark.suite = asked.suite
        run.ClearField("benchmark_result")
    elif kind == "simulation" and report.HasField("simulation"):
        before = run_pb2.SimulationSpec()
        before.CopyFrom(run.simulation)
        run.simulation.CopyFrom(report.simulation)
        run.simulation.player.CopyFrom(before.player)
        run.simulation.dataset = before.dataset
    if report.first_placements and not run.first_placements:
        run.first_placements = report.first_placements
    state = _WORKER_STATES.get(report.state)
    if state is not None and run.state not in (state, states.STOPPING):
        move(run, state)
    if report.command:
        command = commands.get(report.command)
        if command is not None and command.effect is not None:
            command.effect(run)
        outcome.answered.append(report.command)


def _finish(
    run: run_pb2.Run, finished: worker_pb2.Finished, stop_reason: RunReason.ValueType
) -> None:
    state = _FINISHED_AS.get(finished.reason, states.FAILED)
    if run.state == states.STARTING and state == states.SUCCEEDED:
        # It was so quick that it never said it was running.
        move(run, states.RUNNING)
    if state == states.FAILED:
        move(run, state, RunReason.RUN_REASON_WORKER_ERROR)
        run.error.CopyFrom(finished.error)
        if not run.error.message:
            run.error.message = "the worker failed without saying why"
    elif state == states.STOPPED:
        move(run, state, stop_reason or finished.reason)
    else:
        move(run, state, finished.reason)


def _now() -> Timestamp:
    now = Timestamp()
    now.GetCurrentTime()
    return now

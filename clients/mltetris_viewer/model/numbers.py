"""The numbers of a run that the panel shows, in words."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf import duration_pb2
from mltetris_api.v1 import run_pb2
from mltetris_client import is_final

from mltetris_viewer.model import words

_NONE = "–"


@dataclass(frozen=True)
class Number:
    """One number.

    Attributes:
        label: what it is.
        value: how much.
        note: what else there is to know about it; may be empty.
    """

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        label: towards what.
        share: 0..1.
        note: the share in words, with the time left where that is known.
    """

    label: str
    share: float
    note: str


def goal(run: run_pb2.Run | None) -> float | None:
    """The mean lines that a training is to reach, if any."""
    if run is None or not run.training.budget.HasField("target_mean_lines"):
        return None
    return run.training.budget.target_mean_lines


def progress(run: run_pb2.Run, point: run_pb2.MetricPoint) -> Progress:
    """How far a run is towards its goal or the end of its budget, by its newest point."""
    share = min(1.0, max(0.0, point.progress))
    if run.state == run_pb2.RUN_STATE_SUCCEEDED:
        # Its last point was measured before the end.
        return Progress(_towards(run), 1.0, "done")
    if is_final(run):
        return Progress(_towards(run), share, f"ended at {share:.0%}")
    note = f"{share:.0%}"
    if point.HasField("eta"):
        note += f"  ·  {words.seconds(_length(point.eta))} left"
    return Progress(_towards(run), share, note)


def _towards(run: run_pb2.Run) -> str:
    budget = run.training.budget
    limits = []
    if budget.HasField("target_mean_lines"):
        limits.append(f"{words.integer(budget.target_mean_lines)} lines a game")
    if budget.max_placements:
        limits.append(f"{words.compact(budget.max_placements)} placements")
    if budget.HasField("max_duration"):
        limits.append(words.seconds(_length(budget.max_duration)))
    if run.demo.games:
        limits.append(f"{words.integer(run.demo.games)} games")
    return "Until " + " or ".join(limits) if limits else "Progress"


def numbers(run: run_pb2.Run | None, point: run_pb2.MetricPoint, *, race: bool) -> list[Number]:
    """What the panel's tiles say of a run; of a race only what no board says."""
    elapsed = words.seconds(_length(point.elapsed)) if point.HasField("elapsed") else _NONE
    best = _of(point, "best_lines", words.integer)
    if race:
        return [
            Number("Games", words.integer(point.episodes), "finished"),
            Number("Best game", best, "lines"),
        ]
    if run is not None and run.kind != run_pb2.RUN_KIND_TRAINING:
        # A demo goes at a pace that somebody chose.
        rate = "in all games" if run.kind == run_pb2.RUN_KIND_DEMO else _rate(run, point)
        return [
            Number("Games", words.integer(point.episodes), "finished"),
            Number("Best game", best, "lines"),
            Number("Placements", words.compact(point.placements), rate),
            Number("Playing for", elapsed),
        ]
    return [
        _evaluation(run, point),
        Number("Best game", best, "lines"),
        Number(
            "Placements",
            words.compact(point.placements),
            _rate(run, point),
        ),
        Number("Training for", elapsed, f"{words.compact(point.episodes)} episodes"),
        Number("Exploration", _of(point, "exploration", words.small), "random placements, ε"),
        Number("Learning rate", _of(point, "learning_rate", words.small)),
        Number("Loss", _of(point, "loss", words.small)),
        Number("Mean reward", _of(point, "mean_reward", words.compact), "last 100 episodes"),
    ]


def _rate(run: run_pb2.Run | None, point: run_pb2.MetricPoint) -> str:
    if not point.HasField("placements_per_second"):
        return ""
    rate = f"{words.compact(point.placements_per_second)} a second"
    limit = run.control.max_training_rate if run is not None else 0.0
    return f"{rate}, at most {words.compact(limit)}" if limit else rate


def _evaluation(run: run_pb2.Run | None, point: run_pb2.MetricPoint) -> Number:
    if point.HasField("evaluation"):
        last = point.evaluation
    elif run is not None and run.HasField("last_evaluation"):
        last = run.last_evaluation
    else:
        return Number("Evaluation", _NONE, "mean lines, greedy")
    floor = "≥ " if last.cut_off_games else ""
    return Number(
        "Evaluation",
        f"{floor}{words.lines(last.mean_lines)}",
        f"lines, ±{words.lines(last.standard_error)}, {last.games} games",
    )


def _of(point: run_pb2.MetricPoint, name: str, wording: words.Wording) -> str:
    return wording(getattr(point, name)) if point.HasField(name) else _NONE  # type: ignore[arg-type]


def _length(duration: duration_pb2.Duration) -> float:
    return duration.seconds + duration.nanos * 1e-9

"""From a run's metric points to a curve: which number, over what, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from mltetris_client import MetricPoint

from mltetris_cli.jsonify import seconds
from mltetris_cli.plotting.choices import MetricName, OverName

# Changes that leave the learning alone: they are about the game that is watched.
_WATCHING = ("paused", "resumed", "mode ", "view ", "placements_per_second ")


@dataclass(frozen=True, slots=True)
class Metric:
    """A number that can be drawn.

    Attributes:
        title: what the picture is called.
        axis: what stands at the y axis, with the unit.
        field: of a metric point; empty: it comes from the evaluations.
        absent: what a run lacks that has none, e.g. ``evaluations``.
    """

    title: str
    axis: str
    field: str
    absent: str


METRICS: dict[MetricName, Metric] = {
    "lines": Metric("Lines a game, without exploration", "mean lines a game", "", "evaluations"),
    "reward": Metric(
        "Reward while training", "mean return of the last 100 games", "mean_reward", "rewards"
    ),
    "loss": Metric("Training loss", "loss", "loss", "losses"),
    "speed": Metric(
        "Training speed", "placements a second", "placements_per_second", "measured speed"
    ),
    "exploration": Metric(
        "Exploration", "probability of a random placement", "exploration", "exploration"
    ),
    "learning-rate": Metric("Learning rate", "learning rate", "learning_rate", "learning rate"),
}


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that was steered.

    Attributes:
        x: where, on the curve's x axis.
        text: what, e.g. ``learning rate 0.003 → 0.001``.
    """

    x: float
    text: str


@dataclass(frozen=True, slots=True)
class Curve:
    """A number over placements or seconds; the tuples of points are equally long, x ascending.

    Attributes:
        xs: placements learnt from, or seconds spent running.
        ys: the number; finite.
        lows: lower end of the band around it.
        highs: upper end of the band around it.
        bounds: whether the number is only a lower bound, because games were cut off.
        marks: what was steered.
    """

    xs: tuple[float, ...]
    ys: tuple[float, ...]
    lows: tuple[float, ...]
    highs: tuple[float, ...]
    bounds: tuple[bool, ...]
    marks: tuple[Mark, ...] = ()

    def __len__(self) -> int:
        return len(self.xs)


@dataclass(frozen=True, slots=True)
class _Sample:
    x: float
    y: float
    spread: float = 0.0
    bound: bool = False


def curve_of(points: Iterable[MetricPoint], metric: MetricName, over: OverName) -> Curve:
    """The curve that metric points make.

    Of ``lines`` each evaluation is a point of the curve, its band one standard error wide to each
    side and not below 0. The other metrics have no band. What is unset, or no finite number, is
    left out.

    Args:
        points: of one run, in order.
        metric: which number.
        over: what it is drawn over.
    """
    samples: list[_Sample] = []
    marks: list[Mark] = []
    for point in points:
        x = float(point.placements) if over == "placements" else seconds(point.elapsed)
        marks += [Mark(x, _words(change)) for change in point.changes if _steers(change)]
        found = _evaluated(point, x, over) if metric == "lines" else _measured(point, x, metric)
        if found is not None and math.isfinite(found.y):
            samples.append(found)
    samples.sort(key=lambda sample: sample.x)  # an evaluation is told after it was taken
    floor = 0.0 if metric == "lines" else -math.inf
    return Curve(
        xs=tuple(sample.x for sample in samples),
        ys=tuple(sample.y for sample in samples),
        lows=tuple(max(floor, sample.y - sample.spread) for sample in samples),
        highs=tuple(sample.y + sample.spread for sample in samples),
        bounds=tuple(sample.bound for sample in samples),
        marks=tuple(marks),
    )


def _evaluated(point: MetricPoint, x: float, over: OverName) -> _Sample | None:
    evaluation = point.evaluation
    if not evaluation.games:
        return None
    if over == "placements" and evaluation.placements:
        x = float(evaluation.placements)
    error = evaluation.standard_error
    return _Sample(
        x,
        evaluation.mean_lines,
        error if math.isfinite(error) else 0.0,
        evaluation.cut_off_games > 0,
    )


def _measured(point: MetricPoint, x: float, metric: MetricName) -> _Sample | None:
    field = METRICS[metric].field
    if not point.HasField(field):  # type: ignore[arg-type]
        return None
    return _Sample(x, getattr(point, field))


def _steers(change: str) -> bool:
    return not change.startswith(_WATCHING)


def _words(change: str) -> str:
    return change.replace("_", " ").replace("->", "→")

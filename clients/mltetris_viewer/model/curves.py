"""The curves of a run: its whole history in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from mltetris_api.v1 import run_pb2

#: Points a series keeps; past twice as many, neighbours are merged pairwise.
RESOLUTION = 2048
#: What is not measured in every point, and holds until it is measured again.
_LASTING = (
    "evaluation",
    "mean_reward",
    "mean_lines",
    "best_lines",
    "loss",
    "exploration",
    "learning_rate",
)


class Series:
    """A curve that may grow for ever: always from its beginning, never more than 4,096 points.

    When it is full, each pair of neighbours becomes one point, their mean, and
    from then on as many arriving points again make one point.
    """

    def __init__(self) -> None:
        self.x: list[float] = []
        self.y: list[float] = []
        self._stride = 1
        self._pending: list[tuple[float, float]] = []
        self.last: float | None = None

    def __len__(self) -> int:
        return len(self.x)

    def append(self, x: float, y: float) -> None:
        """Adds a point; `x` must not be smaller than the last one.

        A value that is not finite becomes `last`, but has no place on a curve.
        """
        self.last = y
        if not math.isfinite(y):
            return
        self._pending.append((x, y))
        if len(self._pending) < self._stride:
            return
        self._flush()
        if len(self.x) >= 2 * RESOLUTION:
            self.x = [(a + b) / 2 for a, b in zip(self.x[::2], self.x[1::2], strict=True)]
            self.y = [(a + b) / 2 for a, b in zip(self.y[::2], self.y[1::2], strict=True)]
            self._stride *= 2

    def points(self) -> list[tuple[float, float]]:
        """Every point, the newest included even where it is not yet merged into its place."""
        points = list(zip(self.x, self.y, strict=True))
        if self._pending:
            points.append(self._pending[-1])
        return points

    def _flush(self) -> None:
        count = len(self._pending)
        self.x.append(sum(x for x, _ in self._pending) / count)
        self.y.append(sum(y for _, y in self._pending) / count)
        self._pending.clear()


@dataclass
class Curves:
    """What is drawn of a run's metrics, over placements.

    Attributes:
        evaluation: mean lines of the greedy evaluations.
        mean_lines: mean lines of the last 100 training episodes.
        mean_reward: mean return of the last 100 training episodes.
        lines: lines of the watched game.
        score: score of the watched game.
        last_sequence: the newest point taken in.
        caught_up: whether the history is complete.
        latest: the newest point, filled up with what was measured last where it has nothing.
    """

    evaluation: Series = field(default_factory=Series)
    mean_lines: Series = field(default_factory=Series)
    mean_reward: Series = field(default_factory=Series)
    lines: Series = field(default_factory=Series)
    score: Series = field(default_factory=Series)
    last_sequence: int = 0
    caught_up: bool = False
    latest: run_pb2.MetricPoint = field(default_factory=run_pb2.MetricPoint)

    def add(self, points: Iterable[run_pb2.MetricPoint]) -> bool:
        """Takes points in order, leaving out those seen before; says whether any was new."""
        grown = False
        for point in points:
            if point.sequence <= self.last_sequence:
                continue
            self.last_sequence = point.sequence
            grown = True
            self._follow(point)
            x = float(point.placements)
            if point.HasField("evaluation"):
                taken = float(point.evaluation.placements) or x
                self.evaluation.append(taken, point.evaluation.mean_lines)
            for name in ("mean_lines", "mean_reward", "lines", "score"):
                if point.HasField(name):
                    series: Series = getattr(self, name)
                    series.append(x, float(getattr(point, name)))
        return grown

    def _follow(self, point: run_pb2.MetricPoint) -> None:
        before, self.latest = self.latest, run_pb2.MetricPoint()
        self.latest.CopyFrom(point)
        for name in _LASTING:
            if self.latest.HasField(name) or not before.HasField(name):  # type: ignore[arg-type]
                continue
            if name == "evaluation":
                self.latest.evaluation.CopyFrom(before.evaluation)
            else:
                setattr(self.latest, name, getattr(before, name))

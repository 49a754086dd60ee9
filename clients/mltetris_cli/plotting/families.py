"""Runs that belong together as one curve: their median, and their range as the band."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from mltetris_cli.plotting.curves import Curve

MOST_POINTS = 500
"""Most points of a median: more than a picture can show."""


@dataclass(frozen=True, slots=True)
class Family:
    """What is drawn in one colour.

    Attributes:
        label: what the legend calls it.
        curve: of the run, or the median of several with their range as its band.
        members: the runs' own curves where there are several, else empty.
    """

    label: str
    curve: Curve
    members: tuple[Curve, ...] = ()


def median_of(curves: Sequence[Curve]) -> Curve:
    """The median of curves with their range as its band, over the x that all of them cover.

    Between its points a curve is taken to be straight. Where some of the numbers are lower bounds
    the median is one, too, if it could be higher for it. Where curves share no x it is empty.
    Beyond what they share nothing can be said: runs that reach their goal end there, and the
    median of those left over would make the others look worse than they are.

    Args:
        curves: at least one, each with at least one point.
    """
    first = max(curve.xs[0] for curve in curves)
    last = min(curve.xs[-1] for curve in curves)
    grid = sorted({x for curve in curves for x in curve.xs if first <= x <= last})
    stride = math.ceil(len(grid) / MOST_POINTS)
    grid = grid[(len(grid) - 1) % stride :: stride] if grid else []
    ys: list[float] = []
    lows: list[float] = []
    highs: list[float] = []
    bounds: list[bool] = []
    for x in grid:
        here = sorted(_at(curve, x) for curve in curves)
        values = [value for value, _ in here]
        ys.append(median(values))
        lows.append(values[0])
        highs.append(values[-1])
        upper_middle = values[len(values) // 2]
        bounds.append(any(bound and value <= upper_middle for value, bound in here))
    return Curve(tuple(grid), tuple(ys), tuple(lows), tuple(highs), tuple(bounds))


def _at(curve: Curve, x: float) -> tuple[float, bool]:
    """The value at an x that the curve covers, and whether it is a lower bound."""
    index = bisect_left(curve.xs, x)
    if curve.xs[index] == x:
        return curve.ys[index], curve.bounds[index]
    x0, x1 = curve.xs[index - 1], curve.xs[index]
    share = (x - x0) / (x1 - x0)
    value = curve.ys[index - 1] + share * (curve.ys[index] - curve.ys[index - 1])
    return value, curve.bounds[index - 1] or curve.bounds[index]

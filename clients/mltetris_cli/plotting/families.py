"""What is drawn in one colour: a run, smoothed where it is long, or the median of several."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

from mltetris_cli.plotting.curves import Curve

MOST_POINTS = 200
"""Most points of a median: more than a picture can show."""
SMOOTHED_FROM = 200
"""A run with more points than this is drawn as means of neighbours, over a thin line of all."""
_MEANS = 100


@dataclass(frozen=True, slots=True)
class Family:
    """What is drawn in one colour.

    Attributes:
        label: what the legend calls it.
        curve: the thick line and its band.
        members: the thin lines that the thick one sums up: of a run that was smoothed its own
            curve, of several runs theirs; empty where the thick line is the run itself.
    """

    label: str
    curve: Curve
    members: tuple[Curve, ...] = ()


def family_of(label: str, curve: Curve) -> Family:
    """One run; where it has many points, as about a hundred means."""
    if len(curve) <= SMOOTHED_FROM:
        return Family(label, curve)
    return Family(label, smoothed(curve, math.ceil(len(curve) / _MEANS)), (curve,))


def smoothed(curve: Curve, count: int) -> Curve:
    """Means of so many neighbours each; what is left over are the first.

    The band is the mean of theirs. For the standard error of the mean that is the most it can be:
    an evaluation's games are on the same pieces as the last one's, so errors need not cancel out.
    A mean of lower bounds and others is a lower bound.
    """
    ends = range(len(curve), 0, -count)
    parts = [slice(max(0, end - count), end) for end in ends][::-1]
    return Curve(
        xs=tuple(fmean(curve.xs[part]) for part in parts),
        ys=tuple(fmean(curve.ys[part]) for part in parts),
        lows=tuple(fmean(curve.lows[part]) for part in parts),
        highs=tuple(fmean(curve.highs[part]) for part in parts),
        bounds=tuple(any(curve.bounds[part]) for part in parts),
        marks=curve.marks,
    )


def median_of(curves: Sequence[Curve], *, log_x: bool = False, log_y: bool = False) -> Curve:
    """The median of curves with their range as its band, over the x that all of them cover.

    Between its points a curve is taken to be straight, as it is drawn. Where some of the numbers
    are lower bounds the median is one, too, if it could be higher for it. Where curves share no x
    it is empty. Beyond what they share nothing can be said: runs that reach their goal end there,
    and the median of those left over would make the others look worse than they are.

    Args:
        curves: at least one, each with at least one point.
        log_x: whether they are drawn over a logarithmic x axis.
        log_y: whether they are drawn over a logarithmic y axis.
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
        here = sorted(_at(curve, x, log_x, log_y) for curve in curves)
        values = [value for value, _ in here]
        ys.append(median(values))
        lows.append(values[0])
        highs.append(values[-1])
        upper_middle = values[len(values) // 2]
        bounds.append(any(bound and value <= upper_middle for value, bound in here))
    return Curve(tuple(grid), tuple(ys), tuple(lows), tuple(highs), tuple(bounds))


def _at(curve: Curve, x: float, log_x: bool, log_y: bool) -> tuple[float, bool]:
    """The value at an x that the curve covers, and whether it is a lower bound."""
    index = bisect_left(curve.xs, x)
    if curve.xs[index] == x:
        return curve.ys[index], curve.bounds[index]
    x0, x1 = curve.xs[index - 1], curve.xs[index]
    share = math.log(x / x0) / math.log(x1 / x0) if log_x and x0 > 0 else (x - x0) / (x1 - x0)
    value = _between(curve.ys[index - 1], curve.ys[index], share, log_y)
    return value, curve.bounds[index - 1] or curve.bounds[index]


def _between(y0: float, y1: float, share: float, log: bool) -> float:
    """The value on the line from y0 (share 0) to y1 (share 1) as an axis shows it."""
    if log and min(y0, y1) > 0:
        return math.exp((1 - share) * math.log(y0) + share * math.log(y1))
    if log and min(y0, y1) == 0:  # such an axis is straight around 0
        return math.expm1((1 - share) * math.log1p(y0) + share * math.log1p(y1))
    return (1 - share) * y0 + share * y1

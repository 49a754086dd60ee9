"""The axes of the curves: scales, ticks, and thinning to what pixels can show. No pygame here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mltetris_viewer.model import words

#: Values that span more than this many times one go on a logarithmic axis.
LOG_FROM = 60.0


@dataclass(frozen=True)
class Axis:
    """One axis.

    Attributes:
        low: the value at its beginning.
        high: the value at its end, above `low`.
        log: whether it counts log(1 + value), which takes 0 and shows both 3 and 3,000.
        ticks: the values that are marked.
    """

    low: float
    high: float
    log: bool
    ticks: tuple[float, ...]

    def share(self, value: float) -> float:
        """Where a value stands, 0 at the beginning and 1 at the end; kept inside."""
        low, high, value = (self._scaled(v) for v in (self.low, self.high, value))
        return min(1.0, max(0.0, (value - low) / (high - low)))

    def _scaled(self, value: float) -> float:
        return math.log1p(max(0.0, value)) if self.log else value


def axis_for(values: Sequence[float], *, may_log: bool, most_ticks: int = 4) -> Axis:
    """An axis on which all of `values` stand.

    Args:
        values: finite numbers; none: 0..1.
        may_log: whether a logarithmic axis may be used, for large values none of which is negative.
        most_ticks: about how many values are marked.
    """
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if may_log and low >= 0 and high >= LOG_FROM:
        powers = range(math.ceil(math.log10(high)) + 1)
        top = high * 1.25
        every = tuple(10.0**power for power in powers if 10.0**power <= top)
        # Few enough to be read, the highest always among them.
        stride = math.ceil(len(every) / most_ticks)
        return Axis(0.0, top, True, (0.0, *every[(len(every) - 1) % stride :: stride]))
    if low >= 0 and low < 0.5 * high:
        low = 0.0
    if high - low <= 1e-12 * max(1.0, abs(high)):
        pad = abs(high) * 0.1 or 1.0
        low, high = (0.0, high + pad) if low >= 0 and high - pad <= 0 else (low - pad, high + pad)
    step = nice_step((high - low) / most_ticks)
    low = math.floor(low / step + 1e-9) * step
    high = math.ceil(high / step - 1e-9) * step
    count = round((high - low) / step)
    return Axis(low, high, False, tuple(low + step * i for i in range(count + 1)))


def span_axis(low: float, high: float, most_ticks: int) -> Axis:
    """An axis from exactly `low` to `high`, marked at round whole numbers: for what is counted."""
    high = max(high, low + 1.0)
    step = max(1.0, nice_step((high - low) / most_ticks))
    first = math.ceil(low / step - 1e-9)
    ticks = tuple(step * i for i in range(first, math.floor(high / step + 1e-9) + 1))
    return Axis(low, high, False, ticks)


def tick_labels(ticks: Sequence[float]) -> list[str]:
    """The ticks in words, with as few digits as tell them apart."""
    for digits in range(3, 10):
        labels = [words.compact(tick, digits) for tick in ticks]
        if len(set(labels)) == len(labels):
            return labels
    return [str(tick) for tick in ticks]


def nice_step(least: float) -> float:
    """The smallest of 1, 2 and 5 times a power of ten that is at least `least` (above 0)."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(m * power for m in (1.0, 2.0, 5.0, 10.0) if m * power >= least * (1 - 1e-9))


def thin(
    points: Sequence[tuple[float, float]], low: float, high: float, columns: int
) -> list[tuple[float, float]]:
    """At most one point a pixel column, the mean of those in it; the last point is kept as it is.

    Args:
        points: x ascending.
        low: x at the left edge.
        high: x at the right edge, above `low`.
        columns: pixel columns.
    """
    if len(points) <= columns:
        return list(points)
    thinned: list[tuple[float, float]] = []
    column, sum_x, sum_y, count = -1, 0.0, 0.0, 0
    for x, y in points[:-1]:
        here = int((x - low) / (high - low) * columns)
        if here != column and count:
            thinned.append((sum_x / count, sum_y / count))
            sum_x = sum_y = 0.0
            count = 0
        column = here
        sum_x, sum_y, count = sum_x + x, sum_y + y, count + 1
    if count:
        thinned.append((sum_x / count, sum_y / count))
    thinned.append(points[-1])
    return thinned

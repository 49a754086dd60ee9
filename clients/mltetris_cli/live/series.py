"""A curve that never grows: old points are merged when there are too many."""

from __future__ import annotations

from collections.abc import Sequence

_CAPACITY = 2_048


class Series:
    """Points (x, y) with x ascending; past the capacity, neighbours are merged to their mean."""

    def __init__(self, capacity: int = _CAPACITY) -> None:
        self._capacity = capacity
        self._xs: list[float] = []
        self._ys: list[float] = []

    def add(self, x: float, y: float) -> None:
        """Adds the newest point. One with a smaller x than the last is left out."""
        if self._xs and x < self._xs[-1]:
            return
        self._xs.append(x)
        self._ys.append(y)
        if len(self._xs) > self._capacity:
            # The newest point stays itself: it is what the figures beside the curve say.
            xs, ys = self._xs[:-1], self._ys[:-1]
            pairs = range(0, len(xs) - 1, 2)
            self._xs = [xs[i + 1] for i in pairs] + self._xs[-1:]
            self._ys = [(ys[i] + ys[i + 1]) / 2 for i in pairs] + self._ys[-1:]

    def __len__(self) -> int:
        return len(self._xs)

    @property
    def last(self) -> float | None:
        """The newest y."""
        return self._ys[-1] if self._ys else None

    def columns(self, count: int) -> list[float | None]:
        """The curve as ``count`` columns over its whole x range, the newest value last.

        A column with several points is their mean, one without is on the straight line between
        its neighbours.
        """
        if not self._xs or count < 1:
            return [None] * max(0, count)
        first, last = self._xs[0], self._xs[-1]
        step = (last - first) / count
        if step <= 0:
            return [None] * (count - 1) + [self._ys[-1]]
        result: list[float | None] = []
        index = 0
        for column in range(count):
            end = first + (column + 1) * step
            inside: list[float] = []
            while index < len(self._xs) and (self._xs[index] <= end or column == count - 1):
                inside.append(self._ys[index])
                index += 1
            middle = end - step / 2
            result.append(sum(inside) / len(inside) if inside else self._between(index, middle))
        result[-1] = self._ys[-1]
        return result

    def _between(self, index: int, x: float) -> float:
        """The value at ``x`` on the line from the point before ``index`` to the one there."""
        x0, x1 = self._xs[index - 1], self._xs[index]
        share = (x - x0) / (x1 - x0) if x1 > x0 else 1.0
        return self._ys[index - 1] + share * (self._ys[index] - self._ys[index - 1])


def bars(values: Sequence[float | None], rows: int, *, top: float, bottom: float) -> list[str]:
    """Draws columns as ``rows`` lines of block characters, the topmost line first.

    ``bottom`` is an empty column (shown as the thinnest bar), ``top`` a full one; None is blank.
    """
    steps = " ▁▂▃▄▅▆▇█"
    span = top - bottom
    heights: list[int | None] = []
    for value in values:
        if value is None:
            heights.append(None)
        else:
            share = 0.0 if span <= 0 else min(1.0, max(0.0, (value - bottom) / span))
            heights.append(max(1, round(share * rows * 8)))
    lines: list[str] = []
    for row in range(rows - 1, -1, -1):
        line = (
            " " if height is None else steps[min(8, max(0, height - 8 * row))] for height in heights
        )
        lines.append("".join(line))
    return lines

"""The axes of a picture: scales, ticks, and the unit of times."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, SymmetricalLogLocator

from mltetris_cli.live import figures
from mltetris_cli.plotting.choices import MetricName
from mltetris_cli.plotting.curves import Curve

LOG_DECADES = 2.0
"""Lines that span more than this go on a logarithmic axis unless told otherwise."""


def spans_decades(curves: Iterable[Curve], metric: MetricName) -> bool:
    """Whether a metric is drawn over a logarithmic axis where nobody said.

    Lines below 1 count as 1: how far from nothing a beginner is does not matter.
    """
    ys = [y for curve in curves for y in curve.ys]
    return metric == "lines" and bool(ys) and max(ys) > 10**LOG_DECADES * max(1.0, min(ys))


def time_unit(curves: Sequence[Curve]) -> tuple[str, float]:
    """The unit for times as long as these, and its seconds."""
    longest = max(curve.xs[-1] for curve in curves)
    if longest < 300:
        return "s", 1.0
    return ("min", 60.0) if longest < 3 * 3600 else ("h", 3600.0)


def scale_y(axes: Axes, curves: Sequence[Curve], metric: MetricName, *, log: bool) -> None:
    """Sets up the y axis for what was drawn.

    A logarithmic axis on which there is a 0 or less is straight around 0: of lines up to 1, of
    others up to the smallest number.
    """
    values = [value for curve in curves for value in (*curve.ys, *curve.lows)]
    lowest = min(values)
    smallest = min((abs(value) for value in values if value), default=1.0)
    if log and lowest > 0 and (metric != "lines" or lowest >= 1):
        axes.set_yscale("log")
    else:
        if log:
            threshold = 1.0 if metric == "lines" else smallest
            axes.set_yscale("symlog", linthresh=threshold, linscale=0.5)
            between = SymmetricalLogLocator(base=10, linthresh=threshold, subs=list(range(2, 10)))
            axes.yaxis.set_minor_locator(between)
        if lowest >= 0:
            axes.set_ylim(bottom=0)
    highest = max(abs(value) for value in values)
    _number_ticks(axes.yaxis, between=log and highest < smallest * 10**LOG_DECADES)


def scale_x(axes: Axes, curves: Sequence[Curve], *, log: bool) -> None:
    """Sets up the x axis for what was drawn; it begins at 0 unless most of it would be empty."""
    first = min(curve.xs[0] for curve in curves)
    last = max(curve.xs[-1] for curve in curves)
    if log and last > 0:
        axes.set_xscale("log")
    else:
        axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 2.5, 5, 10]))
        if 0 <= first < 0.5 * last:
            axes.set_xlim(0, last * 1.02)
    smallest = min((x for curve in curves for x in curve.xs if x > 0), default=last)
    _number_ticks(axes.xaxis, between=log and last < smallest * 10**LOG_DECADES)


def number(value: float) -> str:
    """A number at an axis: with SI units from 1,000 on."""
    return figures.short(value) if abs(value) >= 1 else f"{value:.3g}"


def _number_ticks(axis: Axis, *, between: bool) -> None:
    """Numbers at the large ticks; ``between``: also at the 2 and 5 of a logarithmic axis."""

    def told(value: float, _place: int | None) -> str:
        return number(value)

    def told_between(value: float, _place: int | None) -> str:
        return number(value) if f"{value:e}"[:3] in ("2.0", "5.0") else ""

    axis.set_major_formatter(FuncFormatter(told))
    axis.set_minor_formatter(FuncFormatter(told_between) if between else NullFormatter())

"""Curves as a picture: matplotlib, without a display. Nothing else of the command imports it."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator, SymmetricalLogLocator

from mltetris_cli.live import figures
from mltetris_cli.plotting.choices import MetricName, OverName
from mltetris_cli.plotting.curves import METRICS, Curve
from mltetris_cli.plotting.families import Family

DPI = 150
"""Dots an inch of a PNG."""
LOG_DECADES = 2.0
"""Lines that span more than this go on a logarithmic axis unless told otherwise."""

# Okabe and Ito, "Color Universal Design" (2008), without the yellow, which fades on white.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES = ("-", "--", ":", "-.")
_INK, _PALE, _GRID = "#222222", "#666666", "#E4E4E4"
_FEW_POINTS = 40
_MOST_TEXTS = 8
_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 10.0,
    "text.color": _INK,
    "text.parse_math": False,  # names of runs may hold a $
    "axes.edgecolor": "#AAAAAA",
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": "#AAAAAA",
    "ytick.color": "#AAAAAA",
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "grid.color": _GRID,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.hashsalt": "mltetris",  # the same curves make the same file
}


@dataclass(frozen=True, slots=True)
class Look:
    """How a picture is to be.

    Attributes:
        metric: what the curves are.
        over: what they are drawn over.
        log: whether the y axis is logarithmic; None: where ``lines`` span over two decades.
        log_x: whether the x axis is logarithmic.
        title: above everything; None: the metric's own.
        subtitle: below the title; may be empty.
        size: width and height in inches.
    """

    metric: MetricName = "lines"
    over: OverName = "placements"
    log: bool | None = None
    log_x: bool = False
    title: str | None = None
    subtitle: str = ""
    size: tuple[float, float] = (8.0, 4.5)


def write(families: Sequence[Family], look: Look, path: Path) -> None:
    """Draws families of curves into a file; the suffix says what kind: png, svg or pdf.

    The same input makes the same file. A file there is replaced, once the picture is whole.

    Raises:
        OSError: the file cannot be written.
    """
    kind = path.suffix.lower().removeprefix(".")
    buffer = io.BytesIO()
    # Without them a file says when it was made, and two of the same curves differ.
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    with _our_style():
        figure = draw(families, look)
        figure.savefig(buffer, format=kind, dpi=DPI, metadata=undated)
    path.write_bytes(buffer.getvalue())


def draw(families: Sequence[Family], look: Look) -> Figure:
    """The picture of families of curves."""
    figure = Figure(figsize=look.size, layout="constrained")
    axes = figure.add_subplot()
    metric = METRICS[look.metric]
    every = [c for family in families for c in (family.curve, *family.members) if len(c)]
    unit, scale = _time_unit(every) if look.over == "seconds" else ("", 1.0)
    for place, family in enumerate(families):
        colour = _COLOURS[place % len(_COLOURS)]
        dashes = _DASHES[place // len(_COLOURS) % len(_DASHES)]
        _draw_family(axes, family, colour, dashes, scale)
    marked = len(families) == 1 and not families[0].members and bool(families[0].curve.marks)
    if marked:
        _draw_marks(axes, families[0].curve, scale)
    _scale_y(axes, every, look)
    _scale_x(axes, every, look, scale)
    axes.grid(visible=True, which="major")
    axes.set_ylabel(metric.axis)
    axes.set_xlabel(f"time spent running, {unit}" if unit else "placements learnt from")
    _write_title(figure, axes, look, metric.title)
    _write_legend(figure, families, look, marked=marked)
    return figure


def is_log(curves: Sequence[Curve], metric: MetricName) -> bool:
    """Whether a metric is drawn over a logarithmic axis where nobody said.

    Lines below 1 count as 1: how far from nothing a beginner is does not matter.
    """
    ys = [y for curve in curves for y in curve.ys]
    return metric == "lines" and bool(ys) and max(ys) > 10**LOG_DECADES * max(1.0, min(ys))


@contextmanager
def _our_style() -> Iterator[None]:
    """Draws the same whatever the user's settings of matplotlib are."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        # A letter that the font lacks is drawn as a box, which says enough.
        warnings.filterwarnings("ignore", message="Glyph")
        yield


def _draw_family(axes: Axes, family: Family, colour: str, dashes: str, scale: float) -> None:
    for member in family.members:
        xs = [x / scale for x in member.xs]
        axes.plot(xs, member.ys, color=colour, linestyle=dashes, linewidth=0.7, alpha=0.45)
        _draw_bounds(axes, member, colour, scale, size=2.5, alpha=0.45)
    curve = family.curve
    xs = [x / scale for x in curve.xs]
    if curve.lows != curve.highs:
        axes.fill_between(xs, curve.lows, curve.highs, color=colour, alpha=0.16, linewidth=0)
    marker = "o" if len(curve) <= _FEW_POINTS and not family.members else ""
    axes.plot(
        xs,
        curve.ys,
        color=colour,
        linestyle=dashes,
        linewidth=1.8,
        marker=marker,
        markersize=3.5,
        zorder=3,
    )
    if not family.members:
        _draw_bounds(axes, curve, colour, scale, size=5.5, alpha=1.0)


def _draw_bounds(axes: Axes, curve: Curve, colour: str, scale: float, **how: float) -> None:
    """Upward triangles where games were cut off: it is at least this."""
    points = [(x / scale, y) for x, y, b in zip(curve.xs, curve.ys, curve.bounds, strict=True) if b]
    if points:
        axes.plot(
            [x for x, _ in points],
            [y for _, y in points],
            linestyle="",
            marker="^",
            color=colour,
            markersize=how["size"],
            alpha=how["alpha"],
            markeredgecolor="white",
            markeredgewidth=0.5,
            zorder=4,
        )


def _draw_marks(axes: Axes, curve: Curve, scale: float) -> None:
    for mark in curve.marks:
        axes.axvline(mark.x / scale, color=_PALE, linewidth=0.8, linestyle=(0, (1, 2)), zorder=1)
    if len(curve.marks) > _MOST_TEXTS:
        return
    for mark in curve.marks:
        axes.annotate(
            mark.text,
            (mark.x / scale, 1.0),
            xycoords=axes.get_xaxis_transform(),
            xytext=(-2, -2),
            textcoords="offset points",
            rotation=90,
            ha="right",
            va="top",
            fontsize=7.5,
            color=_PALE,
        )


def _scale_y(axes: Axes, curves: Sequence[Curve], look: Look) -> None:
    values = [v for c in curves for v in (*c.ys, *c.lows)]
    log = is_log(curves, look.metric) if look.log is None else look.log
    if not log:
        if min(values) >= 0:
            axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(FuncFormatter(_number))
        return
    smallest = min((abs(v) for v in values if v), default=1.0)
    if min(values) > 0 and (look.metric != "lines" or smallest >= 1):
        axes.set_yscale("log")
    else:
        # Around 0 the axis is straight: of lines up to 1, of others up to the smallest number.
        threshold = 1.0 if look.metric == "lines" else smallest
        axes.set_yscale("symlog", linthresh=threshold, linscale=0.5)
        subs = list(range(2, 10))
        locator = SymmetricalLogLocator(base=10, linthresh=threshold, subs=subs)
        axes.yaxis.set_minor_locator(locator)
        if min(values) >= 0:
            axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(FuncFormatter(_number))
    axes.yaxis.set_minor_formatter(FuncFormatter(lambda _value, _place: ""))


def _scale_x(axes: Axes, curves: Sequence[Curve], look: Look, scale: float) -> None:
    if look.log_x and any(x > 0 for c in curves for x in c.xs):
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(FuncFormatter(lambda _value, _place: ""))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 2.5, 5, 10]))
        first = min(c.xs[0] for c in curves) / scale
        last = max(c.xs[-1] for c in curves) / scale
        if 0 <= first < 0.5 * last:
            axes.set_xlim(0, last * 1.02)
    axes.xaxis.set_major_formatter(FuncFormatter(_number))


def _number(value: float, _place: int | None = None) -> str:
    """A tick's number; SI units from 1,000 on."""
    if value == 0:
        return "0"
    return figures.short(value) if abs(value) >= 1 else figures.small(value)


def _time_unit(curves: Sequence[Curve]) -> tuple[str, float]:
    """The unit for times as long as these, and its seconds."""
    longest = max(curve.xs[-1] for curve in curves)
    if longest < 300:
        return "s", 1.0
    return ("min", 60.0) if longest < 3 * 3600 else ("h", 3600.0)


def _write_title(figure: Figure, axes: Axes, look: Look, default: str) -> None:
    title = default if look.title is None else look.title
    axes.set_title(look.subtitle, loc="left", fontsize=9, color=_PALE)
    if title:
        figure.suptitle(title, x=0.012, ha="left", fontsize=13, fontweight="bold")


def _write_legend(figure: Figure, families: Sequence[Family], look: Look, *, marked: bool) -> None:
    handles: list[Artist] = []
    words: list[str] = []

    def add(handle: Artist, text: str) -> None:
        handles.append(handle)
        words.append(text)

    for place, family in enumerate(families):
        colour = _COLOURS[place % len(_COLOURS)]
        dashes = _DASHES[place // len(_COLOURS) % len(_DASHES)]
        add(Line2D([], [], color=colour, linestyle=dashes, linewidth=2.2), family.label)
    several = any(family.members for family in families)
    if several:
        add(Patch(facecolor=_PALE, alpha=0.25), "median and range of the runs")
    elif look.metric == "lines":
        add(Patch(facecolor=_PALE, alpha=0.25), "± 1 standard error")
    if any(any(c.bounds) for family in families for c in (family.curve, *family.members)):
        add(
            Line2D([], [], linestyle="", marker="^", color=_PALE, markersize=6),
            "at least: games were cut off",
        )
    if marked:
        add(Line2D([], [], color=_PALE, linewidth=0.8, linestyle=(0, (1, 2))), "steered")
    # About how many fit beside each other: a letter is 0.075 inches wide, a handle 0.55.
    width = 0.55 + 0.075 * max(map(len, words))
    columns = max(1, min(len(words), int((look.size[0] - 0.2) / width)))
    figure.legend(
        handles, words, loc="outside lower center", ncols=columns, frameon=False, fontsize=9
    )

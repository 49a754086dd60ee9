"""Curves as a picture: matplotlib, without a display."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from mltetris_cli.plotting.axes import scale_x, scale_y, time_unit
from mltetris_cli.plotting.choices import MetricName, OverName
from mltetris_cli.plotting.curves import METRICS, Curve, Mark
from mltetris_cli.plotting.families import Family
from mltetris_cli.plotting.legend import write_legend

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType

DPI = 150
"""Dots an inch of a PNG."""

# Okabe and Ito, "Color Universal Design" (2008), without the yellow, which fades on white.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_Dashes = Literal["-", "--", ":", "-."]
_DASHES: tuple[_Dashes, ...] = ("-", "--", ":", "-.")
_INK, _PALE, _AXIS, _GRID = "#222222", "#666666", "#AAAAAA", "#E4E4E4"
_STEERED: tuple[float, Sequence[float]] = (0, (1, 2))
_FEW_EVALUATIONS = 40
_MOST_TEXTS = 8
# Triangles are no closer to each other than this share of the width.
_TRIANGLES_APART = 1 / 60
_STYLE: dict[RcKeyType, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10.0,
    "text.color": _INK,
    "text.parse_math": False,  # names of runs may hold a $
    "axes.edgecolor": _AXIS,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": _AXIS,
    "ytick.color": _AXIS,
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
        log: whether the y axis is logarithmic; around 0 it is straight then.
        log_x: whether the x axis is logarithmic.
        title: above everything; None: the metric's own.
        subtitle: below the title; may be empty.
        size: width and height in inches.
    """

    metric: MetricName = "lines"
    over: OverName = "placements"
    log: bool = False
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
    # Otherwise the file says when it was made.
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    buffer = io.BytesIO()
    with style():
        draw(families, look).savefig(buffer, format=kind, dpi=DPI, metadata=undated)
    path.write_bytes(buffer.getvalue())


@contextmanager
def style() -> Iterator[None]:
    """Within it everything is drawn the same, whatever the user's settings of matplotlib are."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        # A letter that the font lacks is drawn as a box, which says enough.
        warnings.filterwarnings("ignore", message="Glyph")
        yield


def draw(families: Sequence[Family], look: Look) -> Figure:
    """The picture of families of curves, at least one; to be called within `style`."""
    figure = Figure(figsize=look.size, layout="constrained")
    axes = figure.add_subplot()
    if look.over == "seconds":
        unit, length = time_unit([family.curve for family in families])
        families = [_in_unit(family, length) for family in families]
        axes.set_xlabel(f"time spent running, {unit}")
    else:
        axes.set_xlabel("placements learnt from")
    axes.set_ylabel(METRICS[look.metric].axis)
    axes.grid(visible=True, which="major")
    entries: list[tuple[Artist, str]] = []
    for place, family in enumerate(families):
        colour = _COLOURS[place % len(_COLOURS)]
        dashes = _DASHES[place // len(_COLOURS) % len(_DASHES)]
        few = 1 if look.metric != "lines" else _FEW_EVALUATIONS
        _draw_family(axes, family, colour, dashes, dots=len(family.curve) <= few)
        handle = Line2D([], [], color=colour, linestyle=dashes, linewidth=2.2)
        entries.append((handle, family.label))
    every = [curve for family in families for curve in (family.curve, *family.members)]
    scale_x(axes, every, log=look.log_x)
    scale_y(axes, every, look.metric, log=look.log)
    for place, family in enumerate(families):  # how close they are is known by now
        _draw_bounds(axes, family, _COLOURS[place % len(_COLOURS)])
    entries += _meanings(families)
    if len(families) == 1 and families[0].curve.marks:
        _draw_marks(axes, families[0].curve.marks)
        handle = Line2D([], [], color=_PALE, linewidth=0.8, linestyle=_STEERED)
        entries.append((handle, "steered"))
    _write_title(axes, look)
    write_legend(figure, entries)
    return figure


def _in_unit(family: Family, length: float) -> Family:
    """The same with its x in units of so many seconds."""

    def scaled(curve: Curve) -> Curve:
        marks = tuple(Mark(mark.x / length, mark.text) for mark in curve.marks)
        return replace(curve, xs=tuple(x / length for x in curve.xs), marks=marks)

    return Family(family.label, scaled(family.curve), tuple(map(scaled, family.members)))


def _draw_family(axes: Axes, family: Family, colour: str, dashes: _Dashes, *, dots: bool) -> None:
    for member in family.members:
        axes.plot(member.xs, member.ys, color=colour, linestyle=dashes, linewidth=0.7, alpha=0.45)
    curve = family.curve
    if curve.lows != curve.highs:
        axes.fill_between(curve.xs, curve.lows, curve.highs, color=colour, alpha=0.16, linewidth=0)
    axes.plot(
        curve.xs,
        curve.ys,
        color=colour,
        linestyle=dashes,
        linewidth=1.8,
        marker="o" if dots and not family.members else "",
        markevery=[place for place, bound in enumerate(curve.bounds) if not bound],
        markersize=3.5,
        zorder=3,
    )


def _draw_bounds(axes: Axes, family: Family, colour: str) -> None:
    """Triangles that point up where games were cut off: it is at least this."""
    to_share = axes.transScale + axes.transLimits
    for curve in (*family.members, family.curve):
        main = curve is family.curve
        places = [place for place, bound in enumerate(curve.bounds) if bound]
        if not places:
            continue
        shares = [float(to_share.transform((curve.xs[place], 1.0))[0]) for place in places]
        shown = [places[i] for i in spaced(shares, _TRIANGLES_APART)]
        axes.plot(
            [curve.xs[place] for place in shown],
            [curve.ys[place] for place in shown],
            linestyle="",
            marker="^",
            color=colour,
            markersize=5.5 if main else 3.0,
            alpha=1.0 if main else 0.45,
            markeredgecolor="white",
            markeredgewidth=0.5,
            zorder=4,
        )


def spaced(values: Sequence[float], apart: float) -> list[int]:
    """The places of values, ascending, that are at least so far apart; the last is one of them."""
    kept: list[int] = []
    limit = math.inf
    for place in range(len(values) - 1, -1, -1):
        if values[place] <= limit:
            kept.append(place)
            limit = values[place] - apart
    return kept[::-1]


def _draw_marks(axes: Axes, marks: Sequence[Mark]) -> None:
    for mark in marks:
        axes.axvline(mark.x, color=_PALE, linewidth=0.8, linestyle=_STEERED, zorder=1)
    if len(marks) > _MOST_TEXTS:
        return
    for mark in marks:
        axes.annotate(
            mark.text,
            (mark.x, 1.0),
            xycoords=axes.get_xaxis_transform(),
            xytext=(-2, -2),
            textcoords="offset points",
            rotation=90,
            ha="right",
            va="top",
            fontsize=7.5,
            color=_PALE,
            zorder=2,  # a curve must not vanish behind it
        )


def _write_title(axes: Axes, look: Look) -> None:
    title = METRICS[look.metric].title if look.title is None else look.title
    if look.subtitle:
        axes.annotate(
            look.subtitle,
            (0.0, 1.0),
            xycoords="axes fraction",
            xytext=(0, 7),
            textcoords="offset points",
            fontsize=9,
            color=_PALE,
        )
    pad = 24 if look.subtitle else 10
    axes.set_title(title, loc="left", pad=pad, fontsize=13, fontweight="bold")


def _meanings(families: Sequence[Family]) -> list[tuple[Artist, str]]:
    """What the legend says of bands and triangles, where there are any."""
    entries: list[tuple[Artist, str]] = []
    band = Patch(facecolor=_PALE, alpha=0.25)
    thick = Line2D([], [], color=_PALE, linewidth=2.2)
    if any(len(family.members) > 1 for family in families):
        entries.append((band, "median and range; thin: each run"))
    elif any(family.curve.lows != family.curve.highs for family in families):
        entries.append((band, "± 1 standard error"))
    if any(len(family.members) == 1 for family in families):
        entries.append((thick, "means; thin: all points"))
    curves = [curve for family in families for curve in (family.curve, *family.members)]
    if any(any(curve.bounds) for curve in curves):
        triangle = Line2D([], [], linestyle="", marker="^", color=_PALE, markersize=6)
        entries.append((triangle, "at least: games were cut off"))
    return entries

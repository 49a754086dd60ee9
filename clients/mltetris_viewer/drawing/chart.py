"""One chart: curves over placements, with axes and a legend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import pygame

from mltetris_viewer.axes import Axis, axis_for, span_axis, thin, tick_labels
from mltetris_viewer.drawing.fonts import Type
from mltetris_viewer.drawing.palette import Colour, Palette
from mltetris_viewer.drawing.shapes import rounded
from mltetris_viewer.layout import Box
from mltetris_viewer.model import words
from mltetris_viewer.model.curves import Series


@dataclass(frozen=True)
class Line:
    """One curve of a chart.

    Attributes:
        name: for the legend.
        series: its points.
        colour: of the curve.
        main: drawn thicker, with light below it.
    """

    name: str
    series: Series
    colour: Colour
    main: bool = False


@dataclass(frozen=True)
class Chart:
    """What a chart shows.

    Attributes:
        title: what is measured.
        lines: the curves, most important first.
        may_log: whether values over magnitudes may go on a logarithmic axis.
        goal: a value to reach, marked across, if any.
        legend: whether names and newest values stand beside the title.
        empty: said in place of curves while there are no points.
    """

    title: str
    lines: Sequence[Line]
    may_log: bool = False
    goal: float | None = None
    legend: bool = True
    empty: str = "Nothing measured yet"


def draw_chart(
    target: pygame.Surface, box: Box, chart: Chart, palette: Palette, type_: Type
) -> None:
    """Draws a chart into `box`; leaves it empty where it is too small for one."""
    px = type_.px
    if box.h < px(80) or box.w < px(120):
        return
    rounded(target, box, px(9), palette.surface, palette.line)
    title = type_.put(
        target, chart.title, (box.x + px(14), box.y + px(10)), 13.5, palette.text, bold=True
    )
    if chart.legend:
        _legend(target, box, chart, palette, type_, title.right + px(10))
    plot = Box(box.x + px(50), box.y + px(36), box.w - px(50) - px(18), box.h - px(36) - px(26))
    if plot.w < px(40) or plot.h < px(24):
        return
    curves = [(line, line.series.points()) for line in chart.lines]
    drawn = [(line, points) for line, points in curves if points]
    if not drawn:
        middle = (box.centre_x, plot.centre_y)
        type_.put(target, chart.empty, middle, 13, palette.faint, anchor="center")
        return
    xs = [x for _, points in drawn for x in (points[0][0], points[-1][0])]
    across = span_axis(min(xs), max(xs), max(2, plot.w // px(110)))
    values = [y for _, points in drawn for _, y in points]
    if chart.goal is not None and max(values) * 20 > chart.goal:
        values.append(chart.goal)
    up = axis_for(values, may_log=chart.may_log, most_ticks=min(5, max(2, plot.h // px(28))))
    _grid(target, plot, across, up, palette, type_)
    if chart.goal is not None and up.low < chart.goal <= up.high:
        _goal(target, plot, up.share(chart.goal), palette, type_)
    for line, points in reversed(drawn):
        _curve(target, plot, line, points, across, up, type_)


def _legend(
    target: pygame.Surface, box: Box, chart: Chart, palette: Palette, type_: Type, left: int
) -> None:
    """Each curve's name and newest value, from the right; names go first where it is narrow."""
    px = type_.px
    right, y = box.right - px(14), box.y + px(18)
    for line in chart.lines:
        if line.series.last is None:
            continue
        value = type_.text(words.lines(line.series.last), 13, palette.text, bold=True)
        name = type_.text(line.name, 12, palette.muted)
        needed = value.get_width() + px(18)
        named = right - needed - name.get_width() - px(6) > left
        if right - needed < left:
            return
        target.blit(value, value.get_rect(midright=(right, y)))
        right -= value.get_width() + px(6)
        if named:
            target.blit(name, name.get_rect(midright=(right, y)))
            right -= name.get_width() + px(6)
        pygame.draw.aacircle(target, line.colour, (right - px(3), y), px(4))
        right -= px(22)


def _grid(
    target: pygame.Surface, plot: Box, across: Axis, up: Axis, palette: Palette, type_: Type
) -> None:
    px = type_.px
    free_below = plot.bottom + plot.h
    for value, text in zip(up.ticks, tick_labels(up.ticks), strict=True):
        y = plot.bottom - 1 - round(up.share(value) * (plot.h - 1))
        if free_below - y < px(13):
            continue  # On a logarithmic axis 1 stands close to 0.
        free_below = y
        pygame.draw.line(target, palette.line, (plot.x, y), (plot.right - 1, y))
        type_.put(target, text, (plot.x - px(8), y), 11.5, palette.muted, anchor="midright")
    for value, text in zip(across.ticks, tick_labels(across.ticks), strict=True):
        x = plot.x + round(across.share(value) * (plot.w - 1))
        pygame.draw.line(target, palette.line, (x, plot.bottom), (x, plot.bottom + px(3)))
        label = type_.text(text, 11.5, palette.muted)
        place = label.get_rect(midtop=(x, plot.bottom + px(6)))
        place.right = min(place.right, plot.right + px(12))
        target.blit(label, place)


def _goal(target: pygame.Surface, plot: Box, share: float, palette: Palette, type_: Type) -> None:
    px = type_.px
    colour = palette.curves[2]
    y = plot.bottom - 1 - round(share * (plot.h - 1))
    for x in range(plot.x, plot.right - px(6), px(10)):
        pygame.draw.line(target, colour, (x, y), (x + px(5), y))
    anchor = "bottomleft" if y - plot.y > px(14) else "topleft"
    type_.put(target, "goal", (plot.x + px(6), y), 11.5, colour, anchor=anchor)


def _curve(
    target: pygame.Surface,
    plot: Box,
    line: Line,
    points: Sequence[tuple[float, float]],
    across: Axis,
    up: Axis,
    type_: Type,
) -> None:
    pixels = [
        (
            plot.x + across.share(x) * (plot.w - 1),
            plot.bottom - 1 - up.share(y) * (plot.h - 1),
        )
        for x, y in thin(points, across.low, across.high, plot.w)
    ]
    if line.main and len(pixels) > 1:
        _light_below(target, plot, pixels, line.colour)
    width = type_.px(2.2 if line.main else 1.6)
    for start, end in pairwise(pixels):
        pygame.draw.aaline(target, line.colour, start, end, width)
    pygame.draw.aacircle(target, line.colour, pixels[-1], type_.px(3.4 if line.main else 2.6))


def _light_below(
    target: pygame.Surface, plot: Box, pixels: Sequence[tuple[float, float]], colour: Colour
) -> None:
    sheet = pygame.Surface((plot.w, plot.h), pygame.SRCALPHA)
    outline = [(x - plot.x, y - plot.y) for x, y in pixels]
    outline = [*outline, (outline[-1][0], plot.h), (outline[0][0], plot.h)]
    pygame.draw.polygon(sheet, (*colour, 30), outline)
    target.blit(sheet, plot[:2])

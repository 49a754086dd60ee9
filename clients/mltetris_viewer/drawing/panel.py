"""The panel: the run's numbers, its progress and its curves."""

from __future__ import annotations

from collections.abc import Sequence

import pygame
from mltetris_api.v1 import run_pb2

from mltetris_viewer.drawing.chart import Chart, Line, draw_chart
from mltetris_viewer.drawing.fonts import Type
from mltetris_viewer.drawing.palette import Palette
from mltetris_viewer.drawing.shapes import rounded
from mltetris_viewer.drawing.standings import draw_standings
from mltetris_viewer.layout import Box
from mltetris_viewer.model.numbers import Number, Progress, goal, numbers, progress
from mltetris_viewer.model.viewer import ViewerModel


def draw_panel(
    target: pygame.Surface, box: Box, model: ViewerModel, palette: Palette, type_: Type
) -> None:
    """Draws the panel into `box`."""
    px = type_.px
    gap = px(10)
    race = len(model.boards) > 1
    tiles = _tiles(target, box, numbers(model.run, model.metrics, race=race), palette, type_)
    y = box.y + tiles + gap
    run = model.run
    if run is not None and model.metrics.HasField("progress"):
        shown = progress(run, model.metrics)
        y += _progress(target, Box(box.x, y, box.w, px(40)), shown, palette, type_) + gap
    rest = Box(box.x, y, box.w, box.bottom - y)
    if race:
        used = draw_standings(target, rest, model, palette, type_) + gap
        rest = Box(rest.x, rest.y + used, rest.w, rest.h - used)
    charts = [_race_chart(model, palette)] if race else _charts(model, palette)
    height = (rest.h - gap * (len(charts) - 1)) // len(charts)
    for number, chart in enumerate(charts):
        place = Box(rest.x, rest.y + number * (height + gap), rest.w, height)
        draw_chart(target, place, chart, palette, type_)


def _tiles(
    target: pygame.Surface, box: Box, values: Sequence[Number], palette: Palette, type_: Type
) -> int:
    """Draws the numbers in rows of tiles; returns the height they take."""
    px = type_.px
    gap = px(8)
    columns = min(len(values), max(2, min(4, box.w // px(150))))
    width = (box.w - gap * (columns - 1)) // columns
    height = px(66)
    for index, number in enumerate(values):
        row, column = divmod(index, columns)
        # The last tile of a row takes what rounding left over.
        last = column == columns - 1
        x = box.x + column * (width + gap)
        tile = Box(x, box.y + row * (height + gap), box.right - x if last else width, height)
        rounded(target, tile, px(9), palette.surface, palette.line)
        inside = tile.w - px(22)
        type_.put(
            target, number.label, (tile.x + px(12), tile.y + px(8)), 12, palette.muted, width=inside
        )
        type_.put(
            target,
            number.value,
            (tile.x + px(12), tile.y + px(24)),
            18.5,
            palette.text,
            bold=True,
            width=inside,
        )
        type_.put(
            target, number.note, (tile.x + px(12), tile.y + px(47)), 11, palette.faint, width=inside
        )
    rows = -(-len(values) // columns)
    return rows * height + (rows - 1) * gap


def _progress(
    target: pygame.Surface, box: Box, shown: Progress, palette: Palette, type_: Type
) -> int:
    """Draws the progress bar; returns its height."""
    px = type_.px
    type_.put(
        target, shown.label, (box.x + px(2), box.y), 12.5, palette.muted, width=box.w * 3 // 5
    )
    type_.put(
        target,
        shown.note,
        (box.right - px(2), box.y),
        12.5,
        palette.text,
        bold=True,
        anchor="topright",
    )
    bar = Box(box.x, box.y + px(22), box.w, px(10))
    rounded(target, bar, bar.h // 2, palette.raised)
    filled = round(bar.w * shown.share)
    if filled >= bar.h:
        done = Box(bar.x, bar.y, filled, bar.h)
        rounded(target, done, bar.h // 2, palette.curves[0])
    return bar.bottom - box.y


def _race_chart(model: ViewerModel, palette: Palette) -> Chart:
    colours = palette.curves
    lines = [
        Line("", board.trace, colours[number % len(colours)])
        for number, board in sorted(model.boards.items())
    ]
    return Chart("Lines over placements", lines, legend=False)


def _charts(model: ViewerModel, palette: Palette) -> list[Chart]:
    curves = model.curves
    waiting = "Nothing measured yet"
    if model.run is not None and not curves.caught_up:
        waiting = "Reading the history"
    first, second, *_ = palette.curves
    if model.run is not None and model.run.kind != run_pb2.RUN_KIND_TRAINING:
        return [
            Chart("Lines, game by game", [Line("", curves.lines, first, True)], empty=waiting),
            Chart("Score, game by game", [Line("", curves.score, second, True)], empty=waiting),
        ]
    return [
        Chart(
            "Lines per game",
            [
                Line("greedy evaluation", curves.evaluation, first, True),
                Line("while training, last 100", curves.mean_lines, second),
            ],
            may_log=True,
            goal=goal(model.run),
            empty=waiting,
        ),
        Chart(
            "Reward per episode",
            [Line("mean of the last 100", curves.mean_reward, palette.curves[3], True)],
            empty=waiting,
        ),
    ]

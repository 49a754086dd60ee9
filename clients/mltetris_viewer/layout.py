"""Where everything stands in the window, for any size of it. No pygame here.

One `unit` is a pixel of a 1280x720 window; text and spacing grow with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

BASE_SIZE = (1280, 720)
MIN_SIZE = (640, 400)
#: The side column of a lone board, and the strips of a board in a race, in units.
SIDE_WIDTH = 148
RACE_TOP = 34
RACE_BOTTOM = 58
#: Panel widths, in units: the least beside several boards, and less than which it is left out.
RACE_PANEL = 300
MIN_PANEL = 240


class Box(NamedTuple):
    """A rectangle in pixels."""

    x: int
    y: int
    w: int
    h: int

    @property
    def right(self) -> int:
        """The first column right of it."""
        return self.x + self.w

    @property
    def bottom(self) -> int:
        """The first row below it."""
        return self.y + self.h

    @property
    def centre_x(self) -> int:
        """The middle column."""
        return self.x + self.w // 2

    @property
    def centre_y(self) -> int:
        """The middle row."""
        return self.y + self.h // 2

    def inset(self, by: int) -> Box:
        """The rectangle `by` pixels inside it on every side; outside for a negative number."""
        return Box(self.x + by, self.y + by, max(0, self.w - 2 * by), max(0, self.h - 2 * by))

    def contains(self, point: tuple[int, int]) -> bool:
        """Whether a pixel is in it."""
        return self.x <= point[0] < self.right and self.y <= point[1] < self.bottom


@dataclass(frozen=True)
class BoardPlace:
    """Where one board stands.

    Attributes:
        cell: pixels a cell.
        well: the cells' rectangle, exactly `cell` times the board's size.
        info: next piece and numbers: a column beside a lone board, a strip below one in a race.
        title: the player's name above a board in a race; empty for a lone board.
    """

    cell: int
    well: Box
    info: Box
    title: Box


@dataclass(frozen=True)
class Layout:
    """The rooms of the window.

    Attributes:
        size: the window, pixels.
        unit: pixels a unit.
        header: the bar at the top.
        toolbar: the bar of buttons at the bottom.
        stage: all of the boards' ground.
        boards: one place a board.
        panel: numbers and curves; None where there is no room.
    """

    size: tuple[int, int]
    unit: float
    header: Box
    toolbar: Box
    stage: Box
    boards: tuple[BoardPlace, ...]
    panel: Box | None

    def px(self, units: float) -> int:
        """Units in whole pixels, at least one."""
        return max(1, round(units * self.unit))


def arrange(size: tuple[int, int], boards: Sequence[tuple[int, int]]) -> Layout:
    """Lays out the window.

    Args:
        size: the window's width and height, pixels.
        boards: columns and rows of each board; none: one of 10 by 20 is assumed.
    """
    boards = list(boards) or [(10, 20)]
    width, height = size
    unit = max(0.5, min(width / BASE_SIZE[0], height / BASE_SIZE[1]))

    def px(units: float) -> int:
        return max(1, round(units * unit))

    header = Box(0, 0, width, px(52))
    toolbar = Box(0, height - px(60), width, px(60))
    margin = px(18)
    ground = Box(
        margin,
        header.bottom + px(14),
        width - 2 * margin,
        toolbar.y - header.bottom - px(14) - px(10),
    )
    gap = px(16)
    if len(boards) == 1:
        place = _lone(ground, boards[0], gap, px(SIDE_WIDTH))
        places: tuple[BoardPlace, ...] = (place,)
        # Everything ends where the board's side column does, cells being whole pixels.
        ground = Box(ground.x, place.info.y, ground.w, place.info.h)
        stage_right = place.info.right
    else:
        most = ground.w - px(RACE_PANEL) - px(22)
        places = _race(ground, most, boards, gap, px(RACE_TOP), px(RACE_BOTTOM))
        top, bottom = places[0].title.y, max(place.info.bottom for place in places)
        ground = Box(ground.x, top, ground.w, bottom - top)
        stage_right = places[-1].info.right
    stage = Box(ground.x, ground.y, stage_right - ground.x, ground.h)
    panel = Box(stage_right + px(22), ground.y, ground.right - stage_right - px(22), ground.h)
    return Layout(
        size=size,
        unit=unit,
        header=header,
        toolbar=toolbar,
        stage=stage,
        boards=places,
        panel=panel if panel.w >= px(MIN_PANEL) else None,
    )


def _lone(ground: Box, shape: tuple[int, int], gap: int, side: int) -> BoardPlace:
    columns, rows = shape
    # A frame of a few pixels is drawn around the well.
    rim = max(3, gap // 4)
    # A short board (a training's) keeps a tall one's cells: changing the view moves nothing.
    tall = max(rows, 20)
    cell = max(4, min((ground.h - 2 * rim) // tall, (ground.w // 2 - side - gap) // columns))
    height = cell * tall
    top = ground.y + (ground.h - height) // 2
    well = Box(ground.x + rim, top + height - cell * rows, cell * columns, cell * rows)
    info = Box(well.right + rim + gap, top - rim, side, height + 2 * rim)
    return BoardPlace(cell=cell, well=well, info=info, title=Box(0, 0, 0, 0))


def _race(
    ground: Box, width: int, shapes: Sequence[tuple[int, int]], gap: int, top: int, bottom: int
) -> tuple[BoardPlace, ...]:
    rim = max(3, gap // 4)
    between = 2 * rim + gap
    columns_in_all = sum(columns for columns, _ in shapes)
    tallest = max(rows for _, rows in shapes)
    cell = max(
        3,
        min(
            (width - between * len(shapes)) // columns_in_all,
            (ground.h - top - bottom - 2 * rim) // tallest,
        ),
    )
    used = top + cell * tallest + 2 * rim + bottom
    y = ground.y + (ground.h - used) // 2 + top + rim
    x = ground.x + rim
    places = []
    for columns, rows in shapes:
        well = Box(x, y + cell * (tallest - rows), cell * columns, cell * rows)
        across = well.w + 2 * rim
        info = Box(x - rim, y + cell * tallest + rim, across, bottom)
        title = Box(x - rim, y - rim - top, across, top)
        places.append(BoardPlace(cell=cell, well=well, info=info, title=title))
        x = well.right + between
    return tuple(places)

"""The buttons' pictures, drawn large and scaled down. Coordinates run from 0 to 16."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import pygame

from mltetris_viewer.drawing.palette import Colour

_SCALE = 4
_GRID = 16


class _Pen:
    """Draws on a grid of 16 by 16."""

    def __init__(self, surface: pygame.Surface, colour: Colour) -> None:
        self._surface = surface
        self._colour = colour
        self._cell = surface.get_width() / _GRID

    def area(self, *points: tuple[float, float]) -> None:
        pygame.draw.polygon(self._surface, self._colour, [self._at(p) for p in points])

    def box(
        self, x: float, y: float, w: float, h: float, radius: float = 1, line: float = 0
    ) -> None:
        place = pygame.Rect(*self._at((x, y)), *self._at((w, h)))
        width = round(line * self._cell)
        pygame.draw.rect(
            self._surface, self._colour, place, width, border_radius=round(radius * self._cell)
        )

    def ring(self, x: float, y: float, radius: float, line: float = 0) -> None:
        pygame.draw.circle(
            self._surface,
            self._colour,
            self._at((x, y)),
            round(radius * self._cell),
            round(line * self._cell),
        )

    def line(self, *points: tuple[float, float], width: float = 1.8) -> None:
        pixels = [self._at(p) for p in points]
        thick = round(width * self._cell)
        pygame.draw.lines(self._surface, self._colour, False, pixels, thick)
        for pixel in pixels:
            pygame.draw.circle(self._surface, self._colour, pixel, thick // 2)

    def _at(self, point: tuple[float, float]) -> tuple[int, int]:
        return round(point[0] * self._cell), round(point[1] * self._cell)


def _pause(pen: _Pen) -> None:
    pen.box(3.5, 2.5, 3.2, 11)
    pen.box(9.3, 2.5, 3.2, 11)


def _play(pen: _Pen) -> None:
    pen.area((4, 2), (13.5, 8), (4, 14))


def _slower(pen: _Pen) -> None:
    pen.area((8, 3), (8, 13), (1.5, 8))
    pen.area((14.5, 3), (14.5, 13), (8, 8))


def _faster(pen: _Pen) -> None:
    pen.area((8, 3), (8, 13), (14.5, 8))
    pen.area((1.5, 3), (1.5, 13), (8, 8))


def _mode(pen: _Pen) -> None:
    pen.box(1.5, 2.5, 13, 8.5, 1.2, 1.6)
    pen.line((5, 13.5), (11, 13.5), width=1.6)


def _view(pen: _Pen) -> None:
    pen.line((1.2, 8), (4, 4.6), (8, 3.4), (12, 4.6), (14.8, 8), width=1.5)
    pen.line((1.2, 8), (4, 11.4), (8, 12.6), (12, 11.4), (14.8, 8), width=1.5)
    pen.ring(8, 8, 2.3)


def _rate(pen: _Pen) -> None:
    pen.area((9.6, 1), (3.2, 9), (7.4, 9), (6.2, 15), (12.8, 6.8), (8.4, 6.8))


def _previous(pen: _Pen) -> None:
    pen.line((10, 3), (5, 8), (10, 13))


def _next(pen: _Pen) -> None:
    pen.line((6, 3), (11, 8), (6, 13))


def _snapshot(pen: _Pen) -> None:
    pen.box(1.3, 4, 13.4, 9.5, 1.5, 1.6)
    pen.box(5.3, 2.2, 5.4, 2.6, 0.8)
    pen.ring(8, 8.8, 2.9, 1.6)


def _help(pen: _Pen) -> None:
    pen.line(
        (5.2, 5.4), (5.8, 3.6), (8, 2.8), (10.2, 3.7), (10.7, 5.6), (9.6, 7.2), (8, 8.4), (8, 10)
    )
    pen.ring(8, 13.1, 1.25)


def _quit(pen: _Pen) -> None:
    pen.line((3.6, 3.6), (12.4, 12.4))
    pen.line((12.4, 3.6), (3.6, 12.4))


_ICONS: dict[str, Callable[[_Pen], None]] = {
    "pause": _pause,
    "play": _play,
    "slower": _slower,
    "faster": _faster,
    "mode": _mode,
    "view": _view,
    "rate": _rate,
    "previous": _previous,
    "next": _next,
    "snapshot": _snapshot,
    "help": _help,
    "quit": _quit,
}


@lru_cache(maxsize=128)
def icon(name: str, side: int, colour: Colour) -> pygame.Surface:
    """The picture of that name, `side` pixels square."""
    large = pygame.Surface((side * _SCALE, side * _SCALE), pygame.SRCALPHA)
    large.fill((*colour, 0))
    _ICONS[name](_Pen(large, colour))
    return pygame.transform.smoothscale(large, (side, side))


def clear_cache() -> None:
    """Lets go of kept pictures."""
    icon.cache_clear()

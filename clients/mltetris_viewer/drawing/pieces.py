"""Pieces outside a board: how they look in the queue."""

from __future__ import annotations

import pygame

from mltetris_viewer.drawing.palette import Palette
from mltetris_viewer.drawing.shapes import tile
from mltetris_viewer.layout import Box

#: Cells (column, row) of each piece as it spawns, in its smallest rectangle, by piece number.
SHAPES: dict[int, tuple[tuple[int, int], ...]] = {
    1: ((0, 0), (1, 0), (2, 0), (3, 0)),
    2: ((0, 0), (1, 0), (0, 1), (1, 1)),
    3: ((1, 0), (0, 1), (1, 1), (2, 1)),
    4: ((1, 0), (2, 0), (0, 1), (1, 1)),
    5: ((0, 0), (1, 0), (1, 1), (2, 1)),
    6: ((0, 0), (0, 1), (1, 1), (2, 1)),
    7: ((2, 0), (0, 1), (1, 1), (2, 1)),
}


def draw_piece(
    target: pygame.Surface, piece: int, box: Box, palette: Palette, largest: int
) -> None:
    """Draws a piece in the middle of `box`, its cells at most `largest` pixels; none for 0."""
    shape = SHAPES.get(piece)
    if shape is None:
        return
    columns = max(x for x, _ in shape) + 1
    rows = max(y for _, y in shape) + 1
    side = max(2, min(largest, box.w // 4, box.h // 2))
    left = box.x + (box.w - columns * side) // 2
    top = box.y + (box.h - rows * side) // 2
    picture = tile(palette.pieces[piece], side)
    for x, y in shape:
        target.blit(picture, (left + x * side, top + y * side))

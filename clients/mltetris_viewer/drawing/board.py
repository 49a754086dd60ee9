"""A board: the well, its cells, the ghost, and the last placement in motion."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import pygame

from mltetris_viewer.drawing.fonts import Type
from mltetris_viewer.drawing.palette import GUIDELINE, Colour, Palette, mix
from mltetris_viewer.drawing.shapes import ghost_tile, rounded, tile, veil
from mltetris_viewer.layout import BoardPlace
from mltetris_viewer.model.boards import Board, Motion

#: What a well without a frame is drawn as.
EMPTY_SHAPE = (10, 20)
_WHITE = (255, 255, 255)


def draw_frame(target: pygame.Surface, place: BoardPlace, palette: Palette) -> None:
    """Draws the frame around the well."""
    rim = max(3, place.cell // 7)
    rounded(target, place.well.inset(-rim), rim + 2, palette.surface, palette.line, 2)


def draw_board(
    target: pygame.Surface,
    place: BoardPlace,
    board: Board | None,
    palette: Palette,
    type_: Type,
    now: float,
) -> None:
    """Draws the well and what is in it at the time `now`."""
    well = place.well
    columns, rows = well.w // place.cell, well.h // place.cell
    target.blit(_well(columns, rows, place.cell, palette), well[:2])
    if board is None:
        return
    old_clip = target.get_clip()
    target.set_clip(pygame.Rect(well))
    try:
        motion = board.motion
        if motion is not None and now < motion.start + motion.drop_seconds:
            _falling(target, place, motion, palette, now)
        elif motion is not None and board.moving(now):
            _flashing(target, place, motion, palette, now)
        else:
            _resting(target, place, board, palette)
        if board.frame.game_over and not board.moving(now):
            _over(target, place, palette, type_)
    finally:
        target.set_clip(old_clip)


@lru_cache(maxsize=32)
def _well(columns: int, rows: int, cell: int, palette: Palette = GUIDELINE) -> pygame.Surface:
    """The empty well: a grid, darker towards the top, as if light came from below."""
    surface = pygame.Surface((columns * cell, rows * cell))
    empty = palette.pieces[0]
    for y in range(surface.get_height()):
        depth = 1 - y / surface.get_height()
        pygame.draw.line(
            surface, mix(empty, (0, 0, 0), 0.35 * depth), (0, y), (surface.get_width(), y)
        )
    for column in range(1, columns):
        x = column * cell
        pygame.draw.line(surface, palette.grid, (x, 0), (x, surface.get_height()))
    for row in range(1, rows):
        pygame.draw.line(surface, palette.grid, (0, row * cell), (surface.get_width(), row * cell))
    return surface


def clear_cache() -> None:
    """Lets go of kept pictures."""
    _well.cache_clear()


def _colour(piece: int, palette: Palette) -> Colour:
    # An unknown number, from a newer server, still is a filled cell.
    return palette.pieces[piece] if piece < len(palette.pieces) else palette.muted


def _cells(target: pygame.Surface, place: BoardPlace, cells: bytes, palette: Palette) -> None:
    columns = place.well.w // place.cell
    for index, piece in enumerate(cells):
        if piece:
            row, column = divmod(index, columns)
            _cell(target, place, column, row, piece, palette)


def _cell(
    target: pygame.Surface,
    place: BoardPlace,
    column: int,
    row: float,
    piece: int,
    palette: Palette,
) -> None:
    colour = _colour(piece, palette)
    at = (place.well.x + column * place.cell, place.well.y + round(row * place.cell))
    target.blit(tile(colour, place.cell), at)


def _resting(target: pygame.Surface, place: BoardPlace, board: Board, palette: Palette) -> None:
    frame = board.frame
    _cells(target, place, frame.cells, palette)
    if frame.game_over:
        return
    columns = place.well.w // place.cell
    piece = frame.active.piece
    for cell in frame.active.cells:
        _cell(target, place, cell % columns, cell // columns, piece, palette)
    if not piece:
        return
    covered = set(frame.active.cells)
    outline = ghost_tile(_colour(piece, palette), place.cell)
    for cell in board.ghost:
        if cell not in covered:
            row, column = divmod(cell, columns)
            target.blit(
                outline, (place.well.x + column * place.cell, place.well.y + row * place.cell)
            )


def _falling(
    target: pygame.Surface, place: BoardPlace, motion: Motion, palette: Palette, now: float
) -> None:
    _cells(target, place, motion.before, palette)
    columns = place.well.w // place.cell
    above = (1 - motion.drop(now)) * motion.drop_rows
    colour = _colour(motion.piece, palette)
    for column, top in _tops(motion.cells, columns):
        length = round((motion.drop_rows - above) * place.cell)
        if length > 0:
            bottom = place.well.y + round((top - above) * place.cell)
            streak = veil((place.cell, length), mix(colour, _WHITE, 0.3), 40)
            target.blit(streak, (place.well.x + column * place.cell, bottom - length))
    for cell in motion.cells:
        row, column = divmod(cell, columns)
        _cell(target, place, column, row - above, motion.piece, palette)


def _flashing(
    target: pygame.Surface, place: BoardPlace, motion: Motion, palette: Palette, now: float
) -> None:
    """Cleared rows light up, then close towards the middle."""
    _cells(target, place, motion.landed(), palette)
    share = motion.flash(now)
    well = place.well
    # Lit at once, closing from a third of the time on.
    closing = max(0.0, (share - 0.33) / 0.67)
    half = round(well.w / 2 * (1 - closing))
    empty = palette.pieces[0]
    for row in motion.cleared_rows:
        line = pygame.Rect(well.x, well.y + row * place.cell, well.w, place.cell)
        target.fill(empty, line)
        lit = pygame.Rect(well.centre_x - half, line.y, 2 * half, line.h)
        if lit.w:
            target.fill(mix(_WHITE, palette.accent, 0.6 * share), lit)


def _tops(cells: Iterable[int], columns: int) -> list[tuple[int, int]]:
    """The topmost row of each column that the cells cover."""
    tops: dict[int, int] = {}
    for cell in cells:
        row, column = divmod(cell, columns)
        tops[column] = min(row, tops.get(column, row))
    return sorted(tops.items())


def _over(target: pygame.Surface, place: BoardPlace, palette: Palette, type_: Type) -> None:
    well = place.well
    target.blit(veil((well.w, well.h), mix(palette.ground, (90, 10, 16), 0.35), 150), well[:2])
    size = min(24.0, well.w / 9 / type_.unit)
    type_.put(
        target,
        "Game over",
        (well.centre_x, well.centre_y),
        size,
        palette.text,
        bold=True,
        anchor="center",
    )

"""What stands beside a board: the next piece and the game's numbers."""

from __future__ import annotations

import pygame

from mltetris_viewer.drawing.fonts import Type
from mltetris_viewer.drawing.palette import Palette
from mltetris_viewer.drawing.pieces import draw_piece
from mltetris_viewer.drawing.shapes import rounded
from mltetris_viewer.layout import BoardPlace, Box
from mltetris_viewer.model import words
from mltetris_viewer.model.boards import Board

#: Next pieces shown, where the server tells of so many.
_MOST_NEXT = 3


def draw_side(
    target: pygame.Surface, place: BoardPlace, board: Board | None, palette: Palette, type_: Type
) -> None:
    """The column beside a lone board: next, held, score, lines, episode, placements."""
    box = place.info
    px = type_.px
    upcoming = list(board.frame.next)[:_MOST_NEXT] if board is not None else []
    first_h, later_h = px(62), px(46)
    later = max(0, len(upcoming) - 1)
    next_box = Box(box.x, box.y, box.w, px(38) + first_h + later_h * later)
    _card(target, next_box, "Next", palette, type_)
    y = next_box.y + px(30)
    for number, piece in enumerate(upcoming):
        height, cell = (first_h, px(26)) if number == 0 else (later_h, px(19))
        draw_piece(target, piece, Box(box.x, y, box.w, height), palette, cell)
        y += height
    y = next_box.bottom + px(12)
    if board is not None and board.frame.held:
        held = Box(box.x, y, box.w, px(38) + first_h)
        _card(target, held, "Held", palette, type_)
        inside = Box(held.x, held.y + px(30), held.w, first_h)
        draw_piece(target, board.frame.held, inside, palette, px(26))
        y = held.bottom + px(12)
    frame = board.frame if board is not None else None
    rows = (
        ("Score", words.integer(frame.score) if frame else "–", 27.0),
        ("Lines", words.integer(frame.lines) if frame else "–", 27.0),
        ("Placements", words.integer(frame.placements) if frame else "–", 19.0),
        ("Game", words.integer(frame.episode) if frame else "–", 19.0),
    )
    card = Box(box.x, y, box.w, box.bottom - y)
    rounded(target, card, px(9), palette.surface, palette.line)
    pitch = min(px(104), (card.h - px(16)) // len(rows))
    for index, (label, value, size) in enumerate(rows):
        y = card.y + px(14) + index * pitch
        type_.put(target, label, (card.x + px(14), y), 12.5, palette.muted)
        type_.put(
            target,
            value,
            (card.x + px(14), y + px(18)),
            size,
            palette.text,
            bold=True,
            width=card.w - px(22),
        )


def draw_race_title(
    target: pygame.Surface,
    place: BoardPlace,
    number: int,
    board: Board,
    palette: Palette,
    type_: Type,
) -> None:
    """The player's name above a board in a race."""
    box = place.title
    px = type_.px
    colour = palette.curves[number % len(palette.curves)]
    pygame.draw.aacircle(target, colour, (box.x + px(8), box.centre_y), px(5))
    type_.put(
        target,
        board.frame.player or f"Board {number + 1}",
        (box.x + px(20), box.centre_y),
        16,
        palette.text,
        bold=True,
        anchor="midleft",
        width=box.w - px(24),
    )


def draw_race_strip(
    target: pygame.Surface, place: BoardPlace, board: Board, palette: Palette, type_: Type
) -> None:
    """The numbers below a board in a race, with its next piece."""
    px = type_.px
    box = Box(place.info.x, place.info.y + px(8), place.info.w, place.info.h - px(8))
    rounded(target, box, px(8), palette.surface, palette.line)
    next_w = min(px(64), box.w // 3)
    upcoming = board.frame.next[0] if board.frame.next else 0
    draw_piece(
        target, upcoming, Box(box.right - next_w, box.y, next_w - px(6), box.h), palette, px(12)
    )
    column = (box.w - next_w - px(10)) // 2
    for index, (label, value) in enumerate(
        (("Lines", board.frame.lines), ("Score", board.frame.score))
    ):
        x = box.x + px(10) + index * column
        type_.put(target, label, (x, box.y + px(6)), 11.5, palette.muted)
        text = words.integer(value)
        if type_.text(text, 17, palette.text, bold=True).get_width() > column - px(6):
            text = words.compact(value)
        type_.put(
            target, text, (x, box.y + px(21)), 17, palette.text, bold=True, width=column - px(4)
        )


def _card(target: pygame.Surface, box: Box, title: str, palette: Palette, type_: Type) -> None:
    px = type_.px
    rounded(target, box, px(9), palette.surface, palette.line)
    type_.put(target, title, (box.x + px(14), box.y + px(11)), 12.5, palette.muted)

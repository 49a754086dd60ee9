"""The standings of a race: who has cleared how many lines in the game that is going."""

from __future__ import annotations

import pygame

from mltetris_viewer.drawing.fonts import Type
from mltetris_viewer.drawing.palette import Palette
from mltetris_viewer.drawing.shapes import rounded
from mltetris_viewer.layout import Box
from mltetris_viewer.model import words
from mltetris_viewer.model.viewer import ViewerModel


def draw_standings(
    target: pygame.Surface, box: Box, model: ViewerModel, palette: Palette, type_: Type
) -> int:
    """Draws the players, most lines first, with a bar each; returns the height it takes."""
    px = type_.px
    rows = sorted(
        model.boards.items(), key=lambda item: (-item[1].frame.lines, -item[1].frame.score, item[0])
    )
    pitch = px(46)
    box = Box(box.x, box.y, box.w, min(box.h, px(42) + pitch * len(rows)))
    rounded(target, box, px(9), palette.surface, palette.line)
    type_.put(target, "This game", (box.x + px(14), box.y + px(11)), 13.5, palette.text, bold=True)
    most = max((board.frame.lines for _, board in rows), default=0)
    y = box.y + px(40)
    for number, board in rows:
        colour = palette.curves[number % len(palette.curves)]
        value = type_.put(
            target,
            words.integer(board.frame.lines),
            (box.right - px(14), y),
            15,
            palette.text,
            bold=True,
            anchor="topright",
        )
        name = board.frame.player or f"Board {number + 1}"
        if board.frame.game_over:
            name += "  ·  game over"
        type_.put(
            target,
            name,
            (box.x + px(14), y),
            13.5,
            palette.muted,
            width=value.left - box.x - px(22),
        )
        bar = Box(box.x + px(14), y + px(23), box.w - px(28), px(8))
        rounded(target, bar, bar.h // 2, palette.raised)
        length = round(bar.w * board.frame.lines / most) if most else 0
        if length >= bar.h:
            rounded(target, Box(bar.x, bar.y, length, bar.h), bar.h // 2, colour)
        y += pitch
    return box.h

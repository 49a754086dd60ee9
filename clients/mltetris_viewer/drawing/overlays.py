"""What lies over the rest: the headline on the boards, passing messages, and the help."""

from __future__ import annotations

from collections.abc import Sequence

import pygame

from mltetris_viewer.drawing.fonts import Type
from mltetris_viewer.drawing.palette import Palette, mix
from mltetris_viewer.drawing.shapes import rounded, veil
from mltetris_viewer.layout import Box, Layout
from mltetris_viewer.model.status import Headline
from mltetris_viewer.model.viewer import Toast

_HELP: tuple[tuple[str, str], ...] = (
    ("Space", "pause and resume the run"),
    ("−  +", "slower and faster"),
    ("M", "mode: visual (paced for the eye) or headless (full speed)"),
    ("V", "view: showcase (the policy as it is) or training (board 0, exploring)"),
    ("L", "how fast it learns: 1k, 5k, 20k, 100k placements a second, or full speed"),
    ("N  P", "next and previous run; Tab also changes the run"),
    ("S", "save a snapshot of this window as PNG"),
    ("F11", "full screen"),
    ("H  ?", "this help"),
    ("Q", "quit the viewer; the run goes on"),
)
_NOTE = "The outline on the board is where the active piece is going."


def draw_headline(
    target: pygame.Surface,
    boards: Sequence[Box],
    stage: Box,
    headline: Headline,
    palette: Palette,
    type_: Type,
) -> None:
    """A few words in the middle of the boards, which are veiled where there is more to say."""
    px = type_.px
    colour = palette.tone(headline.tone)
    left, right = min(box.x for box in boards), max(box.right for box in boards)
    top, bottom = min(box.y for box in boards), max(box.bottom for box in boards)
    inside = min(max(right - left, px(300)), stage.w) - px(24)
    if headline.lines:
        for box in boards:
            target.blit(veil((box.w, box.h), palette.ground, 165), box[:2])
    lines = [
        part
        for line in headline.lines
        for part in wrapped(line, 13.5, inside - px(36), type_, palette)
    ]
    title_size = 22.0 if lines else 17.0
    widths = [type_.text(headline.title, title_size, colour, bold=True).get_width()]
    widths += [type_.text(line, 13.5, palette.text).get_width() for line in lines]
    width = min(inside, max(widths) + px(44))
    height = px(58) + (px(6) + px(20) * len(lines) if lines else -px(18))
    # In the middle of the boards, but never out of the stage.
    x = min(max(stage.x, (left + right - width) // 2), stage.right - width)
    card = Box(x, (top + bottom - height) // 2, width, height)
    rounded(
        target, card, px(12), mix(palette.surface, colour, 0.07), mix(palette.line, colour, 0.6)
    )
    y = card.y + (px(16) if lines else (height - px(22)) // 2)
    type_.put(
        target,
        headline.title,
        (card.centre_x, y),
        title_size,
        colour,
        bold=True,
        anchor="midtop",
        width=card.w - px(20),
    )
    y += px(34)
    for line in lines:
        type_.put(target, line, (card.centre_x, y), 13.5, palette.text, anchor="midtop")
        y += px(20)


def draw_toasts(
    target: pygame.Surface, layout: Layout, toasts: Sequence[Toast], palette: Palette, type_: Type
) -> None:
    """Passing messages above the toolbar, the newest at the bottom."""
    px = type_.px
    bottom = layout.toolbar.y - px(4)
    for toast in reversed(toasts):
        colour = palette.tone(toast.tone)
        most = layout.size[0] - px(120)
        word = type_.text(toast.text, 14, palette.text)
        width = min(most, word.get_width() + px(52))
        box = Box((layout.size[0] - width) // 2, bottom - px(38), width, px(38))
        rounded(
            target, box, px(10), mix(palette.raised, colour, 0.1), mix(palette.line, colour, 0.55)
        )
        pygame.draw.aacircle(target, colour, (box.x + px(19), box.centre_y), px(5))
        type_.put(
            target,
            toast.text,
            (box.x + px(33), box.centre_y),
            14,
            palette.text,
            anchor="midleft",
            width=box.w - px(48),
        )
        bottom = box.y - px(8)


def draw_help(target: pygame.Surface, layout: Layout, palette: Palette, type_: Type) -> None:
    """What the keys do."""
    px = type_.px
    target.blit(veil(layout.size, (0, 0, 0), 150), (0, 0))
    width = min(px(660), layout.size[0] - px(20))
    height = px(70) + px(38) * len(_HELP) + px(46)
    box = Box((layout.size[0] - width) // 2, max(0, (layout.size[1] - height) // 2), width, height)
    rounded(target, box, px(14), palette.surface, palette.line)
    type_.put(target, "Keys", (box.x + px(28), box.y + px(22)), 20, palette.text, bold=True)
    type_.put(
        target,
        "Esc closes",
        (box.right - px(28), box.y + px(27)),
        13,
        palette.faint,
        anchor="topright",
    )
    y = box.y + px(66)
    for keys, meaning in _HELP:
        middle = y + px(15)
        x = box.x + px(28)
        for key in keys.split("  "):
            word = type_.text(key, 13, palette.text, bold=True)
            cap = Box(x, middle - px(13), max(px(30), word.get_width() + px(18)), px(26))
            rounded(target, cap, px(6), palette.raised, palette.line)
            target.blit(word, word.get_rect(center=(cap.centre_x, cap.centre_y)))
            x = cap.right + px(8)
        type_.put(
            target,
            meaning,
            (box.x + px(130), middle),
            14.5,
            palette.muted,
            anchor="midleft",
            width=box.w - px(150),
        )
        y += px(38)
    type_.put(target, _NOTE, (box.x + px(28), y + px(8)), 13, palette.faint, width=box.w - px(56))


def wrapped(text: str, size: float, width: int, type_: Type, palette: Palette) -> list[str]:
    """A text in lines no wider than `width` pixels, broken between words; at most four of them."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if not lines[-1] or type_.text(longer, size, palette.text).get_width() <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    if len(lines) > 4:
        lines = [*lines[:3], lines[3] + " …"]
    return lines

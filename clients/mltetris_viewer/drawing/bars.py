"""The bars at the top and the bottom of the window."""

from __future__ import annotations

import pygame
from mltetris_api.v1 import run_pb2
from mltetris_client.names import is_final

from mltetris_viewer.drawing.fonts import Type
from mltetris_viewer.drawing.icons import icon
from mltetris_viewer.drawing.palette import Colour, Palette, mix
from mltetris_viewer.drawing.shapes import rounded, tile
from mltetris_viewer.layout import Box
from mltetris_viewer.model import words
from mltetris_viewer.model.viewer import Link, Tone, ViewerModel
from mltetris_viewer.toolbar import Button, Toolbar

_STATE_TONES = {
    run_pb2.RUN_STATE_RUNNING: Tone.GOOD,
    run_pb2.RUN_STATE_SUCCEEDED: Tone.GOOD,
    run_pb2.RUN_STATE_PAUSED: Tone.WARNING,
    run_pb2.RUN_STATE_STOPPING: Tone.WARNING,
    run_pb2.RUN_STATE_FAILED: Tone.BAD,
}
_LINK_TONES = {Link.UP: Tone.GOOD, Link.DOWN: Tone.BAD, Link.CONNECTING: Tone.INFO}
# The letters of the wordmark stand beside a T piece.
_MARK = ((0, 1), (1, 1), (2, 1), (1, 0))


def draw_header(
    target: pygame.Surface, box: Box, model: ViewerModel, palette: Palette, type_: Type
) -> None:
    """The top bar: whose window it is, which run, how it stands, and the connection."""
    px = type_.px
    target.fill(palette.surface, box)
    pygame.draw.line(target, palette.line, (box.x, box.bottom - 1), (box.right, box.bottom - 1))
    middle = box.centre_y
    side = px(9)
    for column, row in _MARK:
        at = (px(18) + column * side, middle - side + row * side)
        target.blit(tile(palette.pieces[3], side), at)
    mark = type_.put(
        target,
        "mlTetris",
        (px(18) + 3 * side + px(9), middle),
        18,
        palette.text,
        bold=True,
        anchor="midleft",
    )
    right = _connection(target, box, model, palette, type_)
    left = mark.right + px(20)
    run = model.run
    if run is None:
        return
    pygame.draw.line(target, palette.line, (left, middle - px(11)), (left, middle + px(11)))
    left += px(20)
    state, colour = words.state(run), palette.tone(_STATE_TONES.get(run.state, Tone.INFO))
    if model.link is Link.DOWN and not is_final(run):
        # What it is now nobody here can know.
        state, colour = f"was {state.lower()}", palette.muted
    left = _pill(target, left, middle, state, colour, palette, type_) + px(12)
    about = f"{words.kind(run)}  ·  {run.id}"
    name = run.display_name or words.kind(run)
    about_w = type_.text(about, 13, palette.muted).get_width()
    placed = type_.put(
        target,
        name,
        (left, middle),
        16,
        palette.text,
        bold=True,
        anchor="midleft",
        width=max(px(60), right - left - about_w - px(40)),
    )
    type_.put(
        target,
        about,
        (placed.right + px(12), middle + px(1)),
        13,
        palette.muted,
        anchor="midleft",
        width=max(px(20), right - placed.right - px(30)),
    )


def _pill(
    target: pygame.Surface,
    x: int,
    middle: int,
    text: str,
    colour: Colour,
    palette: Palette,
    type_: Type,
) -> int:
    """A word in a coloured pill; returns its right end."""
    px = type_.px
    word = type_.text(text, 13, colour, bold=True)
    box = Box(x, middle - px(12), word.get_width() + px(34), px(24))
    ground = mix(palette.surface, colour, 0.16)
    rounded(target, box, box.h // 2, ground, mix(palette.surface, colour, 0.45))
    pygame.draw.aacircle(target, colour, (box.x + px(13), middle), px(4))
    target.blit(word, word.get_rect(midleft=(box.x + px(23), middle)))
    return box.right


def _connection(
    target: pygame.Surface, box: Box, model: ViewerModel, palette: Palette, type_: Type
) -> int:
    """The server and whether it answers, with the run's place among all; returns its left end."""
    px = type_.px
    middle = box.centre_y
    words_of = {Link.UP: "", Link.DOWN: "reconnecting  ", Link.CONNECTING: "connecting  "}
    colour = palette.tone(_LINK_TONES[model.link])
    shown = type_.put(
        target,
        words_of[model.link] + model.address,
        (box.right - px(18), middle),
        13,
        palette.muted if model.link is Link.UP else colour,
        anchor="midright",
        width=box.w // 3,
    )
    pygame.draw.aacircle(target, colour, (shown.left - px(11), middle), px(4))
    left = shown.left - px(24)
    place, count = model.runs.place(model.selected)
    if count > 1 and place:
        left -= px(10)
        text = f"run {place} of {count}"
        where = type_.put(target, text, (left, middle), 13, palette.faint, anchor="midright")
        left = where.left
    return left


def draw_toolbar(
    target: pygame.Surface,
    box: Box,
    bar: Toolbar,
    hovered: Button | None,
    palette: Palette,
    type_: Type,
) -> None:
    """The bottom bar."""
    px = type_.px
    target.fill(palette.ground, box)
    for button in bar.buttons:
        is_hovered = hovered is not None and hovered.action is button.action
        _button(target, button, is_hovered, palette, type_)
    pace = bar.pace.box
    middle = (pace.centre_x, pace.centre_y - px(7))
    type_.put(target, bar.pace.value, middle, 15.5, palette.text, bold=True, anchor="center")
    below = (pace.centre_x, pace.centre_y + px(11))
    type_.put(target, bar.pace.label, below, 11, palette.muted, anchor="center")


def _button(
    target: pygame.Surface, button: Button, hovered: bool, palette: Palette, type_: Type
) -> None:
    px = type_.px
    box = button.box
    fill, border, ink = palette.surface, palette.line, palette.text
    if not button.enabled:
        fill, ink = palette.ground, mix(palette.ground, palette.faint, 0.7)
        border = mix(palette.ground, palette.line, 0.6)
    elif button.active:
        fill, border = mix(palette.surface, palette.accent, 0.35), palette.accent
    elif hovered:
        fill, border = palette.raised, mix(palette.line, palette.text, 0.25)
    rounded(target, box, px(8), fill, border)
    side = px(16)
    x = box.x + px(13)
    target.blit(icon(button.icon, side, ink), (x, box.centre_y - side // 2))
    x += side + px(9)
    key = _keycap(target, box, button.key, ink, fill, palette, type_)
    if button.label:
        type_.put(
            target,
            button.label,
            (x, box.centre_y),
            14,
            ink,
            anchor="midleft",
            width=key.left - x - px(4),
        )


def _keycap(
    target: pygame.Surface,
    box: Box,
    key: str,
    ink: Colour,
    ground: Colour,
    palette: Palette,
    type_: Type,
) -> pygame.Rect:
    px = type_.px
    word = type_.text(key, 11, mix(ground, ink, 0.62))
    width = max(px(18), word.get_width() + px(10))
    cap = Box(box.right - px(10) - width, box.centre_y - px(9), width, px(18))
    rounded(target, cap, px(4), ground, mix(ground, palette.muted, 0.3))
    target.blit(word, word.get_rect(center=(cap.centre_x, cap.centre_y)))
    return pygame.Rect(cap)

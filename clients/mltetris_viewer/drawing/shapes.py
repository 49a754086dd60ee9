"""Smooth shapes: drawn four times as large and scaled down, then kept."""

from __future__ import annotations

from functools import lru_cache

import pygame

from mltetris_viewer.drawing.palette import Colour, mix
from mltetris_viewer.layout import Box

_SCALE = 4


@lru_cache(maxsize=512)
def _corner(radius: int, fill: Colour, border: Colour | None, thickness: int) -> pygame.Surface:
    """A whole rounded square of side 2 * radius + 2: its corners are what is used of it."""
    side = 2 * radius + 2
    large = pygame.Surface((side * _SCALE, side * _SCALE), pygame.SRCALPHA)
    # The see-through surroundings have the rim's colour, or scaling would mix in black.
    rim = border or fill
    large.fill((*rim, 0))
    pygame.draw.rect(large, rim, large.get_rect(), border_radius=radius * _SCALE)
    if border is not None:
        inner = large.get_rect().inflate(-2 * thickness * _SCALE, -2 * thickness * _SCALE)
        pygame.draw.rect(large, fill, inner, border_radius=max(0, (radius - thickness) * _SCALE))
    return pygame.transform.smoothscale(large, (side, side))


def rounded(
    target: pygame.Surface,
    box: Box,
    radius: int,
    fill: Colour,
    border: Colour | None = None,
    thickness: int = 1,
) -> None:
    """A filled rectangle with smooth round corners and, if asked for, a border."""
    radius = min(radius, box.w // 2 - 1, box.h // 2 - 1)
    # `fill` is several times as fast as pygame.draw.rect.
    if radius < 2:
        target.fill(border or fill, box)
        if border is not None:
            target.fill(fill, box.inset(thickness))
        return
    rim, t = border or fill, thickness
    target.fill(rim, (box.x + radius, box.y, box.w - 2 * radius, box.h))
    target.fill(rim, (box.x, box.y + radius, box.w, box.h - 2 * radius))
    if border is not None:
        target.fill(fill, (box.x + radius, box.y + t, box.w - 2 * radius, box.h - 2 * t))
        target.fill(fill, (box.x + t, box.y + radius, box.w - 2 * t, box.h - 2 * radius))
    corner = _corner(radius, fill, border, thickness)
    far = radius + 2
    for x, source_x in ((box.x, 0), (box.right - radius, far)):
        for y, source_y in ((box.y, 0), (box.bottom - radius, far)):
            # Underneath is what `rect` left out: the ground shows through the corner.
            target.blit(corner, (x, y), (source_x, source_y, radius, radius))


@lru_cache(maxsize=256)
def tile(colour: Colour, side: int) -> pygame.Surface:
    """One cell of a piece: a lit edge above, a shaded one below, the plain colour in the middle."""
    n = side * _SCALE
    large = pygame.Surface((n, n), pygame.SRCALPHA)
    light, dark = mix(colour, (255, 255, 255), 0.38), mix(colour, (0, 0, 0), 0.42)
    edge = max(_SCALE, n // 9)
    gap = max(2, n // 40)
    body = pygame.Rect(gap, gap, n - 2 * gap, n - 2 * gap)
    radius = max(2, n // 10)
    large.fill((*mix(colour, (0, 0, 0), 0.42), 0))
    pygame.draw.rect(large, dark, body, border_radius=radius)
    pygame.draw.rect(large, light, (body.x, body.y, body.w, body.h - edge), border_radius=radius)
    pygame.draw.rect(
        large,
        mix(colour, (0, 0, 0), 0.14),
        (body.x, body.y + edge, body.w, body.h - 2 * edge),
    )
    pygame.draw.rect(
        large,
        colour,
        (body.x + edge, body.y + edge, body.w - 2 * edge, body.h - 2 * edge),
        border_radius=max(1, radius // 2),
    )
    return pygame.transform.smoothscale(large, (side, side))


@lru_cache(maxsize=64)
def ghost_tile(colour: Colour, side: int) -> pygame.Surface:
    """One cell of a piece that is not there yet: an outline with a breath of colour."""
    n = side * _SCALE
    large = pygame.Surface((n, n), pygame.SRCALPHA)
    large.fill((*colour, 0))
    gap = max(2, n // 16)
    body = pygame.Rect(gap, gap, n - 2 * gap, n - 2 * gap)
    radius = max(2, n // 8)
    pygame.draw.rect(large, (*colour, 40), body, border_radius=radius)
    pygame.draw.rect(large, (*colour, 185), body, max(_SCALE, n // 16), border_radius=radius)
    return pygame.transform.smoothscale(large, (side, side))


@lru_cache(maxsize=64)
def veil(size: tuple[int, int], colour: Colour, alpha: int) -> pygame.Surface:
    """A see-through sheet."""
    sheet = pygame.Surface(size, pygame.SRCALPHA)
    sheet.fill((*colour, alpha))
    return sheet


def clear_cache() -> None:
    """Lets go of every kept picture: their sizes belong to a window that has changed."""
    for cache in (_corner, tile, ghost_tile, veil):
        cache.cache_clear()

"""Text: the typeface comes along with the package, so it looks the same everywhere."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pygame

from mltetris_viewer.drawing.palette import Colour

_ASSETS = Path(__file__).resolve().parent.parent / "assets"
_FILES = {False: _ASSETS / "Inter-Medium.otf", True: _ASSETS / "Inter-SemiBold.otf"}
# The typeface covers Latin and a few signs; a run's name may be in any script.
_COVERED = frozenset(
    [chr(c) for c in (*range(0x20, 0x7F), *range(0xA0, 0x180))]
    + list("–—‘’“”•…←↑→↓−≠≤≥≈∞αβγελμ✓✗↵↻")
)
_OTHER_SCRIPTS = (
    "notosanscjksc,notosanscjk,microsoftyahei,pingfangsc,segoeui,arialunicodems,dejavusans"
)


@lru_cache(maxsize=64)
def _font(size: int, bold: bool) -> pygame.font.Font:
    return pygame.font.Font(_FILES[bold], size)


@lru_cache(maxsize=16)
def _other_font(size: int) -> pygame.font.Font:
    return pygame.font.Font(pygame.font.match_font(_OTHER_SCRIPTS), size)


@lru_cache(maxsize=2048)
def _rendered(text: str, size: int, colour: Colour, bold: bool) -> pygame.Surface:
    covered = _COVERED.issuperset(text)
    font = _font(size, bold) if covered else _other_font(size)
    return font.render(text, True, colour)


def clear_cache() -> None:
    """Lets go of every font: to be called before pygame's fonts are shut down."""
    for cache in (_font, _other_font, _rendered):
        cache.cache_clear()


class Type:
    """Text at the window's scale. Sizes are in units: pixels of a 1280x720 window.

    Attributes:
        unit: pixels a unit.
    """

    def __init__(self, unit: float) -> None:
        self.unit = unit

    def px(self, units: float) -> int:
        """Units in whole pixels, at least one."""
        return max(1, round(units * self.unit))

    def text(self, text: str, size: float, colour: Colour, *, bold: bool = False) -> pygame.Surface:
        """A picture of one line of text."""
        clean = "".join(c if c.isprintable() else " " for c in text)
        return _rendered(clean, max(7, round(size * self.unit)), colour, bold)

    def put(
        self,
        target: pygame.Surface,
        text: str,
        at: tuple[int, int],
        size: float,
        colour: Colour,
        *,
        bold: bool = False,
        anchor: str = "topleft",
        width: int | None = None,
    ) -> pygame.Rect:
        """Draws one line; returns where it stands.

        Args:
            target: what to draw on.
            text: the line.
            at: the place of `anchor`.
            size: in units.
            colour: of the letters.
            bold: semi-bold.
            anchor: any of pygame.Rect's corners and middles, e.g. "midright".
            width: pixels it may take; longer text is cut off with an ellipsis.
        """
        picture = self.text(text, size, colour, bold=bold)
        if width is not None and picture.get_width() > width:
            picture = self.text(self._shortened(text, size, bold, width), size, colour, bold=bold)
        place = picture.get_rect()
        setattr(place, anchor, at)
        target.blit(picture, place)
        return place

    def _shortened(self, text: str, size: float, bold: bool, width: int) -> str:
        low, high = 0, len(text)
        while low < high:
            middle = (low + high + 1) // 2
            picture = self.text(text[:middle].rstrip() + "…", size, (0, 0, 0), bold=bold)
            low, high = (middle, high) if picture.get_width() <= width else (low, middle - 1)
        return text[:low].rstrip() + "…" if low else ""

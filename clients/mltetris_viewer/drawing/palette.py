"""The colours of the window."""

from __future__ import annotations

from dataclasses import dataclass

from mltetris_viewer.model.viewer import Tone

Colour = tuple[int, int, int]


def mix(one: Colour, other: Colour, share: float) -> Colour:
    """`share` (0..1) of `other` in `one`."""
    r, g, b = (round(a + (c - a) * share) for a, c in zip(one, other, strict=True))
    return (r, g, b)


@dataclass(frozen=True)
class Palette:
    """One set of colours.

    Attributes:
        pieces: by piece number; 0 is the empty well. 1..7 = I O T S Z J L in the
            colours of the Tetris Guideline, slightly softened for a dark ground.
        ground: behind everything.
        surface: panels and bars.
        raised: buttons and tiles.
        line: borders.
        grid: lines between empty cells.
        text: what is to be read first.
        muted: labels.
        faint: what may be overlooked.
        accent: the one colour for what is active.
        curves: colours of curves, most important first.
        tones: what messages are painted with.
    """

    pieces: tuple[Colour, ...] = (
        (13, 15, 22),
        (45, 201, 232),
        (244, 206, 46),
        (172, 90, 214),
        (84, 196, 88),
        (236, 72, 78),
        (74, 112, 232),
        (243, 146, 48),
    )
    ground: Colour = (17, 19, 27)
    surface: Colour = (24, 27, 38)
    raised: Colour = (36, 41, 56)
    line: Colour = (47, 53, 71)
    grid: Colour = (27, 31, 43)
    text: Colour = (236, 239, 247)
    muted: Colour = (150, 158, 180)
    faint: Colour = (98, 106, 130)
    accent: Colour = (94, 156, 255)
    curves: tuple[Colour, ...] = ((94, 214, 170), (120, 150, 220), (244, 176, 84), (222, 110, 160))
    tones: tuple[tuple[Tone, Colour], ...] = (
        (Tone.INFO, (94, 156, 255)),
        (Tone.GOOD, (84, 204, 124)),
        (Tone.WARNING, (244, 182, 70)),
        (Tone.BAD, (240, 92, 96)),
    )

    def tone(self, tone: Tone) -> Colour:
        """The colour of a tone."""
        return dict(self.tones)[tone]


GUIDELINE = Palette()

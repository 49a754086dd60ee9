"""A shown game as text and as a picture."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mltetris_server.game.display import Pose
from mltetris_server.game.pieces import PIECE_NAMES

# The guideline's colours: empty, I, O, T, S, Z, J, L.
COLOURS = np.array(
    [
        (24, 24, 32),
        (0, 240, 240),
        (240, 240, 0),
        (160, 0, 240),
        (0, 240, 0),
        (240, 0, 0),
        (0, 0, 240),
        (240, 160, 0),
    ],
    np.uint8,
)


class Picturable(Protocol):
    """What a picture needs to know of a game; `ShownGame` is one."""

    @property
    def cells(self) -> NDArray[np.uint8]:
        """The board without the active piece, uint8[height, width]: 0 or 1..7; a copy."""

    @property
    def active(self) -> Pose:
        """The active piece where it is."""


def with_active(game: Picturable) -> NDArray[np.uint8]:
    """The board with the active piece on it, uint8[height, width]."""
    cells, active = game.cells, game.active
    cells.flat[np.array(active.cells, np.intp)] = active.piece
    return cells


def as_text(game: Picturable) -> str:
    """One line per row, top first: `.` for an empty cell, else the piece's letter."""
    letters = "." + "".join(PIECE_NAMES[1:])
    return "\n".join("".join(letters[cell] for cell in row) for row in with_active(game))


def as_image(game: Picturable, pixels: int = 16) -> NDArray[np.uint8]:
    """RGB, uint8[height * pixels, width * pixels, 3], with a dark line between cells."""
    image = COLOURS[with_active(game)].repeat(pixels, axis=0).repeat(pixels, axis=1)
    image[::pixels] //= 2
    image[:, ::pixels] //= 2
    return image

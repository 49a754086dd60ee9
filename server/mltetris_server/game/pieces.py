"""The seven tetrominoes and every table the kernels read.  # compiled into kernels

Matrices, their order and the direction of rotation are tetris-gymnasium's
(`Tetris.TETROMINOES`; `rotate` is `numpy.rot90`, so rotation r is r quarter turns
counterclockwise). Pieces are numbered 1..7 everywhere: I O T S Z J L; tables have
an unused row 0. Rows of a shape and of the board count upwards from the bottom.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mltetris_server.game.config import ROTATIONS

PIECE_NAMES = (" ", "I", "O", "T", "S", "Z", "J", "L")
PIECES = 7

_ROWS: tuple[tuple[str, ...], ...] = (
    ("....", "####", "....", "...."),
    ("##", "##"),
    (".#.", "###", "..."),
    (".##", "##.", "..."),
    ("##.", ".##", "..."),
    ("#..", "###", "..."),
    ("..#", "###", "..."),
)


def matrix(piece: int, rotation: int) -> NDArray[np.uint8]:
    """Piece 1..7 turned `rotation` times: a square uint8 matrix of 0 and 1, top row first."""
    rows = [[cell == "#" for cell in row] for row in _ROWS[piece - 1]]
    return np.ascontiguousarray(np.rot90(np.array(rows, np.uint8), rotation))


def _tables() -> dict[str, NDArray[np.int64]]:
    shape = (PIECES + 1, ROTATIONS)
    tables = {
        "width": np.zeros(shape, np.int64),
        "height": np.zeros(shape, np.int64),
        "left": np.zeros(shape, np.int64),
        "start": np.zeros(shape, np.int64),
        "bits": np.zeros((*shape, 4), np.int64),
        "bottom": np.zeros((*shape, 4), np.int64),
        "top": np.zeros((*shape, 4), np.int64),
        "twin": np.full(shape, -1, np.int64),
        "twin_shift": np.zeros(shape, np.int64),
    }
    for piece in range(1, PIECES + 1):
        boxes = []
        for rotation in range(ROTATIONS):
            whole = matrix(piece, rotation)
            size = whole.shape[0]
            columns = np.flatnonzero(whole.any(axis=0))
            rows = np.flatnonzero(whole.any(axis=1))
            box = whole[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            boxes.append(box)
            at = (piece, rotation)
            tables["height"][at], tables["width"][at] = box.shape
            tables["left"][at] = columns[0] - size // 2
            tables["start"][at] = -1 - rows[-1]
            for column in range(box.shape[1]):
                filled = np.flatnonzero(box[::-1, column])
                tables["bits"][(*at, column)] = int(np.sum(1 << filled))
                tables["bottom"][(*at, column)] = filled[0]
                tables["top"][(*at, column)] = filled[-1] + 1
        for rotation in reversed(range(ROTATIONS)):
            for other in reversed(range(ROTATIONS)):
                shift = tables["left"][piece, rotation] - tables["left"][piece, other]
                lower = 4 * shift + other < rotation
                if lower and np.array_equal(boxes[rotation], boxes[other]):
                    tables["twin"][piece, rotation] = other
                    tables["twin_shift"][piece, rotation] = shift
    return tables


_TABLES = _tables()

# Bounding box of the filled cells: columns and rows, int64[8, 4].
WIDTH = _TABLES["width"]
HEIGHT = _TABLES["height"]
# Board column of the box's left edge, less the action's column, int64[8, 4].
LEFT = _TABLES["left"]
# Board row of the box's bottom edge where a piece appears, less the board's height, int64[8, 4].
START = _TABLES["start"]
# Filled cells of each column of the box: bit k = k rows above its bottom edge, int64[8, 4, 4].
BITS = _TABLES["bits"]
# Lowest filled row of each column of the box, int64[8, 4, 4].
BOTTOM = _TABLES["bottom"]
# One row above the highest filled row of each column; there are no gaps. int64[8, 4, 4].
TOP = _TABLES["top"]
# A rotation with the same shape that gives the same cells at a lower action
# number, in the column `TWIN_SHIFT` further right; -1 where there is none. int64[8, 4].
TWIN = _TABLES["twin"]
TWIN_SHIFT = _TABLES["twin_shift"]

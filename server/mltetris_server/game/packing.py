"""BOARD features unpacked: from numbers that hold a column's cells to the cells themselves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mltetris_server.game.config import MAX_HEIGHT, PACKED_ROWS


def unpack_cells(packed: NDArray[np.float32], height: int) -> NDArray[np.float32]:
    """The cells that BOARD features hold, for networks and environments.

    Args:
        packed: float32[..., 2W], as `afterstates` writes them unscaled: number c holds rows
            0..19 of column c, number W + c rows 20..39; bit k is the k-th of those rows,
            counted upwards from the floor.
        height: Rows H of the board, 1..40.

    Returns:
        float32[..., H * W], 1 where a cell is filled and else 0, row by row from the top,
        each row from the left.

    Raises:
        ValueError: The last axis is not of even length, or the height is out of range.
    """
    width, odd = divmod(packed.shape[-1], 2)
    if odd:
        raise ValueError(
            f"packed boards have two numbers per column, not {packed.shape[-1]} in all"
        )
    if not 1 <= height <= MAX_HEIGHT:
        raise ValueError(f"height must be 1..{MAX_HEIGHT}, not {height}")
    rows = np.arange(height - 1, -1, -1, dtype=np.int32)
    parts = packed.astype(np.int32).reshape(*packed.shape[:-1], 2, width)
    words = parts[..., rows // PACKED_ROWS, :]
    cells = (words >> (rows % PACKED_ROWS)[:, None]) & 1
    return cells.astype(np.float32).reshape(*packed.shape[:-1], height * width)

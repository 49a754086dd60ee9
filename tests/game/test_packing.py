"""Boards packed into float32 numbers come out as the cells they were."""

from __future__ import annotations

import numpy as np
import pytest
from mltetris_server.game.packing import unpack_cells
from numpy.typing import NDArray


def pack(boards: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Boards [n, H, W], top row first, as BOARD features: by a loop over their cells."""
    n, height, width = boards.shape
    packed = np.zeros((n, 2 * width), np.float32)
    for board, row, column in zip(*np.nonzero(boards), strict=True):
        above = height - 1 - row
        packed[board, column + width * (above // 20)] += 2.0 ** (above % 20)
    return packed


@pytest.mark.parametrize("size", [(1, 4), (4, 4), (20, 10), (21, 10), (40, 32)], ids=str)
def test_cells_come_back(size: tuple[int, int]) -> None:
    boards = np.random.default_rng(size).random((6, *size)) < 0.5
    cells = unpack_cells(pack(boards), size[0])
    assert cells.dtype == np.float32
    np.testing.assert_array_equal(cells, boards.reshape(6, -1))
    # Any number of axes in front, none included.
    np.testing.assert_array_equal(unpack_cells(pack(boards)[0], size[0]), boards[0].reshape(-1))
    cube = unpack_cells(pack(boards).reshape(2, 3, -1), size[0])
    np.testing.assert_array_equal(cube, boards.reshape(2, 3, -1))


def test_full_columns_are_exact() -> None:
    boards = np.ones((1, 40, 4), np.bool_)
    packed = pack(boards)
    assert (packed == 2**20 - 1).all()
    assert (unpack_cells(packed, 40) == 1).all()


def test_what_cannot_be_packed_boards_is_refused() -> None:
    with pytest.raises(ValueError, match="two numbers per column"):
        unpack_cells(np.zeros((3, 7), np.float32), 20)
    for height in (0, 41):
        with pytest.raises(ValueError, match="height"):
            unpack_cells(np.zeros((3, 8), np.float32), height)

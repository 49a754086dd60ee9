"""One afterstate from its cells: for placements that do more than add to a board."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mltetris_server.game.compiling import kernel, leading_zeros, peek, poke, popcount
from mltetris_server.game.pieces import BITS
from mltetris_server.game.scratch import AFTER, CELLS
from mltetris_server.game.standing import COLUMN, DEPTH, ROW, WELL, kind_of_step
from mltetris_server.game.vectors import (
    LANES,
    all_alike,
    any_bits,
    leading_zero_counts,
    load,
    popcounts,
    store,
    sum_of,
    union_of,
)


@kernel
def settle_apart(
    work: NDArray[np.int64], width: int, shape: int, span: int, first: int, row: int
) -> tuple[int, int]:
    """The columns after a placement into AFTER; returns lines cleared and own cells in them.

    Args:
        work: The scratch.
        width: The board's.
        shape: 4 * piece + rotation.
        span: Columns of the piece.
        first: The first of them.
        row: Where the piece's box rests.
    """
    for c in range(-1, width + 1, LANES):
        store(work, AFTER + c, load(work, CELLS + c))
    for k in range(span):
        at = AFTER + first + k
        poke(work, at, peek(work, at) | (peek(BITS, 4 * shape + k) << row))
    full = peek(work, AFTER)
    for c in range(1, width):
        full &= peek(work, AFTER + c)
    own = 0
    for k in range(span):
        own += popcount((peek(BITS, 4 * shape + k) << row) & full)
    rows = full
    while rows:
        below = (rows & -rows) - 1
        for c in range(0, width, LANES):
            bits = load(work, AFTER + c)
            store(work, AFTER + c, (bits & below) | ((bits >> 1) & ~below))
        rows = (rows & (rows - 1)) >> 1
    # Rows were taken out of the wall as well, and the last lanes look behind it.
    for c in range(width, width + LANES):
        poke(work, AFTER + c, peek(work, CELLS - 1))
    return popcount(full), own


@kernel
def count_whole(work: NDArray[np.int64], width: int) -> tuple[int, int, int]:
    """All packed counts of AFTER, its rows with holes, and its kinds of steps as bits."""
    total = all_alike(0)
    wells = all_alike(0)
    hole_rows = all_alike(0)
    for c in range(0, width + 1, LANES):
        left = load(work, AFTER + c - 1)
        bits = load(work, AFTER + c)
        top = 64 - leading_zero_counts(bits)
        holes = top - popcounts(bits)
        depth = popcounts(bits & (bits + 1))
        transitions = popcounts(bits ^ ((bits << 1) | 1))
        total = total + holes + (depth << DEPTH) + (transitions << COLUMN)
        total = total + (popcounts(left ^ bits) << ROW)
        hole_rows = hole_rows | (~bits & ((1 << top) - 1))
        # A well counts itself and the empty cells straight below it.
        well = left & load(work, AFTER + c + 1) & ~bits
        while any_bits(well):
            wells = wells + popcounts(well)
            well = (well >> 1) & ~bits
    kinds = 0
    before = 64 - leading_zeros(peek(work, AFTER))
    for c in range(1, width):
        top_here = 64 - leading_zeros(peek(work, AFTER + c))
        kinds |= kind_of_step(before, top_here)
        before = top_here
    # The walls among the last lanes have one transition each, where they end.
    walls = width // LANES * LANES + LANES - width
    counts = sum_of(total) - (walls << COLUMN) + (sum_of(wells) << WELL)
    return counts, union_of(hole_rows), kinds

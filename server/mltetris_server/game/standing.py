"""What is known about a board before a piece is placed, so that little is left to count after."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mltetris_server.game.compiling import (
    inlined,
    kernel,
    leading_zeros,
    peek,
    poke,
    popcount,
    trailing_zeros,
)
from mltetris_server.game.scratch import (
    BORDERS,
    CELLS,
    COUNTS,
    HOLES,
    LEFT_FULL,
    LEFT_KINDS,
    LEFT_SUM,
    LONG,
    PAIR,
    RIGHT_FULL,
    RIGHT_KINDS,
    RIGHT_SUM,
    RUNS,
    STEPS,
    STRIDE,
    TOPS,
    WELLS,
)
from mltetris_server.game.vectors import (
    LANES,
    Lanes,
    all_alike,
    greater,
    load,
    popcounts,
    store,
    sum_of,
)

# One int64 holds four counts of 12 bits (holes, hole depth, column transitions, row
# transitions; each below 1,500 on the largest board) and above them the wells.
DEPTH, COLUMN, ROW, WELL = 12, 24, 36, 48
COUNT_MASK = (1 << 12) - 1


def _lengths(*bits: int) -> int:
    """Which of the lengths 1, 2, 3, ... have one of these bits set, as bits 0, 1, 2, ..."""
    return sum(1 << k for k in range(62) if any((k + 1) >> j & 1 for j in bits))


# The rows RUNS of a column without a filled cell.
_FREE_RUNS = np.array([*map(_lengths, range(LONG)), _lengths(3, 4, 5)], np.int64)


@inlined
def kind_of_step(left: int, right: int) -> int:
    """Which of -2..2 the step from one height to the next is, as one of bits 1..5; else 0."""
    step: int = min(max(right - left, -3), 3)
    return (1 << (step + 3)) & 0b0111110


@inlined
def runs_under(work: NDArray[np.int64], j: int, c: int, top: Lanes) -> Lanes:
    """Row j of RUNS for the lanes from column c on, where columns may have grown.

    Args:
        work: The scratch.
        j: 0..LONG.
        c: The first column.
        top: The columns' heights by now. What is above them is empty, what is empty below
            has not changed.
    """
    below = (1 << top) - 1
    free: int = peek(_FREE_RUNS, j)
    return (load(work, RUNS + j * STRIDE + c) & below) | (free << top)


@inlined
def read_board(
    work: NDArray[np.int64], columns: NDArray[np.int64], i: int, width: int, wall: int
) -> int:
    """Board i's cells and heights, and the rows full beside a column; returns the greatest height.

    `wall` is a column with all its cells filled.
    """
    for c in range(-2, STRIDE - 2):
        poke(work, CELLS + c, 0)
        poke(work, TOPS + c, 0)
    poke(work, CELLS - 1, wall)
    poke(work, CELLS + width, wall)
    # Lanes that look past the board complete nothing.
    store(work, LEFT_FULL + width, all_alike(0))
    store(work, RIGHT_FULL + width, all_alike(0))
    greatest = 0
    full = wall
    for c in range(width):
        bits = peek(columns, i * width + c)
        top = 64 - leading_zeros(bits)
        poke(work, CELLS + c, bits)
        poke(work, TOPS + c, top)
        poke(work, LEFT_FULL + c, full)
        greatest = max(greatest, top)
        full &= bits
    full = wall
    for c in range(width - 1, -1, -1):
        poke(work, RIGHT_FULL + c, full)
        full &= peek(work, CELLS + c)
    return greatest


@kernel
def measure_steps(work: NDArray[np.int64], width: int) -> tuple[int, int]:
    """For SIMPLE: the STEPS between heights; returns the bumpiness and the number of holes."""
    _mark_pairs(work, width)
    steps = all_alike(0)
    holes = all_alike(0)
    for c in range(0, width, LANES):
        top = load(work, TOPS + c)
        before = load(work, TOPS + c - 1)
        step = greater(top - before, before - top) & load(work, PAIR + c)
        store(work, STEPS + c, step)
        steps = steps + step
        holes = holes + top - popcounts(load(work, CELLS + c))
    store(work, STEPS + width, all_alike(0))
    # The wall is among the last lanes, unless they end with the board.
    wall = popcount(peek(work, CELLS + width)) if width % LANES else 0
    return sum_of(steps), sum_of(holes) + wall


@kernel
def collect_kinds(work: NDArray[np.int64], width: int) -> None:
    """For DT: the kinds of steps left and right of each column."""
    _mark_pairs(work, width)
    poke(work, LEFT_KINDS, 0)
    kinds = 0
    for c in range(1, width):
        poke(work, LEFT_KINDS + c, kinds)
        kinds |= kind_of_step(peek(work, TOPS + c - 1), peek(work, TOPS + c))
    poke(work, RIGHT_KINDS + width - 1, 0)
    kinds = 0
    for c in range(width - 2, -1, -1):
        poke(work, RIGHT_KINDS + c, kinds)
        kinds |= kind_of_step(peek(work, TOPS + c), peek(work, TOPS + c + 1))


@inlined
def _mark_pairs(work: NDArray[np.int64], width: int) -> None:
    for c in range(0, width, LANES):
        store(work, PAIR + c, all_alike(-1))
    poke(work, PAIR, 0)
    store(work, PAIR + width, all_alike(0))


@kernel
def count_board(work: NDArray[np.int64], width: int) -> tuple[int, int]:
    """For BCTS: the board's own counts, and its runs of empty cells.

    Returns:
        Its holes, hole depth and column transitions, packed; and its rows with holes, as bits.
    """
    # Lanes look a little further than the board is wide.
    for c in range(0, width + 2 * LANES - 1, LANES):
        top = load(work, TOPS + c)
        for j in range(LONG + 1):
            store(work, RUNS + j * STRIDE + c, peek(_FREE_RUNS, j) << top)
    for c in range(0, width, LANES):
        bits = load(work, CELLS + c)
        holes = load(work, TOPS + c) - popcounts(bits)
        # Filled cells above the lowest empty one stand, run by run, on a hole.
        depth = popcounts(bits & (bits + 1))
        # The floor counts as filled and what is above the board as empty.
        transitions = popcounts(bits ^ ((bits << 1) | 1))
        store(work, HOLES + c, holes)
        store(work, COUNTS + c, holes | (depth << DEPTH) | (transitions << COLUMN))
    total = 0
    hole_rows = 0
    for c in range(width):
        total += peek(work, COUNTS + c)
        if peek(work, HOLES + c):
            hole_rows |= _measure_holes(work, c)
    for c in range(0, width + 1, LANES):
        left = load(work, CELLS + c - 1)
        bits = load(work, CELLS + c)
        store(work, BORDERS + c, popcounts(left ^ bits) << ROW)
        well = left & load(work, CELLS + c + 1) & ~bits
        wells = all_alike(0)
        for j in range(LONG):
            wells = wells + (popcounts(well & load(work, RUNS + j * STRIDE + c)) << (WELL + j))
        store(work, WELLS + c, wells)
    poke(work, WELLS - 1, 0)
    # A column takes part in its own wells and in those beside it.
    unchanged = 0
    for c in range(width):
        poke(work, LEFT_SUM + c, unchanged)
        unchanged += peek(work, BORDERS + c) + peek(work, WELLS + c - 1)
    unchanged = 0
    for c in range(width - 1, -1, -1):
        poke(work, RIGHT_SUM + c, unchanged)
        unchanged += peek(work, BORDERS + c + 1) + peek(work, WELLS + c + 1)
    return total, hole_rows


@kernel
def _measure_holes(work: NDArray[np.int64], c: int) -> int:
    """Add the runs below the top of column c to its RUNS; returns its holes as bits."""
    holes: int = ~peek(work, CELLS + c) & ((1 << peek(work, TOPS + c)) - 1)
    left = holes
    while left:
        run = left & ~(left + (left & -left))
        start = trailing_zeros(left)
        for j in range(LONG + 1):
            at = RUNS + j * STRIDE + c
            poke(work, at, peek(work, at) | ((peek(_FREE_RUNS, j) << start) & run))
        left &= ~run
    return holes

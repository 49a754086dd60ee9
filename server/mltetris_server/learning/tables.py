"""The value of a raw board: a table of local patterns, compiled.

Every 4 x 4 window of a board, wherever it lies, looks up one weight by the pattern of its cells;
the sum over all windows says how likely the game is to go on. It is a systematic n-tuple network:
S. Lucas, "Learning to play Othello with n-tuple systems" (2008), for the lookup; W. Jaskowski, M.
Szubert, P. Liskowski and K. Krawiec, "High-dimensional function approximation for knowledge-free
reinforcement learning: a case study in SZ-Tetris" (2015), for all windows of one shape on a
board of Tetris. Theirs have a table for each position; here all positions share one, as a
convolution shares its weights, so that what is learnt on a low board holds on a high one.

A window's columns are c..c+3, for c = -1..W-3, of which -1 and W are the walls; its rows are
r..r+3, for r = -1..H-1, of which -1 is a filled floor and those above the board are empty. Bit
4 j + k of its pattern is the cell in its j-th column and its k-th row from below. The table:

    0..65535        windows between the walls
    65536..69631    windows at a wall, by their three other columns, the nearest to the wall first:
                    the right one is looked at in a mirror

Windows without a filled cell, entries 0 and 65536, count nothing and must be 0. With x the sum of
all windows and the bias, the value of a board is

    value = death_reward / (1 + exp(x))

so that 1 / (1 + exp(x)), which lies between 0 and 1 as a discounted chance of death does, is learnt
as in logistic regression, by cross entropy.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mltetris_server.game.compiling import kernel, leading_zeros, peek, poke, trailing_zeros
from mltetris_server.game.config import PACKED_ROWS
from mltetris_server.game.engine import CANDIDATE, ENDS_GAME, LINES_SHIFT

SIDE = 4
"""Rows and columns of a window."""

EDGE = 1 << SIDE * SIDE
"""Where the windows at the walls have their entries, by three columns: behind all the others'."""

ENTRIES = EDGE + (1 << SIDE * (SIDE - 1))
"""Length of the table."""

FIRST_BIAS = 4.0
"""The bias to begin with, everything else being 0: an unknown board is thought to be a good one
(1.8 % of a death), so that whatever has not been tried is."""

ROWS = 44
"""Not below the rows that windows may begin in, of which the highest board has 41."""

_ZERO = np.float32(0)


@kernel
def entry_of(cells: NDArray[np.int64], at: int, c: int, row: int, width: int) -> int:
    """Which entry a window has.

    `cells.flat[at:]` holds the columns from -1 to W: nothing for the walls, and bit 0 the floor.
    """
    first: int = (peek(cells, at + c) >> row) & 15
    second: int = (peek(cells, at + c + 1) >> row) & 15
    third: int = (peek(cells, at + c + 2) >> row) & 15
    fourth: int = (peek(cells, at + c + 3) >> row) & 15
    if c == 0:
        return EDGE + (second | (third << 4) | (fourth << 8))
    if c == width - 2:
        return EDGE + (third | (second << 4) | (first << 8))
    return first | (second << 4) | (third << 8) | (fourth << 12)


@kernel
def mirrored(entry: int) -> int:
    """The entry of the same window in a mirror; those at the walls are their own."""
    if entry >= EDGE:
        return entry
    return (entry >> 12) | ((entry >> 4) & 0xF0) | ((entry << 4) & 0xF00) | ((entry << 12) & 0xF000)


@kernel
def rows_of(cells: NDArray[np.int64], at: int, c: int) -> int:
    """How many rows the windows that begin in column c have until all above is empty."""
    columns = peek(cells, at + c) | peek(cells, at + c + 1)
    columns |= peek(cells, at + c + 2) | peek(cells, at + c + 3)
    return 64 - leading_zeros(columns)


@kernel
def unpack(
    features: NDArray[np.float32], row: int, width: int, cells: NDArray[np.int64], at: int
) -> None:
    """Row `row` of BOARD features, float32[:, 2W], as `entry_of` wants it."""
    start = row * 2 * width
    poke(cells, at, 0)
    poke(cells, at + width + 1, 0)
    for c in range(width):
        lower = np.int64(peek(features, start + c))
        upper = np.int64(peek(features, start + width + c))
        poke(cells, at + 1 + c, (((upper << PACKED_ROWS) | lower) << 1) | 1)


@kernel
def _sum(weights: NDArray[np.float32], cells: NDArray[np.int64], at: int, width: int) -> float:
    """The sum of all windows."""
    total = 0.0
    for c in range(width - 1):
        for row in range(rows_of(cells, at, c)):
            total += peek(weights, entry_of(cells, at, c, row, width))
    return total


@kernel
def board_values(
    columns: NDArray[np.int64],
    height: int,
    features: NDArray[np.float32],
    flags: NDArray[np.uint8],
    weights: NDArray[np.float32],
    bias: float,
    death_reward: float,
    values: NDArray[np.float32],
    cells: NDArray[np.int64],
    before: NDArray[np.float32],
) -> int:
    """Value the afterstates of one board; returns the best action.

    Only the windows that a piece changes are looked up anew, except where it clears lines. The best
    is the one with the greatest sum of windows, the lowest action among equals: sums still tell
    two boards apart where both are as good as lost and their values are the same in float32.
    Where every candidate ends the game it is the first one.

    Args:
        columns: int64[W]: the board before.
        height: Its rows H.
        features: float32[4W, 2W]: the afterstates.
        flags: uint8[4W]: and what `afterstates` says of them.
        weights: float32[ENTRIES]: the table.
        bias: What is added to the windows' sum.
        death_reward: What the value is near where the game is lost.
        values: float32[4W]: filled where there is an afterstate.
        cells: int64[>= 2 (W + 2)]: scratch.
        before: float32, at least 44 (W - 1) numbers, of any shape: scratch.
    """
    width = columns.shape[0]
    after = width + 2
    poke(cells, 0, 0)
    poke(cells, width + 1, 0)
    for c in range(width):
        poke(cells, 1 + c, (columns[c] << 1) | 1)
    total = bias
    for c in range(width - 1):
        rows = rows_of(cells, 0, c)
        for row in range(rows):
            weight = peek(weights, entry_of(cells, 0, c, row, width))
            poke(before, c * ROWS + row, weight)
            total += weight
        for row in range(rows, height + 1):
            poke(before, c * ROWS + row, _ZERO)
    best = -1
    greatest = 0.0
    for action in range(4 * width):
        if flags[action] & (CANDIDATE | ENDS_GAME) != CANDIDATE:
            continue
        unpack(features, action, width, cells, after)
        if flags[action] >> LINES_SHIFT:
            sum_after = bias + _sum(weights, cells, after, width)
        else:
            changes = 0
            first, last = width, 0
            for c in range(1, width + 1):
                change = peek(cells, after + c) ^ peek(cells, c)
                if change:
                    first, last = min(first, c), c
                    changes |= change
            sum_after = total
            lowest = max(0, trailing_zeros(changes) - (SIDE - 1))
            highest = 63 - leading_zeros(changes)
            for c in range(max(0, first - (SIDE - 1)), min(width - 1, last + 1)):
                for row in range(lowest, highest + 1):
                    weight = peek(weights, entry_of(cells, after, c, row, width))
                    sum_after += weight - peek(before, c * ROWS + row)
        values[action] = death_reward / (1.0 + np.exp(sum_after))
        if best < 0 or sum_after > greatest:
            best, greatest = action, sum_after
    if best < 0:
        best = 0
        while not flags[best] & CANDIDATE:
            best += 1
    return best

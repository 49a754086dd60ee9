"""Where the kernels of `afterstates` keep what they know about a board: two arrays of rows.

They lie on the stack, fresh ones for each call. Rows have a fixed length and stand beside each
other, so that whatever is read a little to the left or right of a board is there.

The placements of one rotation are looked at side by side: lane k is the placement whose
leftmost cell is in column k. Kernels take several lanes at once (`vectors`); what they find
in the lanes behind the last placement is never used.
"""

from __future__ import annotations

from numba import types

from mltetris_server.game.compiling import stack_array
from mltetris_server.game.config import MAX_WIDTH  # compiled into kernels

# Left of column 0 stand a spare and a wall; on the right the wall and what the last lanes read.
_MARGIN = 2
STRIDE = MAX_WIDTH + 16


def _row(number: int) -> int:
    """Where column 0 or lane 0 of a row of whole numbers is."""
    return number * STRIDE + _MARGIN


# The board as it stands, by column.
CELLS = _row(0)  # bit k: the cell k rows up; the walls are filled
TOPS = _row(1)  # heights
HOLES = _row(2)  # number of holes
LEFT_FULL, RIGHT_FULL = _row(3), _row(4)  # rows filled in all columns left, right of it
LEFT_SUM, RIGHT_SUM = _row(5), _row(6)  # counts that stay as they are if it and all right, left
LEFT_KINDS, RIGHT_KINDS = _row(7), _row(8)  # of it change; the same of the kinds of steps
PAIR = _row(9)  # all ones where columns c - 1 and c are both on the board, else 0
STEPS = _row(10)  # by how much the heights of c - 1 and c differ; 0 where there is no pair
BORDERS = _row(11)  # row transitions between c - 1 and c, packed
WELLS = _row(12)  # wells, packed
COUNTS = _row(13)  # holes, hole depth and column transitions, packed
# How long the run of empty cells is that begins with a cell and goes straight down: row
# RUNS + j * STRIDE has bit j of it, for the six bits it can have; with j = LONG, whether it
# is 8 or more.
RUNS = _row(14)
LONG = 6
# The columns after one placement, full rows taken out.
AFTER = _row(21)

# The placements of a rotation, by lane.
FULL = _row(22)  # the rows that it completes
NEW_CELLS = _row(23)  # and the three after it: the piece's columns, the piece included
NEW_TOPS = _row(27)  # and the three after it: their heights
# The row that the piece's box comes to rest in; one row of lanes for each rotation.
LANDINGS = _row(31)

new_scratch = stack_array(types.int64, 35 * STRIDE)

# What rows of features are put together from, as float32. BCTS and DT: WHOLE. SIMPLE and BOARD
# rows differ in few places from the board's OWN: in WINDOW, four columns from the piece's first
# one on, and in the last four numbers, END.
SCALES = 0
OWN = 2 * STRIDE
WHOLE = 4 * STRIDE
WHOLE_STEP = 12  # from one lane's row to the next; WINDOW and END have 4
WINDOW = 4 * STRIDE
UPPER_WINDOW = 8 * STRIDE  # BOARD: of the upper rows
END = 12 * STRIDE  # SIMPLE

new_numbers = stack_array(types.float32, 16 * STRIDE)

"""Every placement's afterstate, described by features: the kernel that learning lives on.

Only what a placement changes is counted anew: the piece's columns and their
neighbours, on top of prefix sums over the board as it stands.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mltetris_server.game.compiling import kernel, leading_zeros, popcount, trailing_zeros
from mltetris_server.game.games import FATAL, ILLEGAL, Games, landing_row
from mltetris_server.game.pieces import BITS, HEIGHT, LEFT, TWIN, TWIN_SHIFT, WIDTH

# Bits of a placement's flags.
LEGAL = 1  # inside the board's sides
CANDIDATE = 2  # legal, and no lower action leaves the same board
ENDS_GAME = 4  # the placement itself ends the game
LINES_SHIFT = 3  # flags >> LINES_SHIFT: lines it clears, 0..4

# Rows of `Games.work`, each a padded board row: column c stands at c + 1.
_CELLS, _COUNTS, _WELLS, _PAIRS, _ALL_LEFT, _ALL_RIGHT, _ANY_LEFT, _ANY_RIGHT = range(8)
_CLEARED = 8  # the columns once full rows are taken out
_LANDING = 9  # and the three after it: where each rotation lands in column c, at c

# One int64 holds four counts of 12 bits (holes, hole depth, column transitions, row
# transitions; each below 1,500 on the largest board) and above them the wells.
_DEPTH, _COLUMN, _ROW, _WELL = 12, 24, 36, 48
_COUNT_MASK = (1 << 12) - 1


@kernel
def _column_counts(bits: int) -> int:
    """Holes, hole depth and column transitions of one column, packed."""
    filled = popcount(bits)
    holes = 64 - leading_zeros(bits) - filled
    # Filled cells above the lowest empty one stand, run by run, on a hole.
    depth = filled - trailing_zeros(~bits)
    # The floor counts as filled and what is above the board as empty.
    transitions = popcount(bits ^ ((bits << 1) | 1))
    return holes | (depth << _DEPTH) | (transitions << _COLUMN)


@kernel
def _column_wells(left: int, bits: int, right: int) -> int:
    """Dellacherie's cumulative wells of a column between two neighbours, packed."""
    total = 0
    well = left & right & ~bits
    while well:
        total += popcount(well)
        well = (well >> 1) & ~bits
    return total << _WELL


@kernel
def _column_holes(bits: int) -> int:
    """The empty cells of a column with a filled one above, as bits."""
    return ~bits & ((1 << (64 - leading_zeros(bits))) - 1)


@kernel
def _prepare(games: Games, i: int) -> None:
    """Prefix sums over the board as it stands, into `games.work[i]`."""
    work = games.work
    width = games.settings[0]
    wall = (1 << games.settings[1]) - 1
    work[i, _CELLS, 0] = wall
    work[i, _CELLS, width + 1] = wall
    for c in range(width):
        work[i, _CELLS, c + 1] = games.columns[i, c]
    # Sums over everything before an index; wells and counts by column, pairs by the
    # border between column c - 1 and column c.
    counts = 0
    wells = 0
    pairs = 0
    everywhere = wall
    anywhere = 0
    for c in range(1, width + 2):
        bits = work[i, _CELLS, c]
        work[i, _COUNTS, c] = counts
        work[i, _WELLS, c] = wells
        work[i, _PAIRS, c] = pairs
        work[i, _ALL_LEFT, c] = everywhere
        work[i, _ANY_LEFT, c] = anywhere
        pairs += popcount(work[i, _CELLS, c - 1] ^ bits) << _ROW
        if c <= width:
            counts += _column_counts(bits)
            wells += _column_wells(work[i, _CELLS, c - 1], bits, work[i, _CELLS, c + 1])
            everywhere &= bits
            anywhere |= _column_holes(bits)
    work[i, _PAIRS, width + 2] = pairs
    work[i, _WELLS, width + 2] = wells
    everywhere = wall
    anywhere = 0
    for c in range(width, -1, -1):
        # [c]: over the columns right of c.
        work[i, _ALL_RIGHT, c] = everywhere
        work[i, _ANY_RIGHT, c] = anywhere
        bits = work[i, _CELLS, c]
        everywhere &= bits
        anywhere |= _column_holes(bits)


@kernel
def _counts_around(games: Games, i: int, first: int, last: int) -> int:
    """Packed counts of the afterstate whose changed columns first..last stand in _CELLS."""
    work = games.work
    width = games.settings[0]
    well_first = max(first - 1, 1)
    well_last = min(last + 1, width)
    total: int = (
        work[i, _COUNTS, width + 1]
        - (work[i, _COUNTS, last + 1] - work[i, _COUNTS, first])
        + work[i, _WELLS, width + 1]
        - (work[i, _WELLS, well_last + 1] - work[i, _WELLS, well_first])
        + work[i, _PAIRS, width + 2]
        - (work[i, _PAIRS, last + 2] - work[i, _PAIRS, first])
    )
    for c in range(first, last + 1):
        total += _column_counts(work[i, _CELLS, c])
    for c in range(first, last + 2):
        total += popcount(work[i, _CELLS, c - 1] ^ work[i, _CELLS, c]) << _ROW
    for c in range(well_first, well_last + 1):
        total += _column_wells(work[i, _CELLS, c - 1], work[i, _CELLS, c], work[i, _CELLS, c + 1])
    return total


@kernel
def _clear_and_count(games: Games, i: int, full: int) -> int:
    """Take the rows `full` out of _CELLS into _CLEARED and return all packed counts."""
    work = games.work
    width = games.settings[0]
    wall = work[i, _CELLS, 0]
    for c in range(1, width + 1):
        bits = work[i, _CELLS, c]
        rows = full
        while rows:
            below = (rows & -rows) - 1
            bits = (bits & below) | ((bits >> 1) & ~below)
            rows = (rows & (rows - 1)) >> 1
        work[i, _CLEARED, c] = bits
    work[i, _CLEARED, 0] = wall
    work[i, _CLEARED, width + 1] = wall
    total = 0
    for c in range(1, width + 2):
        bits = work[i, _CLEARED, c]
        before = work[i, _CLEARED, c - 1]
        total += popcount(before ^ bits) << _ROW
        if c <= width:
            total += _column_counts(bits)
            total += _column_wells(before, bits, work[i, _CLEARED, c + 1])
    return total


@kernel
def afterstates(
    games: Games,
    i: int,
    feature_set: int,
    scales: NDArray[np.float32],
    features: NDArray[np.float32],
    flags: NDArray[np.uint8],
) -> int:
    """Describe what every placement of board i's active piece leaves behind.

    With A = 4W actions and F = `n_features`:

    Args:
        games: The games; only board i's scratch changes.
        i: The board.
        feature_set: `FeatureSet.code`.
        scales: float32[F]: what each feature is multiplied by: `feature_scales` for
            networks, `raw_scales` for the features as defined below.
        features: float32[A, F], filled: the afterstate's features where the placement
            is legal and does not end the game, else zeros. Lines are cleared first.
        flags: uint8[A], filled: LEGAL (1), CANDIDATE (2), ENDS_GAME (4), and the
            number of lines the placement clears above them (`flags >> LINES_SHIFT`).

    Returns:
        The number of candidates. It is at least 1.

    A candidate is a legal placement with no equal at a lower action number; equal
    means the same cells, or ending the game by the same cells. Whether the next piece
    finds its spawn cells free is not looked at: ENDS_GAME is the placement's own end.

    SIMPLE (code 0), as tetris-gymnasium's FeatureVectorObservation defines them, after
    github.com/uvipen/Tetris-deep-Q-learning-pytorch: the height of each column (rows
    up to its highest filled cell), the greatest of them, the holes (empty cells with a
    filled one above in their column), and the bumpiness (sum of the absolute
    differences of neighbouring heights).

    BCTS (code 1), as Thiery & Scherrer (2009), "Improvements on Learning Tetris with
    Cross Entropy", define them and their program MDPTetris computes them; the first
    six are Dellacherie's (Fahey 2003, "Tetris AI"):

    0. landing height: row of the piece's lowest cell, plus (its height - 1) / 2
    1. eroded cells: lines cleared times the piece's own cells in them
    2. row transitions: changes between filled and empty along each row, the walls
       being filled, less the two every row has at least. (Published: not less. On
       one board that is a constant; without it the count does not depend on how
       many empty rows a board has, so boards of any height compare.)
    3. column transitions: the same along columns, the floor being filled
    4. holes, as above
    5. cumulative wells: for each empty cell between two filled ones (or walls), it and
       the empty cells straight below it
    6. hole depth: for each hole with a filled cell on it, the run of filled cells there
    7. rows with holes
    """
    work = games.work
    width = games.settings[0]
    piece = games.pieces[i, 0]
    n_features = scales.shape[0]
    candidates = 0
    _prepare(games, i)
    for column in range(width):
        for rotation in range(4):
            action = 4 * column + rotation
            row = landing_row(games, i, piece, action)
            work[i, _LANDING + rotation, column] = row
            if row < 0:
                for k in range(n_features):
                    features[action, k] = 0
                if row == ILLEGAL:
                    flags[action] = 0
                    continue
            twin = TWIN[piece, rotation]
            if twin >= 0:
                twin_column = column + TWIN_SHIFT[piece, rotation]
                if twin_column < width and work[i, _LANDING + twin, twin_column] == row:
                    same = 4 * twin_column + twin
                    for k in range(n_features):
                        features[action, k] = features[same, k]
                    flags[action] = flags[same] & ~np.uint8(CANDIDATE)
                    continue
            candidates += 1
            if row == FATAL:
                flags[action] = LEGAL | CANDIDATE | ENDS_GAME
                continue

            first = column + LEFT[piece, rotation] + 1
            last = first + WIDTH[piece, rotation] - 1
            full = work[i, _ALL_LEFT, first] & work[i, _ALL_RIGHT, last]
            for c in range(first, last + 1):
                work[i, _CELLS, c] |= BITS[piece, rotation, c - first] << row
                full &= work[i, _CELLS, c]
            lines = popcount(full)
            flags[action] = LEGAL | CANDIDATE | (lines << LINES_SHIFT)
            cells = _CELLS
            if full:
                total = _clear_and_count(games, i, full)
                cells = _CLEARED
            else:
                total = _counts_around(games, i, first, last)
            if feature_set == 0:
                _write_simple(games, i, cells, total, scales, features, action)
            else:
                eroded = 0
                if full:
                    for c in range(first, last + 1):
                        own = BITS[piece, rotation, c - first] << row
                        eroded += popcount(own & full)
                landing = row + (HEIGHT[piece, rotation] - 1) * 0.5
                features[action, 0] = scales[0] * landing
                features[action, 1] = scales[1] * (lines * eroded)
                rows = ((total >> _ROW) & _COUNT_MASK) - 2 * games.settings[1]
                features[action, 2] = scales[2] * rows
                features[action, 3] = scales[3] * ((total >> _COLUMN) & _COUNT_MASK)
                features[action, 4] = scales[4] * (total & _COUNT_MASK)
                features[action, 5] = scales[5] * (total >> _WELL)
                features[action, 6] = scales[6] * ((total >> _DEPTH) & _COUNT_MASK)
                if full:
                    holes = 0
                    for c in range(1, width + 1):
                        holes |= _column_holes(work[i, _CLEARED, c])
                else:
                    holes = work[i, _ANY_LEFT, first] | work[i, _ANY_RIGHT, last]
                    for c in range(first, last + 1):
                        holes |= _column_holes(work[i, _CELLS, c])
                features[action, 7] = scales[7] * popcount(holes)
            for c in range(first, last + 1):
                work[i, _CELLS, c] = games.columns[i, c - 1]
    return candidates


@kernel
def _write_simple(
    games: Games,
    i: int,
    cells: int,
    total: int,
    scales: NDArray[np.float32],
    features: NDArray[np.float32],
    action: int,
) -> None:
    width = games.settings[0]
    greatest = 0
    bumpiness = 0
    before = -1
    for column in range(width):
        top = 64 - leading_zeros(games.work[i, cells, column + 1])
        features[action, column] = scales[column] * top
        greatest = max(greatest, top)
        if column > 0:
            bumpiness += abs(top - before)
        before = top
    features[action, width] = scales[width] * greatest
    features[action, width + 1] = scales[width + 1] * (total & _COUNT_MASK)
    features[action, width + 2] = scales[width + 2] * bumpiness

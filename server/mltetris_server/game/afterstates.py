"""Every placement's afterstate, described by features: the kernel that learning lives on.

Only what a placement changes is counted anew: the piece's columns and their
neighbours, on top of sums over the columns left and right of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mltetris_server.game.compiling import (
    kernel,
    leading_zeros,
    peek,
    poke,
    popcount,
    trailing_zeros,
)
from mltetris_server.game.config import PACKED_ROWS
from mltetris_server.game.games import FATAL, Games, landing_row
from mltetris_server.game.pieces import (
    BITS,
    BOTTOM,
    HEIGHT,
    LEFT,
    START,
    TWIN,
    TWIN_SHIFT,
    WIDTH,
)

# Bits of a placement's flags.
LEGAL = 1  # inside the board's sides
CANDIDATE = 2  # legal, and no lower action leaves the same board
ENDS_GAME = 4  # the placement itself ends the game
LINES_SHIFT = 3  # flags >> LINES_SHIFT: lines it clears, 0..4

# Rows of `Games.work`, each W + 4 long: column c stands at c + 2, between a wall
# (all ones) and a spare on either side.
_CELLS = 0  # the columns
_TOPS = 1  # their heights
_LEFT_COUNTS = 2  # at c: packed counts that a change in columns >= c leaves alone
_RIGHT_COUNTS = 3  # at c: packed counts that a change in columns <= c leaves alone
_LEFT_ALL, _RIGHT_ALL = 4, 5  # rows filled in all columns < c, > c
_LEFT_HOLES, _RIGHT_HOLES = 6, 7  # rows with a hole in a column < c, > c
_CLEARED = 8  # the columns once full rows are taken out
_LANDING = 9  # and the three after it: where each rotation lands, by action column

# A twin's rotation comes before the rotation that has it.
_ROTATIONS = (0, 3, 2, 1)

# One int64 holds four counts of 12 bits (holes, hole depth, column transitions, row
# transitions; each below 1,500 on the largest board) and above them the wells.
_DEPTH, _COLUMN, _ROW, _WELL = 12, 24, 36, 48
_COUNT_MASK = (1 << 12) - 1
_PACKED_MASK = (1 << PACKED_ROWS) - 1


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
    """Dellacherie's cumulative wells of a column between two neighbours, packed.

    Of a wall there are none: it has no empty cell on the board.
    """
    total = 0
    well = left & right & ~bits
    while well:
        total += popcount(well)
        well = (well >> 1) & ~bits
    return total << _WELL


@kernel
def _border(left: int, bits: int) -> int:
    """Row transitions between two neighbours, packed."""
    return popcount(left ^ bits) << _ROW


@kernel
def _column_holes(bits: int) -> int:
    """The empty cells of a column with a filled one above, as bits."""
    return ~bits & ((1 << (64 - leading_zeros(bits))) - 1)


@kernel
def _prepare(work: NDArray[np.int64], columns: NDArray[np.int64], width: int, wall: int) -> None:
    """Fill `work` int64[13 * (W + 4)] with what is known about the board as it stands."""
    stride = width + 4
    poke(work, 1, wall)
    poke(work, width + 2, wall)
    for c in range(width):
        bits = columns[c]
        poke(work, c + 2, bits)
        poke(work, _TOPS * stride + c + 2, 64 - leading_zeros(bits))
    counts = 0
    everywhere = wall
    holes = 0
    before, left = 0, wall
    for c in range(2, width + 2):
        poke(work, _LEFT_COUNTS * stride + c, counts)
        poke(work, _LEFT_ALL * stride + c, everywhere)
        poke(work, _LEFT_HOLES * stride + c, holes)
        bits = peek(work, c)
        counts += _column_counts(bits) + _border(left, bits) + _column_wells(before, left, bits)
        everywhere &= bits
        holes |= _column_holes(bits)
        before, left = left, bits
    counts = 0
    everywhere = wall
    holes = 0
    before, left = 0, wall
    for c in range(width + 1, 1, -1):
        poke(work, _RIGHT_COUNTS * stride + c, counts)
        poke(work, _RIGHT_ALL * stride + c, everywhere)
        poke(work, _RIGHT_HOLES * stride + c, holes)
        bits = peek(work, c)
        counts += _column_counts(bits) + _border(left, bits) + _column_wells(before, left, bits)
        everywhere &= bits
        holes |= _column_holes(bits)
        before, left = left, bits


@kernel
def _clear(work: NDArray[np.int64], width: int, full: int) -> None:
    """Take the rows `full` out of _CLEARED."""
    start = _CLEARED * (width + 4)
    for c in range(start + 2, start + width + 2):
        bits = peek(work, c)
        rows = full
        while rows:
            below = (rows & -rows) - 1
            bits = (bits & below) | ((bits >> 1) & ~below)
            rows = (rows & (rows - 1)) >> 1
        poke(work, c, bits)


@kernel
def _count_cleared(work: NDArray[np.int64], width: int) -> tuple[int, int]:
    """All packed counts and the rows with holes of _CLEARED."""
    start = _CLEARED * (width + 4)
    total = 0
    holes = 0
    wall = peek(work, 1)
    before, left = 0, wall
    for c in range(start + 2, start + width + 2):
        bits = peek(work, c)
        total += _column_counts(bits) + _border(left, bits) + _column_wells(before, left, bits)
        holes |= _column_holes(bits)
        before, left = left, bits
    total += _border(left, wall) + _column_wells(before, left, wall)
    return total, holes


@kernel
def _write_simple(
    work: NDArray[np.int64],
    cells: int,
    width: int,
    total: int,
    scales: NDArray[np.float32],
    features: NDArray[np.float32],
    out: int,
) -> None:
    """The SIMPLE features of the columns from work[cells] on, into features.flat[out]..."""
    greatest = 0
    bumpiness = 0
    before = 64 - leading_zeros(peek(work, cells))
    for c in range(width):
        top = 64 - leading_zeros(peek(work, cells + c))
        poke(features, out + c, peek(scales, c) * np.float32(top))
        greatest = max(greatest, top)
        bumpiness += abs(top - before)
        before = top
    out += width
    poke(features, out, peek(scales, width) * np.float32(greatest))
    poke(features, out + 1, peek(scales, width + 1) * np.float32(total & _COUNT_MASK))
    poke(features, out + 2, peek(scales, width + 2) * np.float32(bumpiness))


@kernel
def _write_packed(
    work: NDArray[np.int64],
    cells: int,
    width: int,
    scales: NDArray[np.float32],
    features: NDArray[np.float32],
    out: int,
) -> None:
    """The BOARD features of the columns from work[cells] on, into features.flat[out]..."""
    for c in range(width):
        bits = peek(work, cells + c)
        lower = np.float32(bits & _PACKED_MASK)
        poke(features, out + c, peek(scales, c) * lower)
        upper = np.float32(bits >> PACKED_ROWS)
        poke(features, out + width + c, peek(scales, width + c) * upper)


@kernel
def _diversity(work: NDArray[np.int64], cells: int, width: int) -> int:
    """How many of -2..2 are among the differences of neighbouring heights."""
    seen = 0
    before = 64 - leading_zeros(peek(work, cells))
    for c in range(1, width):
        top = 64 - leading_zeros(peek(work, cells + c))
        if -2 <= top - before <= 2:
            seen |= 1 << (top - before + 2)
        before = top
    return popcount(seen)


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

    Raises:
        ValueError: An array's shape does not fit the board or the feature set.

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

    DT (code 2), as Gabillon, Ghavamzadeh & Scherrer (2013) and Scherrer et al. (2015) use
    them: BCTS, and

    8. pattern diversity, as their program MDPTetris counts it: how many of the numbers
       -2, -1, 0, 1, 2 occur among the height differences of neighbouring columns
       (height of column c + 1 less height of column c, for c = 0..W-2); 0..5

    BOARD (code 3): the cells, packed so that float32 holds them exactly. Number c is
    rows 0..19 of column c as a whole number, bit k the k-th row from the floor; number
    W + c is its rows 20..39. `packing.unpack_cells` makes cells of them.
    """
    width: int = games.settings[0]
    height: int = games.settings[1]
    published = games.settings[2] == 1
    piece = games.pieces[i, 0]
    n_features = 8
    if feature_set == 0:
        n_features = width + 3
    elif feature_set == 2:
        n_features = 9
    elif feature_set == 3:
        n_features = 2 * width
    if (
        scales.shape[0] != n_features
        or features.shape != (4 * width, n_features)
        or flags.shape[0] != 4 * width
    ):
        raise ValueError("scales, features or flags do not fit the board and the feature set")
    stride = width + 4
    work = games.work[i]
    wall = (1 << height) - 1
    _prepare(work, games.columns[i], width, wall)
    for action in range(4 * width):
        flags[action] = 0
    candidates = 0
    for rotation in _ROTATIONS:
        shape = 4 * piece + rotation
        span: int = peek(WIDTH, shape)
        tall: int = peek(HEIGHT, shape)
        left: int = peek(LEFT, shape)
        start = height + peek(START, shape)
        twin = peek(TWIN, shape)
        twin_shift = peek(TWIN_SHIFT, shape)
        landings = (_LANDING + rotation) * stride
        twin_landings = (_LANDING + twin) * stride
        for column in range(-left, min(width, width - span - left + 1)):
            action = 4 * column + rotation
            out = action * n_features
            first = column + left + 2
            last = first + span - 1
            row = 0
            for k in range(span):
                top = peek(work, _TOPS * stride + first + k)
                row = max(row, top - peek(BOTTOM, 4 * shape + k))
            if published:
                if row + tall > height:
                    row = FATAL
            elif row > start:
                row = landing_row(games, i, piece, action)
            poke(work, landings + column, row)
            if twin >= 0 and column + twin_shift < width:
                same = 4 * (column + twin_shift) + twin
                if peek(work, twin_landings + column + twin_shift) == row:
                    for k in range(n_features):
                        poke(features, out + k, peek(features, same * n_features + k))
                    flags[action] = flags[same] & ~np.uint8(CANDIDATE)
                    continue
            candidates += 1
            if row == FATAL:
                for k in range(n_features):
                    poke(features, out + k, np.float32(0))
                flags[action] = LEGAL | CANDIDATE | ENDS_GAME
                continue

            full = peek(work, _LEFT_ALL * stride + first) & peek(work, _RIGHT_ALL * stride + last)
            if full:
                for k in range(span):
                    bits = peek(work, first + k) | (peek(BITS, 4 * shape + k) << row)
                    full &= bits
            lines = 0
            eroded = 0
            cells = 2
            if full or feature_set != 1:
                # The rare case, or one that needs every column anyhow.
                cells = _CLEARED * stride + 2
                for c in range(width):
                    poke(work, cells + c, peek(work, 2 + c))
                cells_first = _CLEARED * stride + first
                for k in range(span):
                    own = peek(BITS, 4 * shape + k) << row
                    poke(work, cells_first + k, peek(work, cells_first + k) | own)
                    eroded += popcount(own & full)
            if full:
                lines = popcount(full)
                _clear(work, width, full)
            if feature_set == 3:
                flags[action] = LEGAL | CANDIDATE | (lines << LINES_SHIFT)
                _write_packed(work, cells, width, scales, features, out)
                continue
            if full:
                total, holes = _count_cleared(work, width)
            else:
                total = peek(work, _LEFT_COUNTS * stride + first) + peek(
                    work, _RIGHT_COUNTS * stride + last
                )
                holes = peek(work, _LEFT_HOLES * stride + first) | peek(
                    work, _RIGHT_HOLES * stride + last
                )
                two_left = peek(work, first - 2)
                one_left = peek(work, first - 1)
                for k in range(span):
                    bits = peek(work, first + k) | (peek(BITS, 4 * shape + k) << row)
                    total += (
                        _column_counts(bits)
                        + _border(one_left, bits)
                        + _column_wells(two_left, one_left, bits)
                    )
                    holes |= _column_holes(bits)
                    two_left, one_left = one_left, bits
                bits = peek(work, last + 1)
                total += (
                    _border(one_left, bits)
                    + _column_wells(two_left, one_left, bits)
                    + _column_wells(one_left, bits, peek(work, last + 2))
                )
            flags[action] = LEGAL | CANDIDATE | (lines << LINES_SHIFT)
            if feature_set == 0:
                _write_simple(work, cells, width, total, scales, features, out)
                continue
            landing = np.float32(row) + np.float32(tall - 1) * np.float32(0.5)
            rows = ((total >> _ROW) & _COUNT_MASK) - 2 * height
            poke(features, out, peek(scales, 0) * landing)
            poke(features, out + 1, peek(scales, 1) * np.float32(lines * eroded))
            poke(features, out + 2, peek(scales, 2) * np.float32(rows))
            poke(features, out + 3, peek(scales, 3) * np.float32((total >> _COLUMN) & _COUNT_MASK))
            poke(features, out + 4, peek(scales, 4) * np.float32(total & _COUNT_MASK))
            poke(features, out + 5, peek(scales, 5) * np.float32(total >> _WELL))
            poke(features, out + 6, peek(scales, 6) * np.float32((total >> _DEPTH) & _COUNT_MASK))
            poke(features, out + 7, peek(scales, 7) * np.float32(popcount(holes)))
            if feature_set == 2:
                diversity = np.float32(_diversity(work, cells, width))
                poke(features, out + 8, peek(scales, 8) * diversity)
    for action in range(4 * width):
        if flags[action] == 0:
            for k in range(n_features):
                poke(features, action * n_features + k, np.float32(0))
    return candidates

"""Every placement's afterstate, described by features: the kernel that learning lives on.

In stages: what is known about the board as it stands (`standing`); for each rotation of the
piece, what its placements change, all of them side by side (`drops`); their rows of features
(`rows`); and then, one by one, the few placements that do more than add to the board (`whole`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mltetris_server.game.compiling import inlined, kernel, peek, poke
from mltetris_server.game.config import PACKED_ROWS
from mltetris_server.game.drops import count_bcts, count_diversity, count_simple, drop, pack_lanes
from mltetris_server.game.games import FATAL, Games, fall
from mltetris_server.game.pieces import HEIGHT, LEFT, START, TWIN, TWIN_SHIFT, WIDTH
from mltetris_server.game.rows import (
    BOARD,
    DT,
    SIMPLE,
    clear_row,
    copy_row,
    length_of_row,
    write_lanes,
    write_own,
    write_whole,
)
from mltetris_server.game.scratch import (
    CELLS,
    FULL,
    LANDINGS,
    STRIDE,
    new_numbers,
    new_scratch,
)
from mltetris_server.game.standing import (
    ROW,
    collect_kinds,
    count_board,
    measure_steps,
    read_board,
)
from mltetris_server.game.whole import settle_apart

# Bits of a placement's flags.
LEGAL = 1  # inside the board's sides
CANDIDATE = 2  # legal, and no lower action leaves the same board
ENDS_GAME = 4  # the placement itself ends the game
LINES_SHIFT = 3  # flags >> LINES_SHIFT: lines it clears, 0..4

# A twin's rotation comes before those that have it, with none but these in between.
_ROTATIONS = (0, 2, 3, 1)


@inlined
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
    return _describe(
        games.columns,
        i,
        games.pieces[i, 0],
        games.settings[0],
        games.settings[1],
        games.settings[2] == 1,
        feature_set,
        scales,
        features,
        flags,
    )


@kernel
def _describe(
    columns: NDArray[np.int64],
    i: int,
    piece: int,
    width: int,
    height: int,
    published: bool,
    feature_set: int,
    scales: NDArray[np.float32],
    features: NDArray[np.float32],
    flags: NDArray[np.uint8],
) -> int:
    """What `afterstates` does, with what it needs of the games."""
    length = length_of_row(feature_set, width)
    if (
        scales.shape[0] != length
        or features.shape != (4 * width, length)
        or flags.shape[0] != 4 * width
    ):
        raise ValueError("scales, features or flags do not fit the board and the feature set")
    work = new_scratch()
    numbers = new_numbers()
    greatest = read_board(work, columns, i, width, (1 << height) - 1)
    # SIMPLE: bumpiness and holes. BCTS and DT: packed counts, and rows with holes as bits.
    total = 0
    spoilt = 0
    if feature_set == SIMPLE:
        total, spoilt = measure_steps(work, width)
        write_own(work, numbers, width, feature_set, scales)
    elif feature_set == BOARD:
        write_own(work, numbers, width, feature_set, scales)
    else:
        total, spoilt = count_board(work, width)
        # Every row that is not full changes at least twice between the walls.
        total -= (2 * height) << ROW
        if feature_set == DT:
            collect_kinds(work, width)
    has_upper = height > PACKED_ROWS
    step = 4 * length
    candidates = 0
    # The rotation whose lanes are in the scratch, if others may be its twins.
    source = -1
    source_limit = 0
    reach = 0
    completes = False
    for rotation in _ROTATIONS:
        shape = 4 * piece + rotation
        span = peek(WIDTH, shape)
        tall = peek(HEIGHT, shape)
        left = peek(LEFT, shape)
        twin = peek(TWIN, shape)
        landings = LANDINGS + rotation * STRIDE
        # Lane 0's action, and how many lanes there are.
        first = rotation - 4 * left
        placements = min(width, width - span - left + 1) + left
        for lane in range(left, 0):
            poke(flags, first + 4 * lane, np.uint8(0))
            clear_row(features, (first + 4 * lane) * length, length)
        for lane in range(placements, width + left):
            poke(flags, first + 4 * lane, np.uint8(0))
            clear_row(features, (first + 4 * lane) * length, length)
        # The highest row that a piece can rest in without a closer look.
        limit = height - tall if published else height + peek(START, shape)
        out = first * length
        to_twin = 4 * peek(TWIN_SHIFT, shape) + twin - rotation
        if twin >= 0 and twin == source and reach <= min(limit, source_limit):
            # The same cells in the same lanes.
            write_lanes(
                numbers, features, out, step, placements, width, span, feature_set, has_upper
            )
            for lane in range(placements):
                poke(flags, first + 4 * lane, np.uint8(LEGAL))
            if completes:
                for lane in range(placements):
                    if peek(work, FULL + lane):
                        _repeat(features, flags, first + 4 * lane, to_twin, length)
            continue
        reach, completes = drop(work, shape, span, placements, landings)
        source = rotation if twin < 0 else -1
        source_limit = limit
        if feature_set == SIMPLE:
            count_simple(work, shape, span, placements, width, total, spoilt, greatest, numbers)
        elif feature_set == BOARD:
            pack_lanes(work, span, placements, width, has_upper, numbers)
        else:
            count_bcts(
                work, shape, span, placements, landings, total, spoilt, tall, scales, numbers
            )
            if feature_set == DT:
                count_diversity(work, span, placements, peek(scales, 8), numbers)
        write_lanes(numbers, features, out, step, placements, width, span, feature_set, has_upper)
        candidates += placements
        for lane in range(placements):
            poke(flags, first + 4 * lane, np.uint8(LEGAL | CANDIDATE))
        if twin < 0 and not completes and reach <= limit:
            continue
        for lane in range(placements):
            action = first + 4 * lane
            dropped = peek(work, landings + lane)
            row = dropped
            if dropped > limit:
                row = FATAL if published else fall(work, CELLS + lane, shape, limit)
                poke(work, landings + lane, row)
            if twin >= 0 and peek(work, LANDINGS + twin * STRIDE + lane) == row:
                _repeat(features, flags, action, to_twin, length)
                candidates -= 1
            elif row == FATAL:
                poke(flags, action, np.uint8(LEGAL | CANDIDATE | ENDS_GAME))
                clear_row(features, action * length, length)
            elif row != dropped or peek(work, FULL + lane):
                lines, own = settle_apart(work, width, shape, span, lane, row)
                poke(flags, action, np.uint8(LEGAL | CANDIDATE | (lines << LINES_SHIFT)))
                write_whole(
                    work,
                    width,
                    height,
                    2 * row + tall - 1,
                    lines * own,
                    feature_set,
                    scales,
                    features,
                    action * length,
                )
    return candidates


@inlined
def _repeat(
    features: NDArray[np.float32], flags: NDArray[np.uint8], action: int, to_twin: int, length: int
) -> None:
    """Make an action's row that of its twin, `to_twin` actions further on, and no candidate."""
    copy_row(features, action * length, (action + to_twin) * length, length)
    poke(flags, action, peek(flags, action + to_twin) & ~np.uint8(CANDIDATE))

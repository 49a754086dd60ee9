"""Rows of features: written from what was counted lane by lane, or for one whole afterstate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mltetris_server.game.compiling import inlined, kernel, leading_zeros, peek, poke, popcount
from mltetris_server.game.config import PACKED_ROWS, FeatureSet
from mltetris_server.game.drops import PACKED_MASK
from mltetris_server.game.scratch import (
    AFTER,
    CELLS,
    END,
    OWN,
    SCALES,
    TOPS,
    UPPER_WINDOW,
    WHOLE,
    WHOLE_STEP,
    WINDOW,
)
from mltetris_server.game.standing import COLUMN, COUNT_MASK, DEPTH, ROW, WELL
from mltetris_server.game.vectors import (
    LANES,
    copy_eights,
    copy_fours,
    load,
    load_floats,
    store_floats,
    times,
)
from mltetris_server.game.whole import count_whole

SIMPLE, BCTS, DT, BOARD = (
    FeatureSet.SIMPLE.code,
    FeatureSet.BCTS.code,
    FeatureSet.DT.code,
    FeatureSet.BOARD.code,
)


@inlined
def length_of_row(feature_set: int, width: int) -> int:
    """The number of features, as `config.n_features`."""
    if feature_set == SIMPLE:
        return width + 3
    if feature_set == DT:
        return 9
    if feature_set == BOARD:
        return 2 * width
    return 8


@kernel
def write_own(
    work: NDArray[np.int64],
    numbers: NDArray[np.float32],
    width: int,
    feature_set: int,
    scales: NDArray[np.float32],
) -> None:
    """SIMPLE or BOARD: SCALES, and OWN but for what SIMPLE has in END."""
    length = length_of_row(feature_set, width)
    for k in range(length):
        poke(numbers, SCALES + k, peek(scales, k))
    # Lanes look past them; what is found there must be numbers, or multiplying is slow.
    for k in range(length, length + 2 * LANES):
        poke(numbers, SCALES + k, np.float32(0))
    for c in range(0, width, LANES):
        values = load(work, TOPS + c)
        if feature_set == BOARD:
            values = load(work, CELLS + c) & PACKED_MASK
        store_floats(numbers, OWN + c, times(values, load_floats(numbers, SCALES + c)))
    if feature_set == BOARD:
        for c in range(0, width, LANES):
            values = load(work, CELLS + c) >> PACKED_ROWS
            at = width + c
            store_floats(numbers, OWN + at, times(values, load_floats(numbers, SCALES + at)))


@kernel
def write_lanes(
    numbers: NDArray[np.float32],
    features: NDArray[np.float32],
    out: int,
    step: int,
    placements: int,
    width: int,
    span: int,
    feature_set: int,
    has_upper: bool,
) -> None:
    """The rows of all lanes as they were counted: lane k's to features.flat[out + k * step]...

    Args:
        numbers: The scratch that `drops` has filled.
        features: Where to.
        out: Of lane 0.
        step: From one lane to the next.
        placements: Number of lanes.
        width: The board's.
        span: Columns of the piece.
        feature_set: `FeatureSet.code`.
        has_upper: Whether the board is higher than PACKED_ROWS.
    """
    if feature_set in (BCTS, DT):
        copy_eights(numbers, WHOLE, WHOLE_STEP, features, out, step, placements)
        if feature_set == DT:
            copy_fours(numbers, WHOLE + 5, WHOLE_STEP, features, out + 5, step, placements)
        return
    length = length_of_row(feature_set, width)
    if length < 8:
        copy_fours(numbers, OWN, 0, features, out, step, placements)
    else:
        for k in range(0, length - 8, 8):
            copy_eights(numbers, OWN + k, 0, features, out + k, step, placements)
        copy_eights(numbers, OWN + length - 8, 0, features, out + length - 8, step, placements)
    if feature_set == SIMPLE:
        copy_fours(numbers, END, 4, features, out + width - 1, step, placements)
    # Lane k's own columns begin at k: whole windows where they fit, the last ones by column.
    inner = min(placements, width - 3)
    copy_fours(numbers, WINDOW, 4, features, out, step + 1, inner)
    for lane in range(inner, placements):
        for k in range(span):
            poke(features, out + lane * (step + 1) + k, peek(numbers, WINDOW + 4 * lane + k))
    if feature_set == BOARD and has_upper:
        for lane in range(placements):
            at = out + width + lane * (step + 1)
            for k in range(span):
                poke(features, at + k, peek(numbers, UPPER_WINDOW + 4 * lane + k))


@inlined
def clear_row(features: NDArray[np.float32], out: int, length: int) -> None:
    """Zeros to features.flat[out]..."""
    for k in range(length):
        poke(features, out + k, np.float32(0))


@inlined
def copy_row(features: NDArray[np.float32], out: int, same: int, length: int) -> None:
    """The row at features.flat[same] to features.flat[out]..."""
    for k in range(length):
        poke(features, out + k, peek(features, same + k))


@kernel
def write_whole(
    work: NDArray[np.int64],
    width: int,
    height: int,
    middle: int,
    eroded: int,
    feature_set: int,
    scales: NDArray[np.float32],
    features: NDArray[np.float32],
    out: int,
) -> None:
    """The row of the afterstate in AFTER, to features.flat[out]...

    Args:
        work: The scratch.
        width: The board's.
        height: The board's.
        middle: Twice the row of the piece's middle: twice the landing height.
        eroded: The eroded cells.
        feature_set: `FeatureSet.code`.
        scales: float32[F].
        features: Where to.
        out: Where to, there.
    """
    if feature_set == SIMPLE:
        _write_heights(work, width, scales, features, out)
    elif feature_set == BOARD:
        for c in range(width):
            bits = peek(work, AFTER + c)
            lower = np.float32(bits & PACKED_MASK)
            poke(features, out + c, peek(scales, c) * lower)
            upper = np.float32(bits >> PACKED_ROWS)
            poke(features, out + width + c, peek(scales, width + c) * upper)
    else:
        total, hole_rows, kinds = count_whole(work, width)
        landing = np.float32(middle) * np.float32(0.5)
        rows = ((total >> ROW) & COUNT_MASK) - 2 * height
        columns = (total >> COLUMN) & COUNT_MASK
        depth = (total >> DEPTH) & COUNT_MASK
        poke(features, out, peek(scales, 0) * landing)
        poke(features, out + 1, peek(scales, 1) * np.float32(eroded))
        poke(features, out + 2, peek(scales, 2) * np.float32(rows))
        poke(features, out + 3, peek(scales, 3) * np.float32(columns))
        poke(features, out + 4, peek(scales, 4) * np.float32(total & COUNT_MASK))
        poke(features, out + 5, peek(scales, 5) * np.float32(total >> WELL))
        poke(features, out + 6, peek(scales, 6) * np.float32(depth))
        poke(features, out + 7, peek(scales, 7) * np.float32(popcount(hole_rows)))
        if feature_set == DT:
            poke(features, out + 8, peek(scales, 8) * np.float32(popcount(kinds)))


@kernel
def _write_heights(
    work: NDArray[np.int64],
    width: int,
    scales: NDArray[np.float32],
    features: NDArray[np.float32],
    out: int,
) -> None:
    greatest = 0
    holes = 0
    bumpiness = 0
    before = 64 - leading_zeros(peek(work, AFTER))
    for c in range(width):
        bits = peek(work, AFTER + c)
        top = 64 - leading_zeros(bits)
        poke(features, out + c, peek(scales, c) * np.float32(top))
        greatest = max(greatest, top)
        holes += top - popcount(bits)
        bumpiness += abs(top - before)
        before = top
    out += width
    poke(features, out, peek(scales, width) * np.float32(greatest))
    poke(features, out + 1, peek(scales, width + 1) * np.float32(holes))
    poke(features, out + 2, peek(scales, width + 2) * np.float32(bumpiness))

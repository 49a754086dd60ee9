"""All placements of one rotation at once, lane by lane.

A piece that is dropped on a board leaves everything as it was but its own columns, and those
only grow. So what is counted here is what the piece changes, beside what `standing` knows.
Where a placement completes rows, or starts below an overhang, the result is not used.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mltetris_server.game.compiling import inlined, kernel, peek
from mltetris_server.game.config import PACKED_ROWS
from mltetris_server.game.pieces import BITS, BOTTOM, TOP
from mltetris_server.game.scratch import (
    CELLS,
    END,
    FULL,
    HOLES,
    LEFT_FULL,
    LEFT_KINDS,
    LEFT_SUM,
    LONG,
    NEW_CELLS,
    NEW_TOPS,
    OWN,
    PAIR,
    RIGHT_FULL,
    RIGHT_KINDS,
    RIGHT_SUM,
    SCALES,
    STEPS,
    STRIDE,
    TOPS,
    UPPER_WINDOW,
    WHOLE,
    WHOLE_STEP,
    WINDOW,
)
from mltetris_server.game.standing import (
    COLUMN,
    COUNT_MASK,
    DEPTH,
    ROW,
    WELL,
    runs_under,
)
from mltetris_server.game.vectors import (
    LANES,
    Floats,
    Lanes,
    all_alike,
    any_bits,
    floats_alike,
    greater,
    greatest_of,
    lesser,
    load,
    load_floats,
    popcounts,
    store,
    store_columns,
    times,
)

PACKED_MASK = (1 << PACKED_ROWS) - 1


@kernel
def drop(
    work: NDArray[np.int64], shape: int, span: int, placements: int, landings: int
) -> tuple[int, bool]:
    """Where the piece comes to rest in each lane, its columns then, and the rows it completes.

    Args:
        work: The scratch.
        shape: 4 * piece + rotation.
        span: Columns of the piece.
        placements: Number of lanes that matter.
        landings: Where in the scratch to write the rows it rests in.

    Returns:
        A row that none of them is higher than, and whether any row is completed.
    """
    highest = all_alike(0)
    completed = all_alike(0)
    for c in range(0, placements, LANES):
        row = all_alike(0)
        for k in range(span):
            row = greater(row, load(work, TOPS + k + c) - peek(BOTTOM, 4 * shape + k))
        full = load(work, LEFT_FULL + c) & load(work, RIGHT_FULL + span - 1 + c)
        for k in range(span):
            bits = load(work, CELLS + k + c) | (peek(BITS, 4 * shape + k) << row)
            full = full & bits
            store(work, NEW_CELLS + k * STRIDE + c, bits)
            store(work, NEW_TOPS + k * STRIDE + c, row + peek(TOP, 4 * shape + k))
        store(work, landings + c, row)
        store(work, FULL + c, full)
        highest = greater(highest, row)
        completed = completed | full
    return greatest_of(highest), any_bits(completed)


@inlined
def _cells(work: NDArray[np.int64], k: int, span: int, c: int) -> Lanes:
    """The k-th column from each lane's first one on, as it is after the placement."""
    return load(work, NEW_CELLS + k * STRIDE + c if 0 <= k < span else CELLS + k + c)


@inlined
def _tops(work: NDArray[np.int64], k: int, span: int, c: int) -> Lanes:
    """The height of the k-th column from each lane's first one on, after the placement."""
    return load(work, NEW_TOPS + k * STRIDE + c if 0 <= k < span else TOPS + k + c)


@inlined
def _gap(work: NDArray[np.int64], k: int, tall: int, c: int) -> Lanes:
    """Empty cells between the k-th column of a piece and what was below."""
    return load(work, NEW_TOPS + k * STRIDE + c) - tall - load(work, TOPS + k + c)


@inlined
def _scaled(numbers: NDArray[np.float32], at: int, values: Lanes) -> Floats:
    """Values times the scales of the columns from `at` on."""
    return times(values, load_floats(numbers, SCALES + at))


@kernel
def count_simple(
    work: NDArray[np.int64],
    shape: int,
    span: int,
    placements: int,
    width: int,
    bumpiness: int,
    holes: int,
    greatest: int,
    numbers: NDArray[np.float32],
) -> None:
    """What the features of every lane have of their own, scaled: its WINDOW and END.

    Args:
        work: The scratch.
        shape: 4 * piece + rotation.
        span: Columns of the piece.
        placements: Number of lanes that matter.
        width: The board's.
        bumpiness: The board's own.
        holes: The board's own.
        greatest: The board's own greatest height.
        numbers: The other scratch; its SCALES and OWN are filled.
    """
    last = floats_alike(peek(numbers, OWN + width - 1))
    most_scale = floats_alike(peek(numbers, SCALES + width))
    holes_scale = floats_alike(peek(numbers, SCALES + width + 1))
    rough_scale = floats_alike(peek(numbers, SCALES + width + 2))
    for c in range(0, placements, LANES):
        most = all_alike(greatest)
        spoilt = all_alike(holes)
        rough = all_alike(bumpiness)
        before = load(work, TOPS + c - 1)
        for k in range(span + 1):
            top = _tops(work, k, span, c)
            if k < span:
                tall = peek(TOP, 4 * shape + k) - peek(BOTTOM, 4 * shape + k)
                most = greater(most, top)
                spoilt = spoilt + _gap(work, k, tall, c)
            step = greater(top - before, before - top) & load(work, PAIR + k + c)
            rough = rough + step - load(work, STEPS + k + c)
            before = top
        store_columns(
            numbers,
            END + 4 * c,
            4,
            last,
            times(most, most_scale),
            times(spoilt, holes_scale),
            times(rough, rough_scale),
        )
        store_columns(
            numbers,
            WINDOW + 4 * c,
            4,
            _scaled(numbers, c, _tops(work, 0, span, c)),
            _scaled(numbers, c + 1, _tops(work, 1, span, c)),
            _scaled(numbers, c + 2, _tops(work, 2, span, c)),
            _scaled(numbers, c + 3, _tops(work, 3, span, c)),
        )


@kernel
def pack_lanes(
    work: NDArray[np.int64],
    span: int,
    placements: int,
    width: int,
    has_upper: bool,
    numbers: NDArray[np.float32],
) -> None:
    """What every lane's BOARD features have of their own, scaled: its WINDOW and UPPER_WINDOW.

    The latter only if `has_upper`: the board is higher than PACKED_ROWS.
    """
    for c in range(0, placements, LANES):
        store_columns(
            numbers,
            WINDOW + 4 * c,
            4,
            _scaled(numbers, c, _cells(work, 0, span, c) & PACKED_MASK),
            _scaled(numbers, c + 1, _cells(work, 1, span, c) & PACKED_MASK),
            _scaled(numbers, c + 2, _cells(work, 2, span, c) & PACKED_MASK),
            _scaled(numbers, c + 3, _cells(work, 3, span, c) & PACKED_MASK),
        )
        if has_upper:
            at = width + c
            store_columns(
                numbers,
                UPPER_WINDOW + 4 * c,
                4,
                _scaled(numbers, at, _cells(work, 0, span, c) >> PACKED_ROWS),
                _scaled(numbers, at + 1, _cells(work, 1, span, c) >> PACKED_ROWS),
                _scaled(numbers, at + 2, _cells(work, 2, span, c) >> PACKED_ROWS),
                _scaled(numbers, at + 3, _cells(work, 3, span, c) >> PACKED_ROWS),
            )


@kernel
def count_bcts(
    work: NDArray[np.int64],
    shape: int,
    span: int,
    placements: int,
    landings: int,
    total: int,
    hole_rows: int,
    tall: int,
    scales: NDArray[np.float32],
    numbers: NDArray[np.float32],
) -> None:
    """The eight features of every lane, scaled, into WHOLE.

    Args:
        work: The scratch.
        shape: 4 * piece + rotation.
        span: Columns of the piece.
        placements: Number of lanes that matter.
        landings: Where in the scratch the rows are that the piece rests in.
        total: The board's own counts, packed, without borders and wells.
        hole_rows: The board's own rows with holes, as bits.
        tall: Rows of the piece.
        scales: float32[8 or more].
        numbers: The other scratch.
    """
    one = all_alike(1)
    for c in range(0, placements, LANES):
        sums = load(work, LEFT_SUM + c) + load(work, RIGHT_SUM + span - 1 + c) + total
        spoilt = all_alike(hole_rows)
        for k in range(span):
            own = peek(TOP, 4 * shape + k) - peek(BOTTOM, 4 * shape + k)
            gap = _gap(work, k, own, c)
            # On a hole, old or new, its cells add to the depth; with a gap the column
            # has one more run of filled cells, which begins and ends.
            on_hole = lesser(gap + load(work, HOLES + k + c), one)
            on_gap = lesser(gap, one)
            sums = sums + gap + ((0 - on_hole) & (own << DEPTH)) + (on_gap << (COLUMN + 1))
            spoilt = spoilt | (((1 << gap) - 1) << load(work, TOPS + k + c))
        ones = twos = fours = long = all_alike(0)
        two_left = load(work, CELLS + c - 2)
        one_left = load(work, CELLS + c - 1)
        for k in range(span + 2):
            # The borders left of column k, and the wells of the column left of it.
            bits = _cells(work, k, span, c)
            if k <= span:
                sums = sums + (popcounts(one_left ^ bits) << ROW)
            well = two_left & ~one_left & bits
            top = _tops(work, k - 1, span, c)
            ones = ones + popcounts(well & runs_under(work, 0, k - 1 + c, top))
            twos = twos + popcounts(well & runs_under(work, 1, k - 1 + c, top))
            fours = fours + popcounts(well & runs_under(work, 2, k - 1 + c, top))
            long = long | (well & runs_under(work, LONG, k - 1 + c, top))
            two_left, one_left = one_left, bits
        wells = (sums >> WELL) + ones + (twos << 1) + (fours << 2)
        if any_bits(long):
            for k in range(-1, span + 1):
                well = _cells(work, k - 1, span, c) & _cells(work, k + 1, span, c)
                well = well & ~_cells(work, k, span, c)
                top = _tops(work, k, span, c)
                for j in range(3, LONG):
                    wells = wells + (popcounts(well & runs_under(work, j, k + c, top)) << j)
        # Twice the row of the piece's middle.
        middle = (load(work, landings + c) << 1) + (tall - 1)
        store_columns(
            numbers,
            WHOLE + c * WHOLE_STEP,
            WHOLE_STEP,
            times(middle, floats_alike(peek(scales, 0) * np.float32(0.5))),
            times(all_alike(0), floats_alike(peek(scales, 1))),
            times((sums >> ROW) & COUNT_MASK, floats_alike(peek(scales, 2))),
            times((sums >> COLUMN) & COUNT_MASK, floats_alike(peek(scales, 3))),
        )
        store_columns(
            numbers,
            WHOLE + c * WHOLE_STEP + 4,
            WHOLE_STEP,
            times(sums & COUNT_MASK, floats_alike(peek(scales, 4))),
            times(wells, floats_alike(peek(scales, 5))),
            times((sums >> DEPTH) & COUNT_MASK, floats_alike(peek(scales, 6))),
            times(popcounts(spoilt), floats_alike(peek(scales, 7))),
        )


@kernel
def count_diversity(
    work: NDArray[np.int64],
    span: int,
    placements: int,
    scale: np.float32,
    numbers: NDArray[np.float32],
) -> None:
    """DT's ninth feature of every lane, scaled, into WHOLE; see `standing.kind_of_step`."""
    low, high = all_alike(-3), all_alike(3)
    for c in range(0, placements, LANES):
        kinds = load(work, LEFT_KINDS + c) | load(work, RIGHT_KINDS + span - 1 + c)
        before = load(work, TOPS + c - 1)
        for k in range(span + 1):
            top = _tops(work, k, span, c)
            step = lesser(greater(top - before, low), high)
            kinds = kinds | ((1 << (step + 3)) & load(work, PAIR + k + c))
            before = top
        scaled = times(popcounts(kinds & 0b0111110), floats_alike(scale))
        at = WHOLE + c * WHOLE_STEP + 8
        store_columns(numbers, at, WHOLE_STEP, scaled, scaled, scaled, scaled)

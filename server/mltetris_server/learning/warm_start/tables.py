"""The gradient of cloning for a table of patterns (`learning.tables`), which reads raw boards."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mltetris_server.game.compiling import kernel, peek, poke
from mltetris_server.learning.tables import (
    EDGE,
    ENTRIES,
    ROWS,
    entry_of,
    mirrored,
    rows_of,
    unpack,
)
from mltetris_server.learning.warm_start.kernels import Examples

ROOM = ROWS + 4
"""Numbers of scratch for each column of a board that `imitate_table` needs."""

_ZERO = np.float32(0)


@kernel
def imitate_table(
    examples: Examples,
    order: NDArray[np.int64],
    weights: NDArray[np.float32],
    slopes: NDArray[np.float32],
    room: NDArray[np.int64],
    scores: NDArray[np.float64],
    figures: NDArray[np.float64],
) -> None:
    """Gradient of the mean cross entropy of what was made, a state's sums of windows being logits.

    A window and its mirror image share their weight: each has the slope of both.

    Args:
        examples: The states.
        order: int64[B]: those to learn from.
        weights: float32[ENTRIES]: the table.
        slopes: float32[ENTRIES], filled.
        room: int64[>= ROOM W]: scratch.
        scores: float64[>= 4 W]: scratch.
        figures: float64[2]: the sum of the losses, and how often the best score is that of what
            was made, are added to it.
    """
    share = 1.0 / order.shape[0]
    for entry in range(ENTRIES):
        poke(slopes, entry, _ZERO)
    for n in range(order.shape[0]):
        start = examples.starts[order[n]]
        count = examples.starts[order[n] + 1] - start
        made = examples.made[order[n]]
        best = 0
        for a in range(count):
            windows = _windows(examples.features, start + a, room)
            score = 0.0
            for k in range(windows):
                score += peek(weights, peek(room, k))
            scores[a] = score
            if score > scores[best]:
                best = a
        highest = scores[best]
        sum_of = 0.0
        for a in range(count):
            sum_of += np.exp(scores[a] - highest)
        figures[0] += np.log(sum_of) + highest - scores[made]
        if best == made:
            figures[1] += 1
        for a in range(count):
            chance = np.exp(scores[a] - highest) / sum_of
            step = np.float32(share * (chance - 1.0 if a == made else chance))
            windows = _windows(examples.features, start + a, room)
            for k in range(windows):
                entry = peek(room, k)
                other = mirrored(entry)
                poke(slopes, entry, peek(slopes, entry) + step)
                if other != entry:
                    poke(slopes, other, peek(slopes, other) + step)
    slopes[0] = _ZERO
    slopes[EDGE] = _ZERO


@kernel
def sum_windows(
    features: NDArray[np.float32],
    weights: NDArray[np.float32],
    room: NDArray[np.int64],
    sums: NDArray[np.float64],
) -> None:
    """The sums of all windows of the first boards.

    Args:
        features: float32[R, 2W]: boards.
        weights: float32[ENTRIES]: the table.
        room: int64[>= ROOM W]: scratch.
        sums: float64[n], filled, n at most R.
    """
    for row in range(sums.shape[0]):
        windows = _windows(features, row, room)
        total = 0.0
        for k in range(windows):
            total += peek(weights, peek(room, k))
        sums[row] = total


@kernel
def _windows(features: NDArray[np.float32], row: int, room: NDArray[np.int64]) -> int:
    """The entries of all windows of a board into `room`; returns how many."""
    width = features.shape[1] // 2
    at = (width - 1) * ROWS
    unpack(features, row, width, room, at)
    count = 0
    for c in range(width - 1):
        for r in range(rows_of(room, at, c)):
            poke(room, count, entry_of(room, at, c, r, width))
            count += 1
    return count

"""The gradient by which `td` learns a table of patterns (`learning.tables`)."""

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
from mltetris_server.learning.td.kernels import drawn_row

ROOM = ROWS + 4
"""Numbers of scratch for each column of a board that `table_gradient` needs."""

_ZERO = np.float32(0)


@kernel
def table_gradient(
    features: NDArray[np.float32],
    targets: NDArray[np.float32],
    size: int,
    batch: int,
    draw: np.uint64,
    weights: NDArray[np.float32],
    bias: NDArray[np.float32],
    death_reward: float,
    weight_slopes: NDArray[np.float32],
    bias_slope: NDArray[np.float32],
    room: NDArray[np.int64],
) -> float:
    """Gradient of the mean cross entropy over a random batch.

    A window and its mirror image share their weight: each has the slope of both.

    Args:
        features: float32[N, 2W]: boards.
        targets: float32[N]: their values to be, from the death reward to 0; rows whose target is
            NaN are left out.
        size: Rows to draw from, the first ones.
        batch: Rows to draw, with replacement.
        draw: Decides which.
        weights: float32[ENTRIES]: the table.
        bias: float32[1].
        death_reward: Below 0.
        weight_slopes: float32[ENTRIES], filled.
        bias_slope: float32[1], filled.
        room: int64[>= ROOM W]: scratch.

    Returns:
        The loss; 0 where no row could be used.
    """
    width = features.shape[1] // 2
    at = (width - 1) * ROWS
    for entry in range(ENTRIES):
        poke(weight_slopes, entry, _ZERO)
    used = 0
    for k in range(batch):
        if not np.isnan(targets[drawn_row(draw, k, size)]):
            used += 1
    share = 1.0 / max(used, 1)
    bias_sum = 0.0
    loss = 0.0
    for k in range(batch):
        row = drawn_row(draw, k, size)
        if np.isnan(targets[row]):
            continue
        unpack(features, row, width, room, at)
        count = 0
        x = np.float64(bias[0])
        for c in range(width - 1):
            for r in range(rows_of(room, at, c)):
                entry = entry_of(room, at, c, r, width)
                poke(room, count, entry)
                count += 1
                x += peek(weights, entry)
        chance = targets[row] / death_reward
        slope = share * (chance - 1.0 / (1.0 + np.exp(x)))
        loss += max(x, 0.0) + np.log1p(np.exp(-abs(x))) - (1.0 - chance) * x
        bias_sum += slope
        step = np.float32(slope)
        for n in range(count):
            entry = peek(room, n)
            other = mirrored(entry)
            poke(weight_slopes, entry, peek(weight_slopes, entry) + step)
            if other != entry:
                poke(weight_slopes, other, peek(weight_slopes, other) + step)
    weight_slopes[0] = _ZERO
    weight_slopes[EDGE] = _ZERO
    bias_slope[0] = bias_sum
    return loss * share

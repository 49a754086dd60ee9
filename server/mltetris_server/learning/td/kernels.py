"""The compiled inner loops of `td`: returns and gradients."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mltetris_server.game.compiling import kernel
from mltetris_server.game.engine import Games, mix
from mltetris_server.learning.kernels import EXPLORED, FATAL, LAST, Eye, Network, Rollout, look

_ZERO, _ONE, _HALF = np.float32(0), np.float32(1), np.float32(0.5)
_HALF_WORD = np.uint64(32)


@kernel
def returns(
    games: Games,
    network: Network,
    eye: Eye,
    rollout: Rollout,
    gamma: float,
    td_lambda: float,
    first: int,
    last: int,
    targets: NDArray[np.float32],
) -> None:
    """TD(lambda) targets of boards first..last-1 of a whole rollout, into `targets` [T * n].

    With r the death reward where the game was over after placement t and else 0, v the value of
    the best placement of the state after it:

        G(t) = r                                             where the game was over
        G(t) = gamma * v(t + 1)                              where t + 1 explored
        G(t) = gamma * ((1 - lambda) v(t + 1) + lambda G(t + 1))   otherwise

    (Sutton and Barto 2018, equation 12.18, with Watkins' cut at exploring actions.) Behind the
    last step stands the value of the best placement of the state reached. A fatal placement has
    no afterstate: its target is NaN, not to be learnt from.
    """
    boards = games.columns.shape[0]
    steps = rollout.values.shape[0] // boards
    for i in range(first, last):
        best = look(games, i, network, eye)
        value = np.float64(eye.values[best])
        ahead = value
        for t in range(steps - 1, -1, -1):
            k = t * boards + i
            kind = rollout.kinds[k]
            if kind & LAST:
                ahead = np.float64(eye.fatal_value[0])
            else:
                ahead = gamma * ((1 - td_lambda) * value + td_lambda * ahead)
            targets[k] = np.nan if kind & FATAL else ahead
            value = np.float64(rollout.values[k])
            if kind & EXPLORED:
                ahead = value


@kernel
def gradient(
    features: NDArray[np.float32],
    targets: NDArray[np.float32],
    size: int,
    batch: int,
    draw: np.uint64,
    network: Network,
    slopes: Network,
    room: NDArray[np.float32],
) -> float:
    """Gradient of the mean Huber loss (delta 1, SB3's choice for DQN) over a random batch.

    Args:
        features: float32[N, F].
        targets: float32[N]; rows whose target is NaN are left out.
        size: Rows to draw from, the first ones.
        batch: Rows to draw, with replacement.
        draw: Decides which.
        network: Where to take the gradient.
        slopes: Filled with it.
        room: float32[2 F + 1, H]: scratch.

    Returns:
        The loss; 0 where no row could be used.
    """
    units, inputs = network.hidden_weights.shape
    # Weights and their slopes input by input, so that the inner loops run over all units:
    # rows 0..F-1 weights, F..2F-1 slopes, 2F the hidden layer's output and then its slopes.
    out = 2 * inputs
    for f in range(inputs):
        for j in range(units):
            room[f, j] = network.hidden_weights[j, f]
            room[inputs + f, j] = _ZERO
    for j in range(units):
        slopes.hidden_bias[j] = _ZERO
        slopes.output_weights[j] = _ZERO
    bias_slope = _ZERO
    used = 0
    for k in range(batch):
        if not np.isnan(targets[_row(draw, k, size)]):
            used += 1
    share = np.float32(1.0 / max(used, 1))
    loss = 0.0
    for k in range(batch):
        row = _row(draw, k, size)
        if np.isnan(targets[row]):
            continue
        for j in range(units):
            room[out, j] = network.hidden_bias[j]
        for f in range(inputs):
            x = features[row, f]
            for j in range(units):
                room[out, j] += x * room[f, j]
        for j in range(units):
            room[out, j] = max(room[out, j], _ZERO)
        # Four sums side by side: one would wait for itself.
        sum_0 = network.output_bias[0]
        sum_1 = _ZERO
        sum_2 = _ZERO
        sum_3 = _ZERO
        whole = units // 4 * 4
        for j in range(0, whole, 4):
            sum_0 += room[out, j] * network.output_weights[j]
            sum_1 += room[out, j + 1] * network.output_weights[j + 1]
            sum_2 += room[out, j + 2] * network.output_weights[j + 2]
            sum_3 += room[out, j + 3] * network.output_weights[j + 3]
        for j in range(whole, units):
            sum_0 += room[out, j] * network.output_weights[j]
        error = ((sum_0 + sum_1) + (sum_2 + sum_3)) - targets[row]
        slope = min(max(error, -_ONE), _ONE)
        loss += slope * (error - _HALF * slope)
        slope *= share
        bias_slope += slope
        for j in range(units):
            slopes.output_weights[j] += slope * room[out, j]
        for j in range(units):
            room[out, j] = slope * network.output_weights[j] if room[out, j] > _ZERO else _ZERO
        for j in range(units):
            slopes.hidden_bias[j] += room[out, j]
        for f in range(inputs):
            x = features[row, f]
            for j in range(units):
                room[inputs + f, j] += x * room[out, j]
    for j in range(units):
        for f in range(inputs):
            slopes.hidden_weights[j, f] = room[inputs + f, j]
    slopes.output_bias[0] = bias_slope
    return loss / max(used, 1)


@kernel
def _row(draw: np.uint64, k: int, size: int) -> int:
    """The k-th of a batch's random rows, 0..size-1."""
    number = mix(draw + np.uint64(k)) >> _HALF_WORD
    return int((number * np.uint64(size)) >> _HALF_WORD)

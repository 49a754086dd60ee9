"""The compiled inner loops of `td`: returns, gradients, Adam."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mltetris_server.game.compiling import allocating, kernel, peek
from mltetris_server.game.engine import Games, mix
from mltetris_server.learning.kernels import EXPLORED, FATAL, LAST, Eye, Network, Rollout, look
from mltetris_server.learning.lanes import (
    LANES,
    load,
    padded,
    relu,
    splat,
    store,
    total,
    where_positive,
)

ADAM_BETA_1, ADAM_BETA_2, ADAM_EPSILON = 0.9, 0.999, 1e-8
"""Adam's constants (Kingma and Ba 2015, section 2), as torch has them by default."""

_ZERO, _ONE, _HALF = np.float32(0), np.float32(1), np.float32(0.5)
_BETA_1, _BETA_2 = np.float32(ADAM_BETA_1), np.float32(ADAM_BETA_2)
_EPSILON = np.float32(ADAM_EPSILON)
_HALF_WORD = np.uint64(32)
_TOGETHER = 4


class Moments(NamedTuple):
    """Where Adam is.

    Attributes:
        step: float32[1]: steps made.
        exp_avg: Running means of the slopes.
        exp_avg_sq: Running means of their squares.
    """

    step: NDArray[np.float32]
    exp_avg: Network
    exp_avg_sq: Network


class Desk(NamedTuple):
    """Room to work out a gradient in, with P = `lanes.padded(H)`.

    Attributes:
        weights: float32[F + 2, P]: the network input by input: hidden weights, hidden bias, output
            weights; zeros behind the H-th unit.
        sums: float32[F + 2, P]: their slopes.
        hidden: float32[4, P]: the hidden units of four samples.
        slopes: float32[4]: and those of their outputs.
        rows: int64[batch + 3]: the batch.
        gradient: The network's slopes.
    """

    weights: NDArray[np.float32]
    sums: NDArray[np.float32]
    hidden: NDArray[np.float32]
    slopes: NDArray[np.float32]
    rows: NDArray[np.int64]
    gradient: Network


def new_desk(inputs: int, units: int, batch: int) -> Desk:
    """Room for networks of this shape and batches of this size."""
    width = padded(units)
    return Desk(
        weights=np.zeros((inputs + 2, width), np.float32),
        sums=np.zeros((inputs + 2, width), np.float32),
        hidden=np.zeros((_TOGETHER, width), np.float32),
        slopes=np.zeros(_TOGETHER, np.float32),
        rows=np.zeros(batch + _TOGETHER - 1, np.int64),
        gradient=Network(
            np.zeros((units, inputs), np.float32),
            np.zeros(units, np.float32),
            np.zeros(units, np.float32),
            np.zeros(1, np.float32),
        ),
    )


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


@allocating
def descend(
    features: NDArray[np.float32],
    targets: NDArray[np.float32],
    size: int,
    batch: int,
    draws: np.uint64,
    first: int,
    last: int,
    network: Network,
    moments: Moments,
    learning_rate: float,
    desk: Desk,
) -> float:
    """Gradient steps first..last-1, each on a random batch (`gradient`), by Adam.

    Adam is that of Kingma and Ba (2015, algorithm 1) with their constants, as torch computes it.

    Args:
        features: float32[N, F].
        targets: float32[N]; rows whose target is NaN are left out.
        size: Rows to draw from, the first ones.
        batch: Rows to draw for a step.
        draws: Decides, with the number of the step, which.
        first: Steps made before, over the learner's whole life.
        last: Steps made afterwards.
        network: What is trained.
        moments: Adam's, kept up to date.
        learning_rate: Adam's step size.
        desk: Scratch.

    Returns:
        The sum of the losses.
    """
    losses = 0.0
    for k in range(first, last):
        draw = mix(draws + np.uint64(k))
        losses += gradient(features, targets, size, batch, draw, network, desk)
        moments.step[0] += _ONE
        made = np.float64(moments.step[0])
        rate = np.float32(learning_rate / (1 - ADAM_BETA_1**made))
        root = np.float32(1 / math.sqrt(1 - ADAM_BETA_2**made))
        _adam(
            network.hidden_weights.ravel(),
            desk.gradient.hidden_weights.ravel(),
            moments.exp_avg.hidden_weights.ravel(),
            moments.exp_avg_sq.hidden_weights.ravel(),
            rate,
            root,
        )
        _adam(
            network.hidden_bias,
            desk.gradient.hidden_bias,
            moments.exp_avg.hidden_bias,
            moments.exp_avg_sq.hidden_bias,
            rate,
            root,
        )
        _adam(
            network.output_weights,
            desk.gradient.output_weights,
            moments.exp_avg.output_weights,
            moments.exp_avg_sq.output_weights,
            rate,
            root,
        )
        _adam(
            network.output_bias,
            desk.gradient.output_bias,
            moments.exp_avg.output_bias,
            moments.exp_avg_sq.output_bias,
            rate,
            root,
        )
    return losses


@kernel
def _adam(
    weights: NDArray[np.float32],
    slopes: NDArray[np.float32],
    exp_avg: NDArray[np.float32],
    exp_avg_sq: NDArray[np.float32],
    rate: np.float32,
    root: np.float32,
) -> None:
    """One step of Adam for some weights, its bias corrections being in `rate` and `root`."""
    for k in range(weights.shape[0]):
        slope = slopes[k]
        mean = _BETA_1 * exp_avg[k] + (_ONE - _BETA_1) * slope
        square = _BETA_2 * exp_avg_sq[k] + (_ONE - _BETA_2) * slope * slope
        exp_avg[k], exp_avg_sq[k] = mean, square
        weights[k] -= rate * mean / (np.sqrt(square) * root + _EPSILON)


@kernel
def gradient(
    features: NDArray[np.float32],
    targets: NDArray[np.float32],
    size: int,
    batch: int,
    draw: np.uint64,
    network: Network,
    desk: Desk,
) -> float:
    """Gradient of the mean Huber loss (delta 1, SB3's choice for DQN) over a random batch.

    Args:
        features: float32[N, F].
        targets: float32[N]; rows whose target is NaN are left out.
        size: Rows to draw from, the first ones.
        batch: Rows to draw, with replacement.
        draw: Decides which.
        network: Where to take the gradient.
        desk: Scratch; its `gradient` is filled with it.

    Returns:
        The loss; 0 where no row could be used.
    """
    units, inputs = network.hidden_weights.shape
    used = 0
    for k in range(batch):
        row = drawn_row(draw, k, size)
        if not np.isnan(targets[row]):
            desk.rows[used] = row
            used += 1
    _lay_out(network, desk)
    share = np.float32(1.0 / max(used, 1))
    loss = 0.0
    bias_slope = _ZERO
    # Four samples at once: weights and slopes are loaded and stored once for all of them.
    for k in range(0, used, _TOGETHER):
        for q in range(used, k + _TOGETHER):
            desk.rows[q] = desk.rows[k]
        _forward(features, desk, k)
        for q in range(_TOGETHER):
            if k + q >= used:
                desk.slopes[q] = _ZERO
                continue
            error = desk.slopes[q] + network.output_bias[0] - targets[desk.rows[k + q]]
            slope = min(max(error, -_ONE), _ONE)
            loss += slope * (error - _HALF * slope)
            desk.slopes[q] = slope * share
            bias_slope += desk.slopes[q]
        _backward(features, desk, k)
    slopes = desk.gradient
    for j in range(units):
        for f in range(inputs):
            slopes.hidden_weights[j, f] = desk.sums[f, j]
        slopes.hidden_bias[j] = desk.sums[inputs, j]
        slopes.output_weights[j] = desk.sums[inputs + 1, j]
    slopes.output_bias[0] = bias_slope
    return loss / max(used, 1)


@kernel
def _lay_out(network: Network, desk: Desk) -> None:
    """The network on the desk, input by input, and no slopes yet."""
    units, inputs = network.hidden_weights.shape
    for j in range(units):
        for f in range(inputs):
            desk.weights[f, j] = network.hidden_weights[j, f]
        desk.weights[inputs, j] = network.hidden_bias[j]
        desk.weights[inputs + 1, j] = network.output_weights[j]
    for f in range(inputs + 2):
        for j in range(desk.sums.shape[1]):
            desk.sums[f, j] = _ZERO


@kernel
def _forward(features: NDArray[np.float32], desk: Desk, k: int) -> None:
    """Hidden units, and into `desk.slopes` the outputs less the bias, of samples k..k+3."""
    inputs = features.shape[1]
    units = desk.weights.shape[1]
    row_0, row_1 = desk.rows[k] * inputs, desk.rows[k + 1] * inputs
    row_2, row_3 = desk.rows[k + 2] * inputs, desk.rows[k + 3] * inputs
    out_0, out_1, out_2, out_3 = splat(_ZERO), splat(_ZERO), splat(_ZERO), splat(_ZERO)
    for j in range(0, units, LANES):
        sum_0 = load(desk.weights, inputs * units + j)
        sum_1, sum_2, sum_3 = sum_0, sum_0, sum_0
        for f in range(inputs):
            weights = load(desk.weights, f * units + j)
            sum_0 += splat(peek(features, row_0 + f)) * weights
            sum_1 += splat(peek(features, row_1 + f)) * weights
            sum_2 += splat(peek(features, row_2 + f)) * weights
            sum_3 += splat(peek(features, row_3 + f)) * weights
        sum_0, sum_1, sum_2, sum_3 = relu(sum_0), relu(sum_1), relu(sum_2), relu(sum_3)
        store(desk.hidden, j, sum_0)
        store(desk.hidden, units + j, sum_1)
        store(desk.hidden, 2 * units + j, sum_2)
        store(desk.hidden, 3 * units + j, sum_3)
        weights = load(desk.weights, (inputs + 1) * units + j)
        out_0 += sum_0 * weights
        out_1 += sum_1 * weights
        out_2 += sum_2 * weights
        out_3 += sum_3 * weights
    desk.slopes[0], desk.slopes[1] = total(out_0), total(out_1)
    desk.slopes[2], desk.slopes[3] = total(out_2), total(out_3)


@kernel
def _backward(features: NDArray[np.float32], desk: Desk, k: int) -> None:
    """Add the slopes of samples k..k+3, whose outputs' slopes stand in `desk.slopes`."""
    inputs = features.shape[1]
    units = desk.weights.shape[1]
    row_0, row_1 = desk.rows[k] * inputs, desk.rows[k + 1] * inputs
    row_2, row_3 = desk.rows[k + 2] * inputs, desk.rows[k + 3] * inputs
    out_0, out_1 = splat(desk.slopes[0]), splat(desk.slopes[1])
    out_2, out_3 = splat(desk.slopes[2]), splat(desk.slopes[3])
    for j in range(0, units, LANES):
        unit_0, unit_1 = load(desk.hidden, j), load(desk.hidden, units + j)
        unit_2, unit_3 = load(desk.hidden, 2 * units + j), load(desk.hidden, 3 * units + j)
        place = (inputs + 1) * units + j
        sums = load(desk.sums, place) + out_0 * unit_0 + out_1 * unit_1
        store(desk.sums, place, sums + out_2 * unit_2 + out_3 * unit_3)
        weights = load(desk.weights, place)
        unit_0 = where_positive(unit_0, out_0 * weights)
        unit_1 = where_positive(unit_1, out_1 * weights)
        unit_2 = where_positive(unit_2, out_2 * weights)
        unit_3 = where_positive(unit_3, out_3 * weights)
        place -= units
        store(desk.sums, place, load(desk.sums, place) + unit_0 + unit_1 + unit_2 + unit_3)
        for f in range(inputs):
            place = f * units + j
            sums = load(desk.sums, place)
            sums += splat(peek(features, row_0 + f)) * unit_0
            sums += splat(peek(features, row_1 + f)) * unit_1
            sums += splat(peek(features, row_2 + f)) * unit_2
            sums += splat(peek(features, row_3 + f)) * unit_3
            store(desk.sums, place, sums)


@kernel
def drawn_row(draw: np.uint64, k: int, size: int) -> int:
    """The k-th of a batch's random rows, 0..size-1."""
    number = mix(draw + np.uint64(k)) >> _HALF_WORD
    return int((number * np.uint64(size)) >> _HALF_WORD)

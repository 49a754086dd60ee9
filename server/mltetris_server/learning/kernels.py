"""The learner's compiled inner loops: the network, rollouts, returns, gradients, greedy play.

Floating-point sums are written so that the compiler may use vector instructions without changing
their order (no fastmath): the same seed gives the same bits wherever the code runs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mltetris_server.game.compiling import kernel
from mltetris_server.game.engine import (
    CANDIDATE,
    ENDS_GAME,
    Games,
    afterstates,
    place,
    reset_game,
)
from mltetris_server.game.randomness import mix

NOT_A_CANDIDATE = np.float32(-1e6)
"""Value of a placement that is illegal or repeats another one: below every death reward."""

# What became of a placement of a rollout (`Rollout.kinds`).
GREEDY, EXPLORED, FATAL, LAST = 0, 1, 2, 4

_ZERO, _ONE, _HALF = np.float32(0), np.float32(1), np.float32(0.5)
_SHIFT, _HALF_WORD = np.uint64(11), np.uint64(32)
_UNIT = 2.0**-53


class Network(NamedTuple):
    """features F -> ReLU hidden H -> 1, as contiguous float32 arrays.

    Attributes:
        hidden_weights: [H, F].
        hidden_bias: [H].
        output_weights: [H].
        output_bias: [1].
    """

    hidden_weights: NDArray[np.float32]
    hidden_bias: NDArray[np.float32]
    output_weights: NDArray[np.float32]
    output_bias: NDArray[np.float32]


class Eye(NamedTuple):
    """How placements are looked at, and room to do it in; one for each thread.

    Attributes:
        settings: int64[1]: the feature set's code.
        scales: float32[F]: what features are multiplied by.
        death_reward: float32[1]: value of a placement that ends the game.
        features: float32[A, F]: the afterstates looked at last.
        flags: uint8[A]: and their flags, as `game.engine.afterstates` defines them.
        values: float32[A]: and their values.
        columns: float32[F + 2, A]: scratch.
        actions: int64[A]: scratch.
    """

    settings: NDArray[np.int64]
    scales: NDArray[np.float32]
    death_reward: NDArray[np.float32]
    features: NDArray[np.float32]
    flags: NDArray[np.uint8]
    values: NDArray[np.float32]
    columns: NDArray[np.float32]
    actions: NDArray[np.int64]


class Rollout(NamedTuple):
    """What the boards went through since the last update; row k = step * boards + board.

    Attributes:
        features: float32[T * n, F]: the afterstate of the placement made; zeros where it was
            fatal and there is none.
        values: float32[T * n]: value of the best placement there was.
        kinds: uint8[T * n]: GREEDY or EXPLORED, plus FATAL where the placement itself ended the
            game, plus LAST where the game was over after it.
    """

    features: NDArray[np.float32]
    values: NDArray[np.float32]
    kinds: NDArray[np.uint8]


@kernel
def look(games: Games, i: int, network: Network, eye: Eye) -> int:
    """Value every placement of board i's active piece into `eye.values`; returns the best action.

    Among equals the lowest action is best. Not a candidate: `NOT_A_CANDIDATE`; one that ends the
    game: the death reward.
    """
    count = 4 * games.settings[0]
    hidden, inputs = network.hidden_weights.shape
    afterstates(games, i, eye.settings[0], eye.scales, eye.features, eye.flags)
    # Candidates stand side by side in columns: the loops over them become vector instructions.
    columns = eye.columns
    m = 0
    for action in range(count):
        flags = eye.flags[action]
        if not flags & CANDIDATE:
            eye.values[action] = NOT_A_CANDIDATE
        elif flags & ENDS_GAME:
            eye.values[action] = eye.death_reward[0]
        else:
            for f in range(inputs):
                columns[f, m] = eye.features[action, f]
            eye.actions[m] = action
            m += 1
    total = inputs + 1
    for a in range(m):
        columns[total, a] = network.output_bias[0]
    for j in range(hidden):
        bias = network.hidden_bias[j]
        for a in range(m):
            columns[inputs, a] = bias
        for f in range(inputs):
            weight = network.hidden_weights[j, f]
            for a in range(m):
                columns[inputs, a] += weight * columns[f, a]
        weight = network.output_weights[j]
        for a in range(m):
            columns[total, a] += weight * max(columns[inputs, a], _ZERO)
    for a in range(m):
        eye.values[eye.actions[a]] = columns[total, a]
    best = 0
    for action in range(1, count):
        if eye.values[action] > eye.values[best]:
            best = action
    return best


@kernel
def _random_candidate(eye: Eye, count: int, number: np.uint64) -> int:
    """One of the candidates looked at, all equally likely."""
    candidates = 0
    for action in range(count):
        if eye.flags[action] & CANDIDATE:
            candidates += 1
    k = np.int64(((number >> _HALF_WORD) * np.uint64(candidates)) >> _HALF_WORD)
    for action in range(count):
        if eye.flags[action] & CANDIDATE:
            if k == 0:
                return action
            k -= 1
    return 0


@kernel
def roll(
    games: Games,
    network: Network,
    eye: Eye,
    rollout: Rollout,
    exploration: float,
    seed: np.uint64,
    step: int,
    start: int,
    stop: int,
    ended: NDArray[np.int64],
) -> int:
    """Make placements start..stop-1 of a rollout, counted step by step over all boards.

    What a placement draws at random depends on (seed, step, board) alone, so that a rollout may
    be cut into calls anywhere.

    Args:
        games: The training games; one that ends is followed by the next at once.
        network: What acts.
        eye: Scratch.
        rollout: Rows start..stop-1 are filled.
        exploration: Probability of a random candidate.
        seed: The learner's.
        step: Steps made before this rollout, over the learner's whole life.
        start: First placement.
        stop: One behind the last.
        ended: int64[>= stop - start, 6], filled: row k, board, number, lines, placements and
            score of every game that ended.

    Returns:
        How many games ended.
    """
    boards = games.columns.shape[0]
    count = 4 * games.settings[0]
    inputs = eye.scales.shape[0]
    endings = 0
    for k in range(start, stop):
        i = k % boards
        best = look(games, i, network, eye)
        number = mix(mix(seed ^ mix(np.uint64(i))) + np.uint64(step + k // boards))
        action = best
        kind = GREEDY
        if np.float64(number >> _SHIFT) * _UNIT < exploration:
            action = _random_candidate(eye, count, mix(number))
            if action != best:
                kind = EXPLORED
        for f in range(inputs):
            rollout.features[k, f] = eye.features[action, f]
        rollout.values[k] = eye.values[best]
        if eye.flags[action] & ENDS_GAME:
            kind |= FATAL
        _, over = place(games, i, action)
        if over:
            kind |= LAST
            ended[endings, 0] = k
            ended[endings, 1] = i
            ended[endings, 2] = games.episode[i]
            ended[endings, 3] = games.lines[i]
            ended[endings, 4] = games.placements[i]
            ended[endings, 5] = games.score[i]
            endings += 1
            reset_game(games, i)
        rollout.kinds[k] = kind
    return endings


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
                ahead = np.float64(eye.death_reward[0])
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


@kernel
def play(
    games: Games,
    network: Network,
    eye: Eye,
    done: NDArray[np.uint8],
    max_lines: int,
    budget: int,
) -> int:
    """Play all games on greedily, one after the other, until each is done or the budget is spent.

    Args:
        games: The games.
        network: What acts.
        eye: Scratch.
        done: uint8[n]: 1 where a game is over or has reached `max_lines`; kept up to date.
        max_lines: Lines after which a game is done.
        budget: Placements to make at most.

    Returns:
        Placements made.
    """
    made = 0
    for i in range(games.columns.shape[0]):
        while not done[i]:
            if made >= budget:
                return made
            _, over = place(games, i, look(games, i, network, eye))
            made += 1
            if over or games.lines[i] >= max_lines:
                done[i] = 1
    return made

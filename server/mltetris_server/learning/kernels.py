"""Compiled inner loops that all learners share: the network, rollouts, greedy play.

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
"""Value of a placement that is illegal or repeats another one: below every fatal value."""

# What became of a placement of a rollout (`Rollout.kinds`).
GREEDY, EXPLORED, FATAL, LAST = 0, 1, 2, 4

_ZERO = np.float32(0)
_SHIFT, _HALF_WORD = np.uint64(11), np.uint64(32)
_UNIT = 2.0**-53


class Network(NamedTuple):
    """features F -> ReLU hidden H -> 1, as contiguous float32 arrays.

    Without hidden units (H = 0) it is linear in the features; where these are the raw board, a
    table of patterns (`tables`).

    Attributes:
        hidden_weights: [H, F].
        hidden_bias: [H].
        output_weights: [H]; of a linear network [F]; of a table [entries].
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
        fatal_value: float32[1]: value of a placement that ends the game.
        features: float32[A, F]: the afterstates looked at last.
        flags: uint8[A]: and their flags, as `game.engine.afterstates` defines them.
        values: float32[A]: and their values.
        columns: float32[F + 2, A]: scratch.
        actions: int64[A]: scratch.
    """

    settings: NDArray[np.int64]
    scales: NDArray[np.float32]
    fatal_value: NDArray[np.float32]
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


def new_rollout(samples: int, inputs: int) -> Rollout:
    """Room for a rollout of so many placements with so many features."""
    return Rollout(
        features=np.zeros((samples, inputs), np.float32),
        values=np.zeros(samples, np.float32),
        kinds=np.zeros(samples, np.uint8),
    )


@kernel
def look(games: Games, i: int, network: Network, eye: Eye) -> int:
    """Value every placement of board i's active piece into `eye.values`; returns the best action.

    Among equals the lowest action is best. Not a candidate: `NOT_A_CANDIDATE`; one that ends the
    game: the fatal value.
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
            eye.values[action] = eye.fatal_value[0]
        else:
            for f in range(inputs):
                columns[f, m] = eye.features[action, f]
            eye.actions[m] = action
            m += 1
    total = inputs + 1
    for a in range(m):
        columns[total, a] = network.output_bias[0]
    if hidden == 0:
        for f in range(inputs):
            weight = network.output_weights[f]
            for a in range(m):
                columns[total, a] += weight * columns[f, a]
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

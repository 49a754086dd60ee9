"""Compiled inner loops that all learners share: the network, rollouts, greedy play.

Floating-point sums have a fixed order, vector instructions or not (`lanes`; no fastmath): the same
seed gives the same bits wherever the code runs, on however many threads.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from mltetris_server.game.compiling import kernel, stack_array
from mltetris_server.game.config import MAX_WIDTH, FeatureSet
from mltetris_server.game.engine import (
    CANDIDATE,
    ENDS_GAME,
    Games,
    afterstates,
    place,
    reset_game,
)
from mltetris_server.game.randomness import mix
from mltetris_server.learning.lanes import LANES, load, relu, splat, store
from mltetris_server.learning.tables import board_values

NOT_A_CANDIDATE = np.float32(-1e6)
"""Value of a placement that is illegal or repeats another one: below every fatal value."""

# What became of a placement of a rollout (`Rollout.kinds`).
GREEDY, EXPLORED, FATAL, LAST = 0, 1, 2, 4

BOARD = FeatureSet.BOARD.code
_ZERO = np.float32(0)
_SHIFT, _HALF_WORD = np.uint64(11), np.uint64(32)
_UNIT = 2.0**-53
_new_cells = stack_array(types.int64, 2 * (MAX_WIDTH + 2))


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
        columns: float32[F + 2, `lanes.padded(A)`]: column m, the candidate `actions[m]` looked at
            last that does not end the game: its features, then two numbers of scratch.
        actions: int64[A]: those candidates' actions.
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
def outputs(network: Network, columns: NDArray[np.float32], count: int) -> None:
    """What a network makes of some inputs that stand side by side.

    Args:
        network: The network.
        columns: float32[F + 2, a multiple of `LANES`]: inputs in rows 0..F-1; row F + 1 is filled
            with the outputs. Behind `count` up to a multiple of `LANES` stands anything.
        count: Columns in use.
    """
    hidden, inputs = network.hidden_weights.shape
    stride = columns.shape[1]
    whole = hidden // 4 * 4
    for start in range(0, count, LANES):
        out = splat(network.output_bias[0])
        if hidden == 0:
            for f in range(inputs):
                out += splat(network.output_weights[f]) * load(columns, f * stride + start)
        # Four units at once, for the inputs are loaded once and four sums do not wait for another.
        for j in range(0, whole, 4):
            sum_0, sum_1 = splat(network.hidden_bias[j]), splat(network.hidden_bias[j + 1])
            sum_2, sum_3 = splat(network.hidden_bias[j + 2]), splat(network.hidden_bias[j + 3])
            for f in range(inputs):
                x = load(columns, f * stride + start)
                sum_0 += splat(network.hidden_weights[j, f]) * x
                sum_1 += splat(network.hidden_weights[j + 1, f]) * x
                sum_2 += splat(network.hidden_weights[j + 2, f]) * x
                sum_3 += splat(network.hidden_weights[j + 3, f]) * x
            out += splat(network.output_weights[j]) * relu(sum_0)
            out += splat(network.output_weights[j + 1]) * relu(sum_1)
            out += splat(network.output_weights[j + 2]) * relu(sum_2)
            out += splat(network.output_weights[j + 3]) * relu(sum_3)
        for j in range(whole, hidden):
            sum_0 = splat(network.hidden_bias[j])
            for f in range(inputs):
                x = load(columns, f * stride + start)
                sum_0 += splat(network.hidden_weights[j, f]) * x
            out += splat(network.output_weights[j]) * relu(sum_0)
        store(columns, (inputs + 1) * stride + start, out)


@kernel
def _look_at_cells(games: Games, i: int, network: Network, eye: Eye) -> int:
    """`look` for the raw board, with a table, once the afterstates are known."""
    for action in range(4 * games.settings[0]):
        candidate = eye.flags[action] & CANDIDATE
        eye.values[action] = eye.fatal_value[0] if candidate else NOT_A_CANDIDATE
    return board_values(
        games.columns[i],
        games.settings[1],
        eye.features,
        eye.flags,
        network.output_weights,
        np.float64(network.output_bias[0]),
        np.float64(eye.fatal_value[0]),
        eye.values,
        _new_cells(),
        eye.columns,
    )


@kernel
def look(games: Games, i: int, network: Network, eye: Eye) -> int:
    """Value every placement of board i's active piece into `eye.values`; returns the best action.

    Among equals the lowest action is best. Not a candidate: `NOT_A_CANDIDATE`; one that ends the
    game: the fatal value.
    """
    count = 4 * games.settings[0]
    inputs = network.hidden_weights.shape[1]
    afterstates(games, i, eye.settings[0], eye.scales, eye.features, eye.flags)
    if eye.settings[0] == BOARD:
        return _look_at_cells(games, i, network, eye)
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
    outputs(network, columns, m)
    for a in range(m):
        eye.values[eye.actions[a]] = columns[inputs + 1, a]
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
def roll_boards(
    games: Games,
    network: Network,
    eye: Eye,
    rollout: Rollout,
    exploration: float,
    seed: np.uint64,
    step: int,
    start: int,
    stop: int,
    first: int,
    last: int,
    ended: NDArray[np.int64],
) -> int:
    """Of placements start..stop-1 of a rollout, those of boards first..last-1; see `roll`.

    Several threads may share out the boards, each with an eye and an `ended` of its own. Games that
    ended are told board by board.
    """
    boards = games.columns.shape[0]
    count = 4 * games.settings[0]
    inputs = eye.scales.shape[0]
    endings = 0
    # Board by board, so that a board stays in the processor's nearest cache.
    for i in range(first, last):
        for k in range(start + (i - start) % boards, stop, boards):
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
            score of every game that ended, by row.

    Returns:
        How many games ended.
    """
    boards = games.columns.shape[0]
    endings = roll_boards(
        games, network, eye, rollout, exploration, seed, step, start, stop, 0, boards, ended
    )
    ended[:endings] = ended[np.argsort(ended[:endings, 0])]
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

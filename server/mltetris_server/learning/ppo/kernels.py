"""`ppo`'s compiled inner loops: playing on the actor's probabilities, and valuing states.

A state is worth what its placements are worth, weighed by how likely the policy makes them:
V(s) = sum over candidates a of pi(a | s) w(afterstate of a), w being the critic. A placement that
ends the game is no candidate here as long as there is another; where there is none, the state is
worth the death reward.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mltetris_server.game.compiling import kernel
from mltetris_server.game.engine import CANDIDATE, ENDS_GAME, Games, place, reset_game
from mltetris_server.game.randomness import mix
from mltetris_server.learning.kernels import Eye, Network, look, outputs

_ZERO = np.float32(0)
_SHIFT = np.uint64(11)
_UNIT = 2.0**-53
_LEAST = 1e-300  # so that every logarithm is finite


class Rollout(NamedTuple):
    """What the boards went through since the last update; sample k = step * boards + board.

    Attributes:
        rows: float32[most rows, F]: afterstates of all samples' candidates, one sample's behind
            the other's, each in the order of their actions.
        actions: uint8[most rows]: the action of each row.
        ends: int64[T * n + 1]: sample k's rows are `ends[k]` to `ends[k + 1] - 1`; it has none
            where every placement ended the game.
        picks: int64[T * n]: which of its candidates was taken, from 0.
        log_probs: float32[T * n]: the logarithm of its probability, at most 0.
        values: float32[(T + 1) * n]: what the state was worth before the placement; in the end,
            the states reached.
        dones: float32[T * n]: 1 where the game was over after it, else 0.
    """

    rows: NDArray[np.float32]
    actions: NDArray[np.uint8]
    ends: NDArray[np.int64]
    picks: NDArray[np.int64]
    log_probs: NDArray[np.float32]
    values: NDArray[np.float32]
    dones: NDArray[np.float32]


@kernel
def _weigh(
    games: Games,
    i: int,
    actor: Network,
    critic: Network,
    eye: Eye,
    chances: NDArray[np.float64],
    death_reward: float,
) -> tuple[int, float]:
    """Look at board i: its candidates that do not end the game, and what the state is worth.

    `chances` is filled with their probabilities, the softmax of the actor's outputs. Returns the
    number of candidates and the state's value.
    """
    look(games, i, actor, eye)
    m = 0
    for action in range(4 * games.settings[0]):
        if eye.flags[action] & CANDIDATE and not eye.flags[action] & ENDS_GAME:
            m += 1
    if m == 0:
        return 0, death_reward
    out = critic.hidden_weights.shape[1] + 1
    top = eye.columns[out, 0]
    for a in range(1, m):
        top = max(top, eye.columns[out, a])
    total = 0.0
    for a in range(m):
        chances[a] = math.exp(np.float64(eye.columns[out, a]) - np.float64(top))
        total += chances[a]
    outputs(critic, eye.columns, m)
    value = 0.0
    for a in range(m):
        chances[a] /= total
        value += chances[a] * np.float64(eye.columns[out, a])
    return m, value


@kernel
def sample(
    games: Games,
    actor: Network,
    critic: Network,
    eye: Eye,
    chances: NDArray[np.float64],
    rollout: Rollout,
    death_reward: float,
    seed: np.uint64,
    step: int,
    start: int,
    stop: int,
    ended: NDArray[np.int64],
) -> int:
    """Make placements start..stop-1 of a rollout, counted step by step over all boards.

    Each is drawn from the actor's probabilities. What is drawn depends on (seed, step, board)
    alone, so that a rollout may be cut into calls anywhere. Behind the last of T * n placements
    none are made: the states reached are valued.

    Args:
        games: The training games; one that ends is followed by the next at once.
        actor: Its outputs are the logits of the candidates.
        critic: Values afterstates.
        eye: Scratch.
        chances: float64[A]: scratch.
        rollout: Samples start..stop-1 are filled; those before them are there.
        death_reward: What a state is worth in which every placement ends the game.
        seed: The learner's.
        step: Steps made before this rollout, over the learner's whole life.
        start: First placement.
        stop: One behind the last.
        ended: int64[>= stop - start, 6], filled: k, board, number, lines, placements and score of
            every game that ended.

    Returns:
        How many games ended.
    """
    boards = games.columns.shape[0]
    samples = rollout.picks.shape[0]
    inputs = eye.scales.shape[0]
    endings = 0
    for k in range(start, stop):
        i = k % boards
        m, value = _weigh(games, i, actor, critic, eye, chances, death_reward)
        rollout.values[k] = value
        if k >= samples:
            continue
        first = rollout.ends[k]
        rollout.ends[k + 1] = first + m
        pick = 0
        if m == 0:
            # Nothing to choose and nothing to learn: the first candidate ends the game.
            action = 0
            while not eye.flags[action] & CANDIDATE:
                action += 1
            rollout.log_probs[k] = _ZERO
        else:
            number = mix(mix(seed ^ mix(np.uint64(i))) + np.uint64(step + k // boards))
            left = np.float64(number >> _SHIFT) * _UNIT
            # Rounding may leave a little behind the last one.
            while pick < m - 1 and left >= chances[pick]:
                left -= chances[pick]
                pick += 1
            action = eye.actions[pick]
            rollout.log_probs[k] = math.log(min(max(chances[pick], _LEAST), 1.0))
            for a in range(m):
                rollout.actions[first + a] = eye.actions[a]
                for f in range(inputs):
                    rollout.rows[first + a, f] = eye.columns[f, a]
        rollout.picks[k] = pick
        _, over = place(games, i, action)
        rollout.dones[k] = np.float32(over)
        if over:
            ended[endings, 0] = k
            ended[endings, 1] = i
            ended[endings, 2] = games.episode[i]
            ended[endings, 3] = games.lines[i]
            ended[endings, 4] = games.placements[i]
            ended[endings, 5] = games.score[i]
            endings += 1
            reset_game(games, i)
    return endings

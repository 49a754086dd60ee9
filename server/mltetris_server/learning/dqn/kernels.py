"""The compiled inner loop of `dqn`: from what is remembered to a batch to learn from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mltetris_server.game.compiling import kernel
from mltetris_server.game.engine import CANDIDATE, ENDS_GAME, Games, afterstates, mix
from mltetris_server.learning.kernels import EXPLORED, FATAL, LAST, Eye

_ZERO, _ONE = np.float32(0), np.float32(1)
_HALF_WORD = np.uint64(32)


class Transitions(NamedTuple):
    """What the boards went through: a ring of R steps of n boards, step s in row s % R.

    Attributes:
        columns: int64[R, n, W]: the boards before the placement, as `Games.columns` has them.
        pieces: int64[R, n]: the piece placed.
        features: float32[R, n, F]: the afterstate of the placement made; zeros where it was fatal.
        kinds: uint8[R, n]: what became of it, as `Rollout.kinds` has it.
    """

    columns: NDArray[np.int64]
    pieces: NDArray[np.int64]
    features: NDArray[np.float32]
    kinds: NDArray[np.uint8]


class Batch(NamedTuple):
    """A batch as SB3's DQN wants it: an observation has F + 2 numbers for each placement in it.

    Attributes:
        observations: float32[B, F + 2]: the placement made, alone.
        next_observations: float32[B, A * (F + 2)]: all placements there were n steps later.
        rewards: float32[B, 1]: discounted sum of the rewards in between.
        dones: float32[B, 1]: 1 where the game was over in between.
        discounts: float32[B, 1]: what the value n steps later is multiplied by.
    """

    observations: NDArray[np.float32]
    next_observations: NDArray[np.float32]
    rewards: NDArray[np.float32]
    dones: NDArray[np.float32]
    discounts: NDArray[np.float32]


@kernel
def sample(
    memory: Transitions,
    first: int,
    last: int,
    desk: Games,
    eye: Eye,
    gamma: float,
    n_steps: int,
    draw: np.uint64,
    batch: Batch,
) -> None:
    """Fill a batch with random transitions, with replacement.

    A transition reaches up to `n_steps` placements ahead (Sutton and Barto 2018, section 7.1), and
    not beyond the end of its game, a random placement that was not the best one (Watkins 1989), or
    the last step. The only reward is the fatal value, for the placement that ends the game.

    Args:
        memory: Where to draw from.
        first: The first step that may be drawn.
        last: One behind the last; that step's boards and pieces are in memory too.
        desk: One board to look at placements on.
        eye: Scratch.
        gamma: The discount.
        n_steps: Placements to look ahead, at least 1.
        draw: Decides which transitions.
        batch: Filled.
    """
    steps, boards, width = memory.columns.shape
    actions = 4 * width
    inputs = memory.features.shape[2]
    row_length = inputs + 2
    size = np.uint64((last - first) * boards)
    for b in range(batch.rewards.shape[0]):
        number = mix(draw + np.uint64(b)) >> _HALF_WORD
        k = np.int64((number * size) >> _HALF_WORD)
        step = first + k // boards
        i = k % boards
        row = step % steps
        for f in range(inputs):
            batch.observations[b, f] = memory.features[row, i, f]
        batch.observations[b, inputs] = _ONE
        batch.observations[b, inputs + 1] = _ONE if memory.kinds[row, i] & FATAL else _ZERO

        discount = gamma
        over = (memory.kinds[row, i] & LAST) != 0
        reward = np.float64(eye.fatal_value[0]) if over else 0.0
        ahead = 1
        step += 1
        while not over and ahead < n_steps and step < last:
            kind = memory.kinds[step % steps, i]
            if kind & EXPLORED:
                break
            if kind & LAST:
                over = True
                reward = discount * np.float64(eye.fatal_value[0])
            discount *= gamma
            ahead += 1
            step += 1
        batch.rewards[b, 0] = np.float32(reward)
        batch.dones[b, 0] = _ONE if over else _ZERO
        batch.discounts[b, 0] = np.float32(discount)

        if over:
            for x in range(actions * row_length):
                batch.next_observations[b, x] = _ZERO
            continue
        row = step % steps
        for c in range(width):
            desk.columns[0, c] = memory.columns[row, i, c]
        desk.pieces[0, 0] = memory.pieces[row, i]
        afterstates(desk, 0, eye.settings[0], eye.scales, eye.features, eye.flags)
        for action in range(actions):
            out = action * row_length
            for f in range(inputs):
                batch.next_observations[b, out + f] = eye.features[action, f]
            flags = eye.flags[action]
            batch.next_observations[b, out + inputs] = _ONE if flags & CANDIDATE else _ZERO
            batch.next_observations[b, out + inputs + 1] = _ONE if flags & ENDS_GAME else _ZERO

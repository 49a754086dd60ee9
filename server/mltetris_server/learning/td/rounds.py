"""The work of a round of learning, cut into pieces of a few milliseconds.

A round is a rollout, targets for it, gradient steps and a step of the average. Which piece comes
next is part of the state, and what a piece draws at random depends on the seed and on counters
alone: a learner may be held, written down and gone on with between any two pieces.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mltetris_server.game.config import FeatureSet
from mltetris_server.game.engine import Games, new_games
from mltetris_server.hyperparameters import TdConfig
from mltetris_server.learning.kernels import Network, new_rollout, roll_boards
from mltetris_server.learning.model import ModelDescription
from mltetris_server.learning.player import make_eye
from mltetris_server.learning.policy import AfterstatePolicy, network_views
from mltetris_server.learning.seeds import mixed
from mltetris_server.learning.td.descent import Descent, NetworkDescent, TableDescent
from mltetris_server.learning.td.kernels import returns
from mltetris_server.learning.td.memory import Window

PIECE_SECONDS = 0.002
"""How long a piece should take on an ordinary core. What it holds follows from the settings and not
from the clock, so that a run repeats exactly."""

AVERAGE_WARM_UP = 10
"""The first averages forget faster: that of round k keeps at most (1 + k) / (10 + k) of the old
values, as TensorFlow's ExponentialMovingAverage with num_updates. Else random weights would act,
and be learnt from, for long."""

_WORTH_SHARING = 100
"""Looks at boards below which another thread would cost more time than it saves."""

_DRAWS = 0x5EED_0F_BA7C4E5
"""Tells the batches' random numbers from all others of the same seed."""

T = TypeVar("T")


def gradient_steps(config: TdConfig) -> int:
    """Gradient steps of a round."""
    return max(1, config.epochs * config.boards * config.rollout_steps // config.batch_size)


class Rounds:
    """Games, memory and networks of one learner.

    Args:
        description: What is learnt, and how.
        seed: Of everything random here.
        games_seed: Of the pieces.
        done: Rounds done before.
        threads: Threads to look at boards with; nothing that is learnt depends on it.

    Attributes:
        games: The training boards.
        rollout: What they went through in this round.
        window: And in the rounds before.
        number: Rounds done, over the learner's whole life.
        position: Placements of this round's rollout that are made.
        minibatch: Gradient steps of this round that are made.
    """

    def __init__(
        self,
        description: ModelDescription,
        seed: int,
        games_seed: int,
        done: int,
        threads: int = 1,
    ) -> None:
        config, width = description.config, description.game.width
        assert isinstance(config, TdConfig)
        self.config = config
        self.samples = config.boards * config.rollout_steps
        self.minibatches = gradient_steps(config)
        self.games: Games = new_games(description.training_game, config.boards, games_seed)
        self.rollout = new_rollout(self.samples, description.inputs)
        self.window = Window(config.window, self.samples, description.inputs)
        self.number = done
        self.position = 0
        self.minibatch = 0
        self._description = description
        self._seed = np.uint64(seed)
        self._draws = mixed(seed ^ _DRAWS)
        threads = min(threads, config.boards)
        edges = [config.boards * k // threads for k in range(threads + 1)]
        self._shares = list(itertools.pairwise(edges))
        self._eyes = [
            make_eye(description.features, width, config.fatal_value) for _ in self._shares
        ]
        # Microseconds, measured: look at a board.
        if description.features is FeatureSet.BOARD:
            look = 1 + 0.1 * width + 0.02 * width * config.training_height
        else:
            products = description.inputs * config.hidden_units
            look = 0.5 + 4 * width * (0.03 + 0.00002 * products)
        self._looks_a_piece = max(1, int(PIECE_SECONDS * 1e6 * threads / look))
        # A whole number of steps of all boards, where one fits.
        whole = self._looks_a_piece // config.boards * config.boards
        self._stretch = min(self.samples, whole or self._looks_a_piece)
        self._ended = [np.zeros((self._stretch, 6), np.int64) for _ in self._shares]

    def bind(self, policy: AfterstatePolicy) -> None:
        """Work on the policy's own weights and optimizer, in place."""
        self._online = network_views(policy.q_net.parameters())
        self._average = network_views(policy.q_net_target.parameters())
        description, config = self._description, self.config
        self._descent: Descent
        if description.features is FeatureSet.BOARD:
            self._descent = TableDescent(policy, config, description.game.width, self._draws)
        else:
            self._descent = NetworkDescent(policy, config, description.inputs, self._draws)
        self._steps_a_piece = max(1, int(PIECE_SECONDS / self._descent.step_seconds))

    @property
    def average(self) -> Network:
        """The averaged network, the one that acts; changes with every round."""
        return self._average

    @property
    def online(self) -> Network:
        """The network that gradient steps change."""
        return self._online

    @property
    def between(self) -> bool:
        """Whether one round is over and the next has not begun."""
        return self.position == 0

    @property
    def rolled(self) -> bool:
        """Whether this round's rollout is complete."""
        return self.position == self.samples

    def roll(
        self, exploration: float, *, one_step: bool, pool: Executor | None = None
    ) -> NDArray[np.int64]:
        """A stretch of the rollout.

        Args:
            exploration: Probability of a random placement.
            one_step: End with the step that all boards are in, so that board 0 makes one
                placement at most.
            pool: Where the threads but this one are; None: there are none.

        Returns:
            The games that ended, as `kernels.roll` has them.
        """
        start, boards = self.position, self.config.boards
        stop = min(start + self._stretch, self.samples)
        if one_step:
            stop = min(stop, (start // boards + 1) * boards)

        def work(thread: int, first: int, last: int) -> NDArray[np.int64]:
            ended = self._ended[thread]
            endings = roll_boards(
                self.games,
                self._average,
                self._eyes[thread],
                self.rollout,
                exploration,
                self._seed,
                self.number * self.config.rollout_steps,
                start,
                stop,
                first,
                last,
                ended,
            )
            return ended[:endings]

        rows = np.concatenate(self._share_out(work, 0, boards, stop - start, pool))
        self.position = stop
        return rows[np.argsort(rows[:, 0])]

    def _share_out(
        self,
        work: Callable[[int, int, int], T],
        first: int,
        last: int,
        looks: int,
        pool: Executor | None,
    ) -> list[T]:
        """Let every thread do its share of boards first..last-1; `work` is given the number of the
        thread and its boards."""
        if pool is None or looks < _WORTH_SHARING:
            return [work(0, first, last)]
        shares = [
            (thread, max(first, low), min(last, high))
            for thread, (low, high) in enumerate(self._shares)
        ]
        mine, *others = shares
        futures = [pool.submit(work, *share) for share in others]
        return [work(*mine), *(future.result() for future in futures)]

    def take_targets(self, first: int, pool: Executor | None = None) -> int:
        """The targets of boards from `first` on, into the window; returns the board to go on with.

        Nothing else changes until `remember`: it may be begun again.
        """
        last = min(first + self._looks_a_piece, self.config.boards)
        _, targets = self.window.slot()

        def work(thread: int, low: int, high: int) -> None:
            returns(
                self.games,
                self._average,
                self._eyes[thread],
                self.rollout,
                self.config.gamma,
                self.config.td_lambda,
                low,
                high,
                targets,
            )

        self._share_out(work, first, last, last - first, pool)
        return last

    def remember(self) -> None:
        """This round's rollout is in the window; a gradient step must follow."""
        features, _ = self.window.slot()
        features[:] = self.rollout.features
        self.window.advance()

    def step(self, count: int) -> tuple[float, int]:
        """Some gradient steps.

        Args:
            count: Gradient steps made before, over the learner's whole life.

        Returns:
            The sum of their losses and how many they were.
        """
        steps = self.fitting_steps(self.minibatch)
        losses = self.descend(count, steps)
        self.minibatch += steps
        return losses, steps

    def fitting_steps(self, made: int) -> int:
        """Gradient steps of a piece, where so many of a round's are made."""
        return min(self._steps_a_piece, self.minibatches - made)

    def descend(self, count: int, steps: int) -> float:
        """Gradient steps on what is in the window; returns the sum of their losses.

        Args:
            count: Gradient steps made before, over the learner's whole life.
            steps: How many to make.
        """
        return self._descent.step(self.window, count, count + steps)

    @property
    def stepped(self) -> bool:
        """Whether all gradient steps of this round are made."""
        return self.minibatch == self.minibatches

    def finish(self) -> None:
        """Update the average; the next round may begin."""
        self.average_in(self.number)
        self.number += 1
        self.position = 0
        self.minibatch = 0

    def average_in(self, number: int) -> None:
        """Update the average, where so many updates came before."""
        warm = (1 + number) / (AVERAGE_WARM_UP + number)
        keep = np.float32(min(self.config.average_decay, warm))
        for old, new in zip(self._average, self._online, strict=True):
            old *= keep
            old += (np.float32(1) - keep) * new

"""The work of a round of learning, cut into pieces of a few milliseconds.

A round is a rollout, targets for it, gradient steps and a step of the average. Which piece comes
next is part of the state, and what a piece draws at random depends on the seed and on counters
alone: a learner may be held, written down and gone on with between any two pieces.
"""

from __future__ import annotations

import numpy as np
import torch as th
from numpy.typing import NDArray

from mltetris_server.game.config import FeatureSet
from mltetris_server.game.engine import Games, new_games
from mltetris_server.hyperparameters import TdConfig
from mltetris_server.learning.kernels import Network, new_rollout, roll
from mltetris_server.learning.model import ModelDescription
from mltetris_server.learning.player import make_eye
from mltetris_server.learning.policy import AfterstatePolicy, network_views
from mltetris_server.learning.seeds import mixed
from mltetris_server.learning.tables import ROOM, table_gradient
from mltetris_server.learning.td.kernels import gradient, returns
from mltetris_server.learning.td.memory import Window

PIECE_SECONDS = 0.002
"""How long a piece should take on an ordinary core. What it holds follows from the settings and not
from the clock, so that a run repeats exactly."""

AVERAGE_WARM_UP = 10
"""The first averages forget faster: that of round k keeps at most (1 + k) / (10 + k) of the old
values, as TensorFlow's ExponentialMovingAverage with num_updates. Else random weights would act,
and be learnt from, for long."""

_DRAWS = 0x5EED_0F_BA7C4E5
"""Tells the batches' random numbers from all others of the same seed."""


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

    Attributes:
        games: The training boards.
        rollout: What they went through in this round.
        window: And in the rounds before.
        number: Rounds done, over the learner's whole life.
        position: Placements of this round's rollout that are made.
        minibatch: Gradient steps of this round that are made.
    """

    def __init__(
        self, description: ModelDescription, seed: int, games_seed: int, done: int
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
        self._seed = np.uint64(seed)
        self._draws = mixed(seed ^ _DRAWS)
        self._eye = make_eye(description.features, width, config.fatal_value)
        self._room = np.zeros((2 * description.inputs + 1, config.hidden_units), np.float32)
        self._table = description.features is FeatureSet.BOARD
        self._entries = np.zeros(ROOM * width, np.int64)
        # Microseconds, measured: look at a board, and use a sample.
        if self._table:
            windows = width * config.training_height
            look = 1 + 0.1 * width + 0.02 * windows
            step = 200 + config.batch_size * 0.006 * windows
        else:
            products = description.inputs * config.hidden_units
            look = 0.5 + 4 * width * (0.02 + 0.00012 * products)
            step = 60 + config.batch_size * (0.01 + 0.0004 * products)
        budget = PIECE_SECONDS * 1e6
        self._looks_a_piece = max(1, int(budget / look))
        self._steps_a_piece = max(1, int(budget / step))
        # A whole number of steps of all boards, where one fits.
        whole = self._looks_a_piece // config.boards * config.boards
        self._stretch = min(self.samples, whole or self._looks_a_piece)
        self._ended = np.zeros((self._stretch, 6), np.int64)

    def bind(self, policy: AfterstatePolicy) -> None:
        """Work on the policy's own weights, gradients and optimizer, in place."""
        self._optimizer = policy.optimizer
        self._online = network_views(policy.q_net.parameters())
        self._average = network_views(policy.q_net_target.parameters())
        parameters = list(policy.q_net.parameters())
        for parameter in parameters:
            parameter.grad = th.zeros_like(parameter)
        self._slopes = network_views(parameter.grad for parameter in parameters)

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

    def roll(self, exploration: float, *, one_step: bool) -> NDArray[np.int64]:
        """A stretch of the rollout.

        Args:
            exploration: Probability of a random placement.
            one_step: End with the step that all boards are in, so that board 0 makes one
                placement at most.

        Returns:
            The games that ended, as `kernels.roll` has them.
        """
        stop = min(self.position + self._stretch, self.samples)
        if one_step:
            boards = self.config.boards
            stop = min(stop, (self.position // boards + 1) * boards)
        endings = roll(
            self.games,
            self._average,
            self._eye,
            self.rollout,
            exploration,
            self._seed,
            self.number * self.config.rollout_steps,
            self.position,
            stop,
            self._ended,
        )
        self.position = stop
        return self._ended[:endings]

    def take_targets(self, first: int) -> int:
        """The targets of boards from `first` on, into the window; returns the board to go on with.

        Nothing else changes until `remember`: it may be begun again.
        """
        last = min(first + self._looks_a_piece, self.config.boards)
        _, targets = self.window.slot()
        returns(
            self.games,
            self._average,
            self._eye,
            self.rollout,
            self.config.gamma,
            self.config.td_lambda,
            first,
            last,
            targets,
        )
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
        steps = min(self._steps_a_piece, self.minibatches - self.minibatch)
        losses = 0.0
        for k in range(count, count + steps):
            losses += self._gradient(np.uint64(mixed(self._draws + k)))
            self._optimizer.step()
        self.minibatch += steps
        return losses, steps

    def _gradient(self, draw: np.uint64) -> float:
        """The gradient of one batch, into the optimizer's; returns the loss."""
        window, batch = self.window, self.config.batch_size
        if self._table:
            return table_gradient(
                window.features,
                window.targets,
                window.size,
                batch,
                draw,
                self._online.output_weights,
                self._online.output_bias,
                self.config.death_reward,
                self._slopes.output_weights,
                self._slopes.output_bias,
                self._entries,
            )
        return gradient(
            window.features,
            window.targets,
            window.size,
            batch,
            draw,
            self._online,
            self._slopes,
            self._room,
        )

    @property
    def stepped(self) -> bool:
        """Whether all gradient steps of this round are made."""
        return self.minibatch == self.minibatches

    def finish(self) -> None:
        """Update the average; the next round may begin."""
        warm = (1 + self.number) / (AVERAGE_WARM_UP + self.number)
        keep = np.float32(min(self.config.average_decay, warm))
        for old, new in zip(self._average, self._online, strict=True):
            old *= keep
            old += (np.float32(1) - keep) * new
        self.number += 1
        self.position = 0
        self.minibatch = 0

"""`ppo`'s side of a round that is compiled: the games, and the rollout they fill.

A round is a rollout, its advantages, and an update of both networks. Which piece comes next is
part of the state, and what a piece draws at random depends on the seed and on counters alone: a
learner may be held, written down and gone on with between any two pieces.
"""

from __future__ import annotations

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from mltetris_server.game.engine import Games, new_games
from mltetris_server.hyperparameters import PpoConfig
from mltetris_server.learning.kernels import Network
from mltetris_server.learning.model import ModelDescription
from mltetris_server.learning.player import make_eye
from mltetris_server.learning.policy import network_views
from mltetris_server.learning.ppo.buffer import CandidateBuffer
from mltetris_server.learning.ppo.kernels import sample
from mltetris_server.learning.ppo.policy import CandidatePolicy
from mltetris_server.learning.seeds import mixed

PIECE_SECONDS = 0.002
"""How long a stretch of the rollout should take on an ordinary core. How many placements it has
follows from the settings and not from the clock, so that a run repeats exactly."""

_SHUFFLES = 0x5EED_0F_5_0FF1E
"""Tells the minibatches' random numbers from all others of the same seed."""


class Rounds:
    """Games and rollout of one learner.

    Args:
        description: What is learnt, and how.
        policy: What plays: its own weights, as they are at any time.
        seed: Of everything random here.
        games_seed: Of the pieces.
        done: Rounds done before.

    Attributes:
        games: The training boards.
        buffer: The rollout, and how far the update on it is.
        number: Rounds done, over the learner's whole life.
    """

    def __init__(
        self,
        description: ModelDescription,
        policy: CandidatePolicy,
        seed: int,
        games_seed: int,
        done: int,
    ) -> None:
        config = description.config
        assert isinstance(config, PpoConfig)
        assert isinstance(policy.action_space, spaces.Discrete)
        self.config = config
        self.games: Games = new_games(description.training_game, config.boards, games_seed)
        self.buffer = CandidateBuffer(
            config.rollout_steps,
            config.boards,
            description.inputs,
            policy.observation_space,
            policy.action_space,
            config.gamma,
            config.gae_lambda,
        )
        self._seed = np.uint64(seed)
        self._shuffles = mixed(seed ^ _SHUFFLES)
        self._eye = make_eye(description.features, description.game.width, config.fatal_value)
        self._chances = np.zeros(description.game.actions, np.float64)
        # Microseconds, measured: look at a board with both networks.
        products = 2 * description.inputs * config.hidden_units
        look = 1.0 + description.game.actions * (0.02 + 0.00012 * products)
        self._looks_a_piece = max(1, int(PIECE_SECONDS * 1e6 / look))
        # A whole number of steps of all boards, where one fits.
        whole = self._looks_a_piece // config.boards * config.boards
        self._stretch = min(self.buffer.samples, whole or self._looks_a_piece)
        self._ended = np.zeros((self._stretch, 6), np.int64)
        self.bind(policy)
        self.begin(done)

    def bind(self, policy: CandidatePolicy) -> None:
        """Play with the policy's own weights, in place."""
        self.actor: Network = network_views(policy.actor.parameters())
        self.critic: Network = network_views(policy.critic.parameters())

    def begin(self, number: int) -> None:
        """Begin round `number`, with an empty rollout."""
        self.number = number
        self.buffer.reset()
        self.buffer.shuffle = mixed(self._shuffles + number)

    @property
    def between(self) -> bool:
        """Whether one round is over and the next has not begun."""
        return self.buffer.position == 0

    @property
    def rolled(self) -> bool:
        """Whether this round's rollout is complete."""
        return self.buffer.position == self.buffer.samples

    def roll(self, *, one_step: bool) -> NDArray[np.int64]:
        """A stretch of the rollout.

        Args:
            one_step: End with the step that all boards are in, so that board 0 makes one
                placement at most.

        Returns:
            The games that ended, as `kernels.sample` has them.
        """
        buffer, config = self.buffer, self.config
        stop = min(buffer.position + self._stretch, buffer.samples)
        if one_step:
            stop = min(stop, (buffer.position // config.boards + 1) * config.boards)
        endings = self._sample(buffer.position, stop)
        buffer.position = stop
        return self._ended[:endings]

    def value(self, first: int) -> int:
        """Value the states that boards from `first` on have reached; returns the board to go on
        with. The last piece works out the advantages.

        Nothing else changes until then: it may be begun again.
        """
        boards = self.config.boards
        last = min(first + self._looks_a_piece, boards)
        self._sample(self.buffer.samples + first, self.buffer.samples + last)
        if last == boards:
            self.buffer.estimate(self.config.death_reward)
        return last

    def _sample(self, start: int, stop: int) -> int:
        return sample(
            self.games,
            self.actor,
            self.critic,
            self._eye,
            self._chances,
            self.buffer.rollout,
            self.config.death_reward,
            self._seed,
            self.number * self.config.rollout_steps,
            start,
            stop,
            self._ended,
        )

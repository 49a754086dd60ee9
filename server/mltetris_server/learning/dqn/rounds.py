"""Rollouts of `dqn`, cut into pieces of a few milliseconds, into its replay memory.

What a placement draws at random depends on the seed and on counters alone: a learner may be held,
written down and gone on with between any two pieces.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mltetris_server.game.engine import Games, new_games
from mltetris_server.hyperparameters import DqnConfig
from mltetris_server.learning.dqn.memory import CandidateMemory
from mltetris_server.learning.kernels import LAST, Network, roll
from mltetris_server.learning.model import ModelDescription
from mltetris_server.learning.player import make_eye

PIECE_SECONDS = 0.002
"""How long a piece should take on an ordinary core. What it holds follows from the settings and not
from the clock, so that a run repeats exactly."""


class Rounds:
    """Games and memory of one learner: a round is a rollout and the gradient steps after it.

    Args:
        description: What is learnt, and how.
        seed: Of exploration.
        games_seed: Of the pieces.
        done: Rounds done before.

    Attributes:
        games: The training boards.
        memory: What they went through.
        samples: Placements of a round.
        number: Rounds done, over the learner's whole life.
        position: Placements of this round's rollout that are made.
        minibatch: Gradient steps of this round that are made.
    """

    def __init__(
        self, description: ModelDescription, seed: int, games_seed: int, done: int
    ) -> None:
        config, width = description.config, description.game.width
        assert isinstance(config, DqnConfig)
        self.config = config
        self.samples = config.boards * config.rollout_steps
        self.games: Games = new_games(description.training_game, config.boards, games_seed)
        self.memory = CandidateMemory(description, done * config.rollout_steps)
        self.number = done
        self.position = 0
        self.minibatch = 0
        self._seed = np.uint64(seed)
        self._eye = make_eye(description.features, width, config.fatal_value)
        # Microseconds, measured: look at a board.
        look = 0.5 + 4 * width * (0.02 + 0.00012 * description.inputs * config.hidden_units)
        looks = max(1, int(PIECE_SECONDS * 1e6 / look))
        # A whole number of steps of all boards, where one fits.
        self._stretch = min(self.samples, looks // config.boards * config.boards or looks)
        self._ended = np.zeros((self._stretch, 6), np.int64)

    @property
    def step(self) -> int:
        """Steps of all boards that are complete, over the learner's whole life."""
        return self.number * self.config.rollout_steps + self.position // self.config.boards

    @property
    def between(self) -> bool:
        """Whether one round is over and the next has not begun."""
        return self.position == 0

    @property
    def rolled(self) -> bool:
        """Whether this round's rollout is complete."""
        return self.position == self.samples

    @property
    def stepped(self) -> bool:
        """Whether all gradient steps of this round are made."""
        return self.minibatch == self.config.gradient_steps

    def roll(
        self, network: Network, exploration: float, *, one_step: bool
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """A stretch of the rollout.

        Args:
            network: What acts.
            exploration: Probability of a random placement.
            one_step: End with the step that all boards are in, so that board 0 makes one
                placement at most.

        Returns:
            The games that ended, as `kernels.roll` has them, with rows counted from the beginning
            of the round; and of each placement whether it ended one.
        """
        boards, memory = self.config.boards, self.memory
        begin, stop = self.position, min(self.position + self._stretch, self.samples)
        if one_step:
            stop = min(stop, (begin // boards + 1) * boards)
        endings = 0
        dones = np.zeros(stop - begin, np.bool_)
        while self.position < stop:
            board = self.position % boards
            count = min(boards - board, stop - self.position)
            step, slot = self.step, memory.slot(self.step)
            memory.see(self.games, step, board, board + count)
            before = endings
            endings += roll(
                self.games,
                network,
                self._eye,
                slot,
                exploration,
                self._seed,
                step,
                board,
                board + count,
                self._ended[endings:],
            )
            self._ended[before:endings, 0] += self.position - board
            there = self.position - begin
            dones[there : there + count] = slot.kinds[board : board + count] & LAST
            self.position += count
        if self.rolled:
            memory.complete(self.games, self.step)
        return self._ended[:endings], dones

    def finish(self) -> None:
        """The next round may begin."""
        self.number += 1
        self.position = 0
        self.minibatch = 0

"""One iteration of `cem`, a race: all samples play at once, until few are still in play.

The race ends the moment the elite is known. Nobody waits for the last long games, whose players
have all shown that they are good, and all boards that are still in play are about as far: threads
that share them out are busy to the end.
"""

from __future__ import annotations

import math
from concurrent.futures import Executor

import numpy as np
from numpy.typing import NDArray

from mltetris_server.game.engine import new_games
from mltetris_server.hyperparameters import CemConfig
from mltetris_server.learning.cem.distribution import Distribution, shares
from mltetris_server.learning.cem.kernels import ENDED_FIELDS, race, start_games
from mltetris_server.learning.kernels import Network
from mltetris_server.learning.model import ModelDescription
from mltetris_server.learning.player import make_eye

STILL_IN_PLAY = int(np.iinfo(np.int64).max)
"""When a sample was out that is not."""

_SLICE_CELLS = 24_000
"""Placements of a slice, all boards together, times the board's width: about 3 ms on one core. It
follows from the settings and not from the clock, so that a run repeats exactly."""


class Iteration:
    """The samples of an iteration, their games, and how far these are.

    Args:
        description: What is learnt, and how.
        distribution: What the samples are drawn from.
        seed: Of the samples.
        games_seed: Of the pieces.
        number: Iterations done before.
        threads: Threads to play on; what comes out does not depend on it.

    Attributes:
        games: One board for each sample.
        weights: float32[n, F]: the samples.
        deaths: int64[n]: games each has lost.
        made: int64[n]: placements each has made.
        horizon: Placements that all who are still in play have made, or are about to.
        number: Iterations done before this one.
    """

    def __init__(
        self,
        description: ModelDescription,
        distribution: Distribution,
        *,
        seed: int,
        games_seed: int,
        number: int = 0,
        threads: int = 1,
    ) -> None:
        config, width = description.config, description.game.width
        assert isinstance(config, CemConfig)
        self.config = config
        boards, inputs = config.boards, description.inputs
        self.games = new_games(description.training_game, boards, games_seed)
        self.weights = np.zeros((boards, inputs), np.float32)
        self.deaths = np.zeros(boards, np.int64)
        self.made = np.zeros(boards, np.int64)
        self.horizon = 0
        self.number = number
        self._distribution = distribution
        self._seed = seed
        self._threads = threads
        self._slice = max(1, _SLICE_CELLS // width)
        self._network = Network(
            np.zeros((0, inputs), np.float32),
            np.zeros(0, np.float32),
            np.zeros(inputs, np.float32),
            np.zeros(1, np.float32),
        )
        self._eyes = [
            make_eye(description.features, width, config.fatal_value) for _ in range(threads)
        ]
        room = max(self._slice, boards)
        self._ended = [np.zeros((room, ENDED_FIELDS), np.int64) for _ in range(threads)]
        self._begin()

    @property
    def in_play(self) -> NDArray[np.int64]:
        """The boards whose samples have a game left."""
        return np.flatnonzero(self.deaths < self.config.games)

    @property
    def decided(self) -> bool:
        """Whether it is known who belongs to the elite."""
        boards = self.in_play
        if (self.made[boards] < self.horizon).any():
            return False
        return boards.size <= self.config.elite or self.horizon >= self.config.iteration_limit

    def play(self, pool: Executor | None, *, one_step: bool) -> NDArray[np.int64]:
        """A slice of a few milliseconds.

        Args:
            pool: Where the threads but this one are; None: there are none.
            one_step: One placement of every board at most.

        Returns:
            The games that ended, as `kernels.race` has them, in the order in which they would
            have ended had all boards played in step.
        """
        in_play = self.in_play
        boards = in_play[self.made[in_play] < self.horizon]
        if not boards.size:
            boards = in_play
            step = 1 if one_step else max(1, self._slice // boards.size)
            self.horizon = min(self.horizon + step, self.config.iteration_limit)
        # More boards than a slice has placements take several.
        boards = boards[: self._slice]
        threads = self._threads if pool is not None else 1
        parts = [boards[k::threads] for k in range(min(threads, boards.size))]
        others = [pool.submit(self._race, k, parts[k]) for k in range(1, len(parts)) if pool]
        ended = [self._race(0, parts[0]), *(other.result() for other in others)]
        rows = np.concatenate(ended)
        order: NDArray[np.int64] = rows[np.lexsort((rows[:, 0], rows[:, 1]))]
        return order

    def finish(self) -> None:
        """Learn from this iteration, which is decided, and begin the next."""
        config = self.config
        out = np.where(self.deaths < config.games, STILL_IN_PLAY, self.made)
        noise = config.noise / math.sqrt(1 + self.number / config.noise_halving)
        self._distribution.update(self.weights, shares(out, config.elite), noise)
        self.number += 1
        self._begin()

    def _begin(self) -> None:
        """Draw the samples, and start their first games."""
        self.weights[...] = self._distribution.draw(self.config.boards, self._seed, self.number)
        self.deaths[...] = 0
        self.made[...] = 0
        self.horizon = 0
        # Every game of every sample of every iteration has pieces of its own.
        start_games(self.games, self.number * self.config.games)

    def _race(self, thread: int, boards: NDArray[np.int64]) -> NDArray[np.int64]:
        ended = self._ended[thread]
        count = race(
            self.games,
            boards,
            self.weights,
            self._network,
            self._eyes[thread],
            self.deaths,
            self.made,
            self.config.games,
            self.horizon,
            ended,
        )
        return ended[:count]

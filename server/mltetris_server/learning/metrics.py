"""What a learner has been doing: the figures its watchers see.

Fed by `TD` after every stretch of placements, read by whoever reports: the worker, a logger, a
script. Reading "since the last time" figures (`take_...`) starts a new stretch.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

EPISODES_AVERAGED = 100
"""Training episodes a mean is taken over, as everywhere in Stable-Baselines3."""

EPISODES_SAMPLED = 32
"""Finished episodes kept for `take_episodes`; of the others only the count is known."""


@dataclass(frozen=True, slots=True)
class FinishedEpisode:
    """One game of the training boards that ended."""

    board: int
    """Which board, from 0."""
    number: int
    """Number of the game on its board, from 1."""
    lines: int
    placements: int
    score: float
    """1 a placement and width x lines squared a clearing, tetris-gymnasium's default rewards."""
    run_placements: int
    """The learner's placements when the game ended, over all boards."""


class TrainingMetrics:
    """Running figures of one learner."""

    def __init__(self) -> None:
        self.episodes = 0
        """Finished training episodes, over the learner's whole life."""
        self.best_lines = 0
        """Most lines of one training episode, running ones included."""
        self._scores = np.zeros(EPISODES_AVERAGED, np.float64)
        self._lines = np.zeros(EPISODES_AVERAGED, np.int64)
        self._sample: deque[FinishedEpisode] = deque(maxlen=EPISODES_SAMPLED)
        self._loss_sum = 0.0
        self._loss_count = 0

    @property
    def mean_reward(self) -> float | None:
        """Mean score of the last 100 training episodes; None before the first ended.

        The score, not the -10 and 0 that the learner is paid: those say nothing to anybody.
        """
        return float(self._recent(self._scores).mean()) if self.episodes else None

    @property
    def mean_lines(self) -> float | None:
        """Mean lines of the last 100 training episodes; None before the first ended."""
        return float(self._recent(self._lines).mean()) if self.episodes else None

    def take_loss(self) -> float | None:
        """Mean loss of the gradient steps since the last call; None when there were none."""
        if not self._loss_count:
            return None
        mean = self._loss_sum / self._loss_count
        self._loss_sum, self._loss_count = 0.0, 0
        return mean

    def take_episodes(self) -> list[FinishedEpisode]:
        """The newest episodes that ended since the last call, at most 32, oldest first."""
        taken = list(self._sample)
        self._sample.clear()
        return taken

    def add_episode(self, episode: FinishedEpisode) -> None:
        """Count a finished episode in."""
        position = self.episodes % EPISODES_AVERAGED
        self._scores[position] = episode.score
        self._lines[position] = episode.lines
        self.episodes += 1
        self.best_lines = max(self.best_lines, episode.lines)
        self._sample.append(episode)

    def add_loss(self, loss_sum: float, count: int) -> None:
        """Count the losses of `count` gradient steps in."""
        self._loss_sum += loss_sum
        self._loss_count += count

    def see_lines(self, lines: int) -> None:
        """Take note of the lines of a game that is still going."""
        self.best_lines = max(self.best_lines, lines)

    def state(self) -> dict[str, npt.NDArray[np.int64] | npt.NDArray[np.float64]]:
        """What a checkpoint keeps, as arrays: the counts and the last 100 episodes."""
        return {
            "counts": np.array([self.episodes, self.best_lines], np.int64),
            "scores": self._scores.copy(),
            "lines": self._lines.copy(),
        }

    def restore(
        self,
        counts: npt.NDArray[np.int64],
        scores: npt.NDArray[np.float64],
        lines: npt.NDArray[np.int64],
    ) -> None:
        """The reverse of `state`."""
        self.episodes, self.best_lines = int(counts[0]), int(counts[1])
        self._scores[:] = scores
        self._lines[:] = lines

    def _recent(self, values: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        return values[: min(self.episodes, EPISODES_AVERAGED)]

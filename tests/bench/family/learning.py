"""One learner on one seed: learnt for a while, examined now and then, on the clock or off it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mltetris_server.game.config import FeatureSet, GameConfig
from mltetris_server.hyperparameters import TRAINABLE
from mltetris_server.learning.agent import Agent
from mltetris_server.learning.algorithms import algorithm
from mltetris_server.learning.evaluation import EvaluationResult, GreedyEvaluation
from mltetris_server.learning.model import ModelDescription
from mltetris_server.learning.player import Player
from stable_baselines3.common.callbacks import BaseCallback

FIRST_SEED = 3_000
"""Settings were chosen on seeds below 100; these were not looked at."""
EXAMINATION_SEED = 50_000
"""Pieces of the examinations on the way; never a training's."""
FINAL_SEED = 90_000
"""Pieces of the last examination, seen nowhere else."""
_WITHOUT_END = 10**15


@dataclass(frozen=True)
class Task:
    """What is learnt, and how.

    Attributes:
        algorithm: Its name; everything else of it is as it comes.
        game: The game.
        features: What is seen.
        threads: Threads to learn with: with one, seconds are those of one core's CPU time, with
            more they are the clock's on the wall.
    """

    algorithm: str
    game: GameConfig
    features: FeatureSet = FeatureSet.BCTS
    threads: int = 1


class _Slice(BaseCallback):
    """Ends `learn` when its time is up."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        self.until = 0.0

    def _on_step(self) -> bool:
        return self._clock() < self.until


class Learner:
    """A task being learnt on one seed; only learning is on its clock."""

    def __init__(self, task: Task, seed: int) -> None:
        self.task = task
        self.seed = seed
        config = TRAINABLE[task.algorithm].for_game(task.game.height, task.features)
        description = ModelDescription(task.features, task.game, config)
        create = algorithm(task.algorithm).create
        self.agent: Agent = create(description, seed=seed, threads=task.threads, verbose=0)
        self._clock = time.process_time if task.threads == 1 else time.perf_counter
        self._slice = _Slice(self._clock)
        self.seconds = 0.0
        """Seconds of learning so far."""

    @property
    def placements(self) -> int:
        """Placements learnt from so far."""
        return self.agent.num_timesteps

    def learn(self, seconds: float) -> None:
        """Learn for about so long."""
        begin = self._clock()
        self._slice.until = begin + seconds
        self.agent.learn(_WITHOUT_END, self._slice, 2**62, reset_num_timesteps=False)
        self.seconds += self._clock() - begin

    def examine(self, games: int, max_lines: int) -> EvaluationResult:
        """Greedy games of the policy as it is now; the same pieces every time."""
        return examine(self.agent.player(), self.task.game, games, self.seed, max_lines)


def examine(
    player: Player, game: GameConfig, games: int, seed: int, max_lines: int, *, last: bool = False
) -> EvaluationResult:
    """Greedy games on pieces of their own; `last`: on pieces no other examination has."""
    pieces = (FINAL_SEED if last else EXAMINATION_SEED) + seed
    return GreedyEvaluation(player, game, games, pieces, max_lines).run()


def periods(first: float, factor: float, most: float) -> Iterator[float]:
    """Growing stretches of learning between two examinations, in seconds."""
    while True:
        yield first
        first = min(most, first * factor)

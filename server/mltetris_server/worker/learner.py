"""What a training needs of a learner, whichever algorithm it is."""

from __future__ import annotations

from typing import Protocol

from mltetris_api.v1.run_pb2 import Evaluation

from mltetris_server.game.engine import Games
from mltetris_server.learning.metrics import TrainingMetrics
from mltetris_server.worker.race import Player
from mltetris_server.worker.transfer import Checkpoint


class Examination(Protocol):
    """Greedy games of the policy as it was when they began, played a few placements at a time."""

    def advance(self, max_placements: int) -> bool:
        """Plays on for at most so many placements; whether all games are done now."""

    def result(self) -> Evaluation:
        """How the games ended."""


class Learner(Protocol):
    """A learner, between two of its batches. All of it is the run's thread's."""

    @property
    def placements(self) -> int:
        """Placements learnt from, over the whole lineage."""

    @property
    def metrics(self) -> TrainingMetrics:
        """Its running figures."""

    @property
    def exploration(self) -> float | None:
        """Probability of a random placement now; None: it has none."""

    @property
    def learning_rate(self) -> float | None:
        """Learning rate now; None: it has none."""

    def set_exploration(self, value: float | None) -> None:
        """Explores so much from now on; None: by its schedule."""

    def set_learning_rate(self, value: float | None) -> None:
        """Learns at this rate from now on; None: by its schedule."""

    def step_by_step(self, on: bool) -> None:
        """Whether it is to give the others a turn after each placement of every board."""

    @property
    def games(self) -> Games:
        """The boards it trains on."""

    def player(self) -> Player:
        """The policy as it is now, greedy."""

    def examine(self, max_lines: int) -> Examination:
        """Begins an evaluation of the policy as it is now; games are cut off at `max_lines`."""

    def checkpoint(self) -> Checkpoint:
        """Everything there is, to go on from exactly here."""

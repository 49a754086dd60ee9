"""Hyperparameters of `cem`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mltetris_server.hyperparameters.base import TRAINING_HEIGHT, Learning, integer, real


@dataclass(frozen=True, kw_only=True)
class CemConfig(Learning):
    """Hyperparameters of `CEM`; docs/learning/cem.md says what each did when measured.

    Raises:
        HyperparameterError: a value is out of its range; every wrong field is named.
    """

    algorithm: ClassVar[str] = "cem"
    explores: ClassVar[bool] = False
    has_learning_rate: ClassVar[bool] = False

    boards: int = integer(64, 1, 4096)
    """Samples of weights an iteration, each playing on a board of its own."""

    elite: int = integer(10, 1, 4096)
    """Samples whose mean and spread the next iteration is drawn from (Rubinstein 1999)."""

    games: int = integer(1, 1, 1000)
    """Games each sample plays an iteration."""

    spread: float = real(1.0, 0.0, 1e6, above=True)
    """Standard deviation of every weight at the start."""

    noise: float = real(0.01, 0.0, 1e6)
    """Variance added to every weight's, an iteration (Szita and Lorincz 2006)."""

    training_height: int = integer(TRAINING_HEIGHT, 4, 40)
    """Rows of the training boards, at most the game's."""

    def conflicts(self) -> list[tuple[str, str]]:
        """See `Hyperparameters.conflicts`."""
        if self.elite > self.boards:
            return [("elite", f"must be at most boards, {self.boards}, not {self.elite}")]
        return []

    def hidden(self, features: str) -> tuple[int, ...]:
        """See `Hyperparameters.hidden`: the policy is linear."""
        return ()

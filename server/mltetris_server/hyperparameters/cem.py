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

    boards: int = integer(100, 2, 4096)
    """Samples of weights an iteration, each playing on a board of its own. Szita and Lorincz
    (2006) and Thiery and Scherrer (2009) drew 100."""

    elite: int = integer(15, 1, 4095)
    """Samples still in play when an iteration ends, below `boards`: the fewer, the greedier
    (Rubinstein 1999; 10 of 100 in the papers above)."""

    games: int = integer(1, 1, 1000)
    """Games each sample plays an iteration, one after the other."""

    spread: float = real(0.5, 0.0, 1e3, above=True)
    """Standard deviation of samples from the mean, all weights together and as a share of the
    mean's length, where learning begins with a policy that is there. A fresh learner has no mean:
    all directions are alike."""

    noise: float = real(0.15, 1e-4, 10.0)
    """Standard deviation added in every iteration, likewise: it keeps the samples from agreeing
    before they are right (Szita and Lorincz 2006)."""

    noise_halving: int = integer(50, 1, 10**12)
    """Iterations after which half of the noise's variance is left; after twice as many a third,
    and so on. Thiery and Scherrer (2009) compare constant and decreasing noise."""

    iteration_limit: int = integer(1_000_000, 1, 10**12)
    """Placements of a sample after which its iteration ends, whoever is still in play; they are
    the elite then."""

    training_height: int = integer(TRAINING_HEIGHT, 4, 40)
    """Rows of the training boards, at most the game's. A short board makes games short; what is
    learnt there carries over to the full one."""

    def conflicts(self) -> list[tuple[str, str]]:
        """See `Hyperparameters.conflicts`."""
        if self.elite >= self.boards:
            return [("elite", f"must be below boards, {self.boards}, not {self.elite}")]
        return []

    def hidden(self, features: str) -> tuple[int, ...]:
        """See `Hyperparameters.hidden`: the policy is linear."""
        return ()

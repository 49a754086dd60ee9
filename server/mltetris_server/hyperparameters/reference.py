"""What stands in the place of hyperparameters in a reference player's checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mltetris_server.hyperparameters.base import Hyperparameters, real


@dataclass(frozen=True, kw_only=True)
class ReferenceConfig(Hyperparameters):
    """A player that needs no learning: published weights, or chance.

    Raises:
        HyperparameterError: a value is out of its range.
    """

    algorithm: ClassVar[str] = "reference"

    exploration: float = real(0.0, 0.0, 1.0)
    """Probability of a random placement: 1 for the random player, else 0."""

    @property
    def fatal_value(self) -> float:
        """See `Hyperparameters.fatal_value`; to who plays at random all placements are alike."""
        return 0.0 if self.exploration == 1 else super().fatal_value

    def hidden(self, features: str) -> tuple[int, ...]:
        """See `Hyperparameters.hidden`: weights and features, nothing more."""
        return ()

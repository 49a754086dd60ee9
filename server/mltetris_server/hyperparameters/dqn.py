"""Hyperparameters of `dqn`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mltetris_server.hyperparameters.base import (
    TRAINING_HEIGHT,
    Learning,
    integer,
    real,
)

MAX_PRODUCTS = 32_768
"""Most batch_size x hidden_units: a gradient step, which nothing can interrupt, looks at every
placement of every sample and is to stay a matter of milliseconds."""


@dataclass(frozen=True, kw_only=True)
class DqnConfig(Learning):
    """Hyperparameters of `CandidateDQN`; docs/learning/dqn.md says what each did when measured.

    Raises:
        HyperparameterError: a value is out of its range; every wrong field is named.
    """

    algorithm: ClassVar[str] = "dqn"
    fixed: ClassVar[tuple[str, ...]] = ("hidden_units",)

    boards: int = integer(64, 1, 4096)
    """Boards played at once: many short looks at many games decorrelate what is remembered."""

    rollout_steps: int = integer(8, 1, 1024)
    """Placements each board makes between two updates; SB3's `train_freq`."""

    gradient_steps: int = integer(4, 1, 1024)
    """Gradient steps an update."""

    n_steps: int = integer(4, 1, 64)
    """Placements a target looks ahead before it trusts the target network (Sutton and Barto 2018,
    section 7.1); 1: the stock DQN's."""

    gamma: float = real(0.98, 0.0, 1.0)
    """Discount of the next placement's value (Mnih et al. 2015)."""

    learning_rate: float = real(2e-3, 0.0, 1.0, above=True)
    """Adam's step size (Kingma and Ba 2015) at the start of the schedule."""

    final_learning_rate_fraction: float = real(0.1, 0.0, 1.0, above=True)
    """Share of the learning rate left at the end of the schedule, and from then on."""

    exploration_initial: float = real(0.1, 0.0, 1.0)
    """Probability that a placement is drawn at random, at the start of the schedule."""

    exploration_final: float = real(0.003, 0.0, 1.0)
    """The same at the end of the schedule, and from then on."""

    schedule_placements: int = integer(1_000_000, 1, 1_000_000_000_000)
    """Placements over which learning rate and exploration go linearly to their final values."""

    batch_size: int = integer(256, 1, 4096)
    """Samples of a gradient step."""

    memory: int = integer(65_536, 1, 262_144)
    """Placements kept to learn from: SB3's `buffer_size` (experience replay, Lin 1992)."""

    learning_starts: int = integer(1_024, 1, 262_144)
    """Placements made before the first gradient step."""

    target_update: int = integer(1, 1, 100_000)
    """Gradient steps between two updates of the target network (Mnih et al. 2015)."""

    target_tau: float = real(0.05, 0.0, 1.0, above=True)
    """Share of the trained network in the target network that an update replaces; 1: all of it,
    a copy (Lillicrap et al. 2016; Polyak and Juditsky 1992)."""

    hidden_units: int = integer(32, 1, 1024)
    """Units of the value network's only hidden layer."""

    death_reward: float = real(-10.0, -1e6, 0.0)
    """Reward of the placement that ends a game. Every other reward is 0."""

    training_height: int = integer(TRAINING_HEIGHT, 4, 40)
    """Rows of the training boards, at most the game's."""

    def conflicts(self) -> list[tuple[str, str]]:
        """See `Hyperparameters.conflicts`."""
        if self.batch_size * self.hidden_units > MAX_PRODUCTS:
            text = f"batch_size x hidden_units must be at most {MAX_PRODUCTS:,}"
            return [("batch_size", text)]
        if self.memory < self.boards * self.rollout_steps:
            return [("memory", "must be at least boards x rollout_steps")]
        return []

    def hidden(self, features: str) -> tuple[int, ...]:
        """See `Hyperparameters.hidden`."""
        return (self.hidden_units,)

    @property
    def fatal_value(self) -> float:
        """See `Hyperparameters.fatal_value`: what the game's end is rewarded with."""
        return self.death_reward

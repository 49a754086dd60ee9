"""Hyperparameters of `ppo`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mltetris_server.hyperparameters.base import (
    MAX_STEP_PRODUCTS,
    MAX_WINDOW_SAMPLES,
    TRAINING_HEIGHT,
    Learning,
    integer,
    real,
)


@dataclass(frozen=True, kw_only=True)
class PpoConfig(Learning):
    """Hyperparameters of `CandidatePPO`; docs/learning/ppo.md says what each did when measured.

    Raises:
        HyperparameterError: a value is out of its range; every wrong field is named.
    """

    algorithm: ClassVar[str] = "ppo"
    explores: ClassVar[bool] = False
    fixed: ClassVar[tuple[str, ...]] = ("hidden_units",)

    boards: int = integer(64, 1, 4096)
    """Boards played at once: SB3's `n_envs`."""

    rollout_steps: int = integer(32, 1, 1024)
    """Placements each board makes between two updates: SB3's `n_steps`."""

    gamma: float = real(0.98, 0.0, 1.0)
    """Discount."""

    gae_lambda: float = real(0.95, 0.0, 1.0)
    """Mix of one-step and longer advantages (Schulman et al. 2016)."""

    learning_rate: float = real(3e-3, 0.0, 1.0, above=True)
    """Adam's step size (Kingma and Ba 2015) at the start of the schedule."""

    final_learning_rate_fraction: float = real(0.1, 0.0, 1.0, above=True)
    """Share of the learning rate left at the end of the schedule, and from then on."""

    schedule_placements: int = integer(2_000_000, 1, 1_000_000_000_000)
    """Placements over which the learning rate goes linearly to its final value."""

    batch_size: int = integer(512, 1, 65_536)
    """Samples of a gradient step."""

    epochs: int = integer(4, 1, 100)
    """Passes over a rollout an update (Schulman et al. 2017)."""

    clip_range: float = real(0.2, 0.0, 1.0, above=True)
    """How far the new policy's probabilities may move from the old one's (Schulman et al. 2017)."""

    entropy_weight: float = real(0.0, 0.0, 1.0)
    """Weight of the policy's entropy in the loss: SB3's `ent_coef`."""

    value_weight: float = real(0.5, 0.0, 100.0)
    """Weight of the critic's loss: SB3's `vf_coef`."""

    max_gradient_norm: float = real(0.5, 0.0, 1e6, above=True)
    """Gradients are scaled down to this norm: SB3's `max_grad_norm`."""

    hidden_units: int = integer(32, 1, 1024)
    """Units of the actor's only hidden layer, and of the critic's."""

    death_reward: float = real(-10.0, -1e6, 0.0)
    """Reward of the placement that ends a game."""

    training_height: int = integer(TRAINING_HEIGHT, 4, 40)
    """Rows of the training boards, at most the game's."""

    def conflicts(self) -> list[tuple[str, str]]:
        """See `Hyperparameters.conflicts`."""
        samples = self.boards * self.rollout_steps
        if samples > MAX_WINDOW_SAMPLES:
            return [
                ("rollout_steps", f"boards x rollout_steps must be at most {MAX_WINDOW_SAMPLES:,}")
            ]
        if self.batch_size > samples:
            return [("batch_size", f"must be at most boards x rollout_steps, {samples:,}")]
        if self.batch_size * self.hidden_units > MAX_STEP_PRODUCTS:
            text = f"batch_size x hidden_units must be at most {MAX_STEP_PRODUCTS:,}"
            return [("batch_size", text)]
        return []

    def hidden(self, features: str) -> tuple[int, ...]:
        """See `Hyperparameters.hidden`."""
        return (self.hidden_units,)

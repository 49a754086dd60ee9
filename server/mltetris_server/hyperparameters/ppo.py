"""Hyperparameters of `ppo`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mltetris_server.hyperparameters.base import TRAINING_HEIGHT, Learning, integer, real

MAX_ROLLOUT_SAMPLES = 16_384
"""Most placements of a rollout. Each keeps its candidates' features, up to 122 rows of 35 numbers
on the widest board: a checkpoint in the middle of an update stays below the 256 MiB it may have."""

MAX_BATCH_PRODUCTS = 65_536
"""Most batch_size x hidden_units. A sample is some 23 rows on a board 10 wide: it keeps one
gradient step, which nothing can interrupt, a matter of milliseconds."""


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
    """Placements each board makes between two updates: SB3's `n_steps`, the T of Schulman et al.
    (2017). Short looks at many games, as theirs."""

    gamma: float = real(0.98, 0.0, 1.0)
    """Discount of the next state's value: 0.98 hardly counts deaths more than some 50 placements
    ahead."""

    gae_lambda: float = real(0.95, 0.0, 1.0)
    """Mix of one-step and longer advantages: the lambda of generalised advantage estimation
    (Schulman et al. 2016)."""

    learning_rate: float = real(3e-3, 0.0, 1.0, above=True)
    """Adam's step size (Kingma and Ba 2015) at the start of the schedule."""

    final_learning_rate_fraction: float = real(0.1, 0.0, 1.0, above=True)
    """Share of the learning rate left at the end of the schedule, and from then on. (Annealing:
    Schulman et al. 2017; what it is worth: Engstrom et al. 2020, Andrychowicz et al. 2021.)"""

    schedule_placements: int = integer(2_000_000, 1, 1_000_000_000_000)
    """Placements over which the learning rate goes linearly to its final value."""

    batch_size: int = integer(512, 2, 16_384)
    """Samples of a gradient step at most: a pass is cut into equal minibatches. At least 2, for
    the advantages of each are brought to mean 0 and deviation 1 (Andrychowicz et al. 2021)."""

    epochs: int = integer(4, 1, 100)
    """Passes over a rollout an update (Schulman et al. 2017)."""

    clip_range: float = real(0.2, 0.0, 1.0, above=True)
    """How far a placement's new probability may be from the old one, as a ratio, before more of it
    is worth nothing: the epsilon of the clipped objective (Schulman et al. 2017)."""

    entropy_weight: float = real(0.0, 0.0, 1.0)
    """Weight of the policy's entropy in the loss, c2 of Schulman et al. (2017), SB3's
    `ent_coef`."""

    value_weight: float = real(0.5, 0.0, 100.0)
    """Weight of the critic's loss, c1 of Schulman et al. (2017): SB3's `vf_coef`. The two networks
    share no weights: it matters through `max_gradient_norm` alone."""

    max_gradient_norm: float = real(0.5, 0.0, 1e6, above=True)
    """The gradients of both networks together are scaled down to this norm (Engstrom et al. 2020):
    SB3's `max_grad_norm`."""

    hidden_units: int = integer(32, 1, 1024)
    """Units of the actor's only hidden layer, and of the critic's."""

    death_reward: float = real(-10.0, -1e6, 0.0)
    """Reward of the placement that ends a game. Every other reward is 0: a longer game is a better
    game, and lines are what makes it long."""

    training_height: int = integer(TRAINING_HEIGHT, 4, 40)
    """Rows of the training boards, at most the game's. A short board makes deaths frequent enough
    to learn from; what is learnt there carries over to the full one."""

    def conflicts(self) -> list[tuple[str, str]]:
        """See `Hyperparameters.conflicts`."""
        samples = self.boards * self.rollout_steps
        if samples > MAX_ROLLOUT_SAMPLES:
            text = f"boards x rollout_steps must be at most {MAX_ROLLOUT_SAMPLES:,}"
            return [("rollout_steps", text)]
        if self.batch_size * self.hidden_units > MAX_BATCH_PRODUCTS:
            text = f"batch_size x hidden_units must be at most {MAX_BATCH_PRODUCTS:,}"
            return [("batch_size", text)]
        return []

    def hidden(self, features: str) -> tuple[int, ...]:
        """See `Hyperparameters.hidden`."""
        return (self.hidden_units,)

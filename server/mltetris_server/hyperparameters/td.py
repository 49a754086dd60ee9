"""Hyperparameters of `td`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from mltetris_server.hyperparameters.base import (
    MAX_STEP_PRODUCTS,
    MAX_WINDOW_SAMPLES,
    TRAINING_HEIGHT,
    HyperparameterError,
    Learning,
    integer,
    real,
)

MAX_BOARD_BATCH = 4_096
"""Most samples of a gradient step with `board`: with the largest boards, filled to the top, such a
step takes some 10 ms."""


@dataclass(frozen=True, kw_only=True)
class TdConfig(Learning):
    """Hyperparameters of `TD`; `docs/learning.md` says what each did in our measurements.

    Raises:
        HyperparameterError: a value is out of its range; every wrong field is named.
    """

    algorithm: ClassVar[str] = "td"
    feature_sets: ClassVar[tuple[str, ...]] = ("simple", "bcts", "dt", "board")
    feature_defaults: ClassVar[Mapping[str, Mapping[str, int | float]]] = {
        # The table learns best from what is fresh: docs/learning/board.md.
        "board": {"learning_rate": 5e-4, "td_lambda": 0.5, "window": 10}
    }
    fixed: ClassVar[tuple[str, ...]] = ("hidden_units",)

    boards: int = integer(64, 1, 4096)
    """Boards played at once. Many short looks at many games decorrelate the samples, as in
    A2C's parallel actors (Mnih et al. 2016)."""

    rollout_steps: int = integer(32, 1, 1024)
    """Placements each board makes between two updates."""

    gamma: float = real(0.98, 0.0, 1.0)
    """Discount of the next afterstate's value: deaths more than some 50 placements ahead hardly
    count, which keeps the values of a good player apart from its luck."""

    td_lambda: float = real(0.8, 0.0, 1.0)
    """Mix of one-step and longer returns, the lambda of TD(lambda) (Sutton 1988)."""

    learning_rate: float = real(3e-3, 0.0, 1.0, above=True)
    """Adam's step size (Kingma and Ba 2015) at the start of the schedule."""

    final_learning_rate_fraction: float = real(0.03, 0.0, 1.0, above=True)
    """Share of the learning rate left at the end of the schedule, and from then on."""

    exploration_initial: float = real(0.1, 0.0, 1.0)
    """Probability that a placement is drawn at random, at the start of the schedule."""

    exploration_final: float = real(0.003, 0.0, 1.0)
    """The same at the end of the schedule, and from then on."""

    schedule_placements: int = integer(3_000_000, 1, 1_000_000_000_000)
    """Placements over which learning rate and exploration go linearly to their final values."""

    batch_size: int = integer(512, 1, 65_536)
    """Samples of a gradient step."""

    epochs: int = integer(4, 1, 100)
    """Passes over one rollout's worth of samples, drawn from the whole window, an update."""

    window: int = integer(40, 1, 1000)
    """Past rollouts kept to learn from."""

    hidden_units: int = integer(32, 1, 1024)
    """Units of the value network's only hidden layer; the table that reads the raw board has
    none."""

    death_reward: float = real(-10.0, -1e6, 0.0)
    """Reward of the placement that ends a game. Every other reward is 0: a longer game is a
    better game, and lines are what makes it long."""

    average_decay: float = real(0.95, 0.0, 1.0, below=True)
    """Weight of the old values in the averaged network, an update (Polyak and Juditsky 1992);
    less for the first updates. The averaged network acts, bootstraps and is what is evaluated
    and saved as the policy."""

    training_height: int = integer(TRAINING_HEIGHT, 4, 40)
    """Rows of the training boards. A short board makes deaths frequent enough to learn from;
    what is learnt there carries over to the full one."""

    def conflicts(self) -> list[tuple[str, str]]:
        """See `Hyperparameters.conflicts`."""
        if self.boards * self.rollout_steps * self.window > MAX_WINDOW_SAMPLES:
            text = f"boards x rollout_steps x window must be at most {MAX_WINDOW_SAMPLES:,}"
            return [("window", text)]
        if self.batch_size * self.hidden_units > MAX_STEP_PRODUCTS:
            text = f"batch_size x hidden_units must be at most {MAX_STEP_PRODUCTS:,}"
            return [("batch_size", text)]
        return []

    def check(self, height: int, features: str) -> None:
        """See `Learning.check`; the table that reads the raw board has conditions of its own."""
        super().check(height, features)
        if features != "board":
            return
        if self.death_reward == 0:
            text = "must be below 0 for board, which learns a chance of death from it"
            raise HyperparameterError([("death_reward", text)])
        if self.batch_size > MAX_BOARD_BATCH:
            text = f"must be at most {MAX_BOARD_BATCH:,} for board, not {self.batch_size:,}"
            raise HyperparameterError([("batch_size", text)])

    def hidden(self, features: str) -> tuple[int, ...]:
        """See `Hyperparameters.hidden`."""
        return () if features == "board" else (self.hidden_units,)

    @property
    def fatal_value(self) -> float:
        """See `Hyperparameters.fatal_value`: what the game's end is rewarded with."""
        return self.death_reward

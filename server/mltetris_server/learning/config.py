"""Hyperparameters of the learning algorithms: the single truth of their defaults and ranges.

Nothing here needs torch, numba or Stable-Baselines3, so that whoever only wants to know what
can be set pays nothing for asking.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

MAX_WINDOW_SAMPLES = 524_288
"""Most samples kept to learn from, boards x rollout_steps x window. It keeps a checkpoint with its
window below the 256 MiB that one may have, whichever features are learnt."""

MAX_STEP_PRODUCTS = 2_097_152
"""Most batch_size x hidden_units: it keeps one gradient step, which nothing can interrupt, a matter
of milliseconds."""


class HyperparameterError(ValueError):
    """One or several hyperparameters are out of range.

    `violations` holds a (field name, what is wrong) pair for each, for a caller who wants to
    say so field by field.
    """

    def __init__(self, violations: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{name}: {text}" for name, text in violations))
        self.violations = tuple(violations)


def _integer(default: int, low: int, high: int) -> Any:
    return field(default=default, metadata={"type": int, "low": low, "high": high})


def _real(
    default: float, low: float, high: float, *, above: bool = False, below: bool = False
) -> Any:
    """A finite number in [low, high]; `above` and `below` exclude the ends."""
    metadata = {"type": float, "low": low, "high": high, "above": above, "below": below}
    return field(default=default, metadata=metadata)


def _violation(value: object, metadata: Mapping[str, Any]) -> str | None:
    """What is wrong with a value, or None."""
    low, high = metadata["low"], metadata["high"]
    if metadata["type"] is int:
        if isinstance(value, bool) or not isinstance(value, int):
            return f"must be a whole number, not {value!r}"
        return None if low <= value <= high else f"must be {low:,} to {high:,}, not {value:,}"
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return f"must be a finite number, not {value!r}"
    above, below = metadata["above"], metadata["below"]
    if value < low or value > high or (above and value == low) or (below and value == high):
        lower = f"above {low:g}" if above else f"{low:g}"
        upper = f"below {high:g}" if below else f"{high:g}"
        return f"must be {lower} to {upper}, not {value:g}"
    return None


@dataclass(frozen=True, kw_only=True)
class TdConfig:
    """Hyperparameters of `TD`; `docs/learning.md` says what each did in our measurements.

    Raises:
        HyperparameterError: a value is out of its range; every wrong field is named.
    """

    boards: int = _integer(64, 1, 4096)
    """Boards played at once. Many short looks at many games decorrelate the samples, as in
    A2C's parallel actors (Mnih et al. 2016)."""

    rollout_steps: int = _integer(32, 1, 1024)
    """Placements each board makes between two updates."""

    gamma: float = _real(0.98, 0.0, 1.0)
    """Discount of the next afterstate's value: deaths more than some 50 placements ahead hardly
    count, which keeps the values of a good player apart from its luck."""

    td_lambda: float = _real(0.8, 0.0, 1.0)
    """Mix of one-step and longer returns, the lambda of TD(lambda) (Sutton 1988)."""

    learning_rate: float = _real(3e-3, 0.0, 1.0, above=True)
    """Adam's step size (Kingma and Ba 2015) at the start of the schedule."""

    final_learning_rate_fraction: float = _real(0.03, 0.0, 1.0, above=True)
    """Share of the learning rate left at the end of the schedule, and from then on."""

    exploration_initial: float = _real(0.1, 0.0, 1.0)
    """Probability that a placement is drawn at random, at the start of the schedule."""

    exploration_final: float = _real(0.003, 0.0, 1.0)
    """The same at the end of the schedule, and from then on."""

    schedule_placements: int = _integer(3_000_000, 1, 1_000_000_000_000)
    """Placements over which learning rate and exploration go linearly to their final values."""

    batch_size: int = _integer(512, 1, 65_536)
    """Samples of a gradient step."""

    epochs: int = _integer(4, 1, 100)
    """Passes over one rollout's worth of samples, drawn from the whole window, an update."""

    window: int = _integer(40, 1, 1000)
    """Past rollouts kept to learn from."""

    hidden_units: int = _integer(32, 1, 1024)
    """Units of the value network's only hidden layer."""

    death_reward: float = _real(-10.0, -1e6, 0.0)
    """Reward of the placement that ends a game. Every other reward is 0: a longer game is a
    better game, and lines are what makes it long."""

    average_decay: float = _real(0.95, 0.0, 1.0, below=True)
    """Weight of the old values in the averaged network, an update (Polyak and Juditsky 1992);
    less for the first updates. The averaged network acts, bootstraps and is what is evaluated
    and saved as the policy."""

    training_height: int = _integer(10, 4, 40)
    """Rows of the training boards. A short board makes deaths frequent enough to learn from;
    what is learnt there carries over to the full one."""

    def __post_init__(self) -> None:
        violations = [
            (item.name, text)
            for item in fields(self)
            if (text := _violation(getattr(self, item.name), item.metadata)) is not None
        ]
        if not violations and self.boards * self.rollout_steps * self.window > MAX_WINDOW_SAMPLES:
            text = f"boards x rollout_steps x window must be at most {MAX_WINDOW_SAMPLES:,}"
            violations.append(("window", text))
        if not violations and self.batch_size * self.hidden_units > MAX_STEP_PRODUCTS:
            text = f"batch_size x hidden_units must be at most {MAX_STEP_PRODUCTS:,}"
            violations.append(("batch_size", text))
        if violations:
            raise HyperparameterError(violations)
        for item in fields(self):
            # 1 and 1.0 are the same setting: keep one form, so that equal configurations compare
            # and serialize alike.
            if item.metadata["type"] is float:
                object.__setattr__(self, item.name, float(getattr(self, item.name)))

    @classmethod
    def for_height(cls, height: int, overrides: Mapping[str, object] | None = None) -> TdConfig:
        """The configuration for a game of `height` rows: defaults where `overrides` is silent.

        Raises:
            HyperparameterError: an override is unknown or out of range, or the training boards
                would be higher than the game's own.
        """
        values = dict(overrides or {})
        known = {item.name for item in fields(cls)}
        unknown = [(name, "no such hyperparameter of td") for name in values if name not in known]
        if unknown:
            raise HyperparameterError(unknown)
        values.setdefault("training_height", min(cls.training_height, height))
        config = cls(**values)  # type: ignore[arg-type]
        config.check_height(height)
        return config

    def check_height(self, height: int) -> None:
        """Raise HyperparameterError where training boards are higher than the game's `height`."""
        if self.training_height > height:
            text = f"must be at most the game's height, {height}, not {self.training_height}"
            raise HyperparameterError([("training_height", text)])

    def to_dict(self) -> dict[str, int | float]:
        """Every hyperparameter by name, JSON-able."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> TdConfig:
        """The reverse of `to_dict`; a missing field takes its default.

        Raises:
            HyperparameterError: a field is unknown or out of range.
        """
        known = {item.name for item in fields(cls)}
        unknown = [(name, "no such hyperparameter of td") for name in values if name not in known]
        if unknown:
            raise HyperparameterError(unknown)
        return cls(**values)  # type: ignore[arg-type]

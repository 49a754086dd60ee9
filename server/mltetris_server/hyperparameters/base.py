"""What all hyperparameters have in common: ranges, defaults, and how they are told."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self

MAX_WINDOW_SAMPLES = 524_288
"""Most samples kept to learn from. It keeps a checkpoint below the 256 MiB that one may have."""

MAX_STEP_PRODUCTS = 2_097_152
"""Most batch_size x hidden_units: it keeps one gradient step, which nothing can interrupt, a matter
of milliseconds."""

TRAINING_HEIGHT = 10
"""Rows of the training boards, where the game has as many."""


class HyperparameterError(ValueError):
    """One or several hyperparameters are out of range.

    `violations` holds a (field name, what is wrong) pair for each, for a caller who wants to
    say so field by field.
    """

    def __init__(self, violations: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{name}: {text}" for name, text in violations))
        self.violations = tuple(violations)


def integer(default: int, low: int, high: int) -> Any:
    """A dataclass field for a whole number in [low, high]."""
    return field(default=default, metadata={"type": int, "low": low, "high": high})


def real(
    default: float, low: float, high: float, *, above: bool = False, below: bool = False
) -> Any:
    """A dataclass field for a finite number in [low, high]; `above`, `below` exclude the ends."""
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
class Hyperparameters:
    """What made a model, and how. Every field of a subclass is an `integer` or a `real`.

    Raises:
        HyperparameterError: a value is out of its range; every wrong field is named.
    """

    algorithm: ClassVar[str]
    """The algorithm's name, as in a checkpoint's manifest."""

    def __post_init__(self) -> None:
        violations = [
            (item.name, text)
            for item in fields(self)
            if (text := _violation(getattr(self, item.name), item.metadata)) is not None
        ] or self.conflicts()
        if violations:
            raise HyperparameterError(violations)
        for item in fields(self):
            # 1 and 1.0 are the same setting: keep one form, so that equal configurations compare
            # and serialize alike.
            if item.metadata["type"] is float:
                object.__setattr__(self, item.name, float(getattr(self, item.name)))

    def conflicts(self) -> list[tuple[str, str]]:
        """What is wrong with values that are each in range: (field, text) pairs."""
        return []

    def hidden(self, features: str) -> tuple[int, ...]:
        """Units of the hidden layers of the network that plays; (): it is linear, or a table."""
        raise NotImplementedError

    @property
    def fatal_value(self) -> float:
        """What a placement that ends the game is worth to the player: less than any other."""
        return -1e5

    def to_dict(self) -> dict[str, int | float]:
        """Every hyperparameter by name, JSON-able."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> Self:
        """The reverse of `to_dict`; a missing field takes its default.

        Raises:
            HyperparameterError: a field is unknown or out of range.
        """
        known = {item.name for item in fields(cls)}
        unknown = [
            (name, f"no such hyperparameter of {cls.algorithm}")
            for name in values
            if name not in known
        ]
        if unknown:
            raise HyperparameterError(unknown)
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class Learning(Hyperparameters):
    """The settings of an algorithm that learns.

    Raises:
        HyperparameterError: a value is out of its range; every wrong field is named.
    """

    feature_sets: ClassVar[tuple[str, ...]] = ("simple", "bcts", "dt")
    """The feature sets it can learn from."""
    feature_defaults: ClassVar[Mapping[str, Mapping[str, int | float]]] = {}
    """Defaults that differ with a feature set."""
    explores: ClassVar[bool] = True
    """Whether it makes random placements with a probability that can be steered."""
    has_learning_rate: ClassVar[bool] = True
    """Whether it has a learning rate that can be steered."""
    fixed: ClassVar[tuple[str, ...]] = ()
    """What a model that is gone on with cannot change: the shape of its network."""

    boards: int = integer(64, 1, 4096)
    """Boards played at once."""

    training_height: int = integer(TRAINING_HEIGHT, 4, 40)
    """Rows of the training boards. A short board makes deaths frequent enough to learn from;
    what is learnt there carries over to the full one."""

    @classmethod
    def for_game(
        cls, height: int, features: str, overrides: Mapping[str, object] | None = None
    ) -> Self:
        """The configuration for a game of `height` rows: defaults where `overrides` is silent.

        Raises:
            HyperparameterError: an override is unknown or out of range, the training boards
                would be higher than the game's own, or it cannot learn from these features.
        """
        values: dict[str, object] = {"training_height": min(cls.training_height, height)}
        values |= cls.feature_defaults.get(features, {})
        config = cls.from_dict(values | dict(overrides or {}))
        config.check(height, features)
        return config

    def check(self, height: int, features: str) -> None:
        """Raise HyperparameterError where it cannot learn from these features, or the training
        boards are higher than the game's `height`."""
        if features not in self.feature_sets:
            text = f"{self.algorithm} learns from {', '.join(self.feature_sets)}, not {features}"
            raise HyperparameterError([("features", text)])
        if self.training_height > height:
            text = f"must be at most the game's height, {height}, not {self.training_height}"
            raise HyperparameterError([("training_height", text)])

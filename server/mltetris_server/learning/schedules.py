"""Learning rate and exploration by placements made, and what a person has set in their place."""

from __future__ import annotations

import math

from stable_baselines3.common.utils import LinearSchedule

from mltetris_server.hyperparameters import DqnConfig, HyperparameterError, PpoConfig, TdConfig


def learning_rate_schedule(config: TdConfig | DqnConfig | PpoConfig) -> LinearSchedule:
    """SB3's schedule of the learning rate, over the share of `schedule_placements` left."""
    last = config.learning_rate * config.final_learning_rate_fraction
    return LinearSchedule(config.learning_rate, last, 1.0)


class Overrides:
    """Values set while learning, in place of the schedules'; None: the schedule's."""

    def __init__(self) -> None:
        self.learning_rate: float | None = None
        self.exploration: float | None = None

    def set_learning_rate(self, value: float | None) -> None:
        """From now on; None: by the schedule again.

        Raises:
            HyperparameterError: not above 0 to 1.
        """
        if value is not None and not (math.isfinite(value) and 0 < value <= 1):
            raise HyperparameterError([("learning_rate", f"must be above 0 to 1, not {value}")])
        self.learning_rate = value

    def set_exploration(self, value: float | None) -> None:
        """From now on; None: by the schedule again.

        Raises:
            HyperparameterError: not 0 to 1.
        """
        if value is not None and not (math.isfinite(value) and 0 <= value <= 1):
            raise HyperparameterError([("exploration", f"must be 0 to 1, not {value}")])
        self.exploration = value

"""Hyperparameters of the learning algorithms: the single truth of their defaults and ranges.

Nothing here needs torch, numba or Stable-Baselines3: the server refuses nonsense with it before
anything is started, and the learners take their settings from it.
"""

from __future__ import annotations

from mltetris_server.hyperparameters.base import HyperparameterError, Hyperparameters, Learning
from mltetris_server.hyperparameters.cem import CemConfig
from mltetris_server.hyperparameters.dqn import DqnConfig
from mltetris_server.hyperparameters.ppo import PpoConfig
from mltetris_server.hyperparameters.reference import ReferenceConfig
from mltetris_server.hyperparameters.td import TdConfig

__all__ = [
    "CONFIGS",
    "TRAINABLE",
    "CemConfig",
    "DqnConfig",
    "HyperparameterError",
    "Hyperparameters",
    "Learning",
    "PpoConfig",
    "ReferenceConfig",
    "TdConfig",
]

TRAINABLE: dict[str, type[Learning]] = {
    config.algorithm: config for config in (TdConfig, DqnConfig, PpoConfig, CemConfig)
}
"""The algorithms there are, by name."""

CONFIGS: dict[str, type[Hyperparameters]] = {**TRAINABLE, "reference": ReferenceConfig}
"""Everything that may have made a model, by name."""

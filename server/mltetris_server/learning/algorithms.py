"""The algorithms there are, and what makes, writes down and reads back a learner of each.

An algorithm is a package of this room: its `ALGORITHM` says everything others need to know. It is
imported when it is used, for each brings parts of Stable-Baselines3 along.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from mltetris_server.hyperparameters import TRAINABLE
from mltetris_server.learning.agent import Agent, Tensors, TrainingState
from mltetris_server.learning.model import ModelDescription


class _Create(Protocol):
    def __call__(
        self, description: ModelDescription, *, seed: int | None, threads: int, verbose: int
    ) -> Agent: ...


@dataclass(frozen=True)
class Algorithm:
    """One algorithm.

    Attributes:
        create: Makes a fresh learner; a seed of None is drawn.
        dump: The tensors of `training.safetensors`: all of a learner but its policy.
        read: Reads that file and checks every tensor's type, shape and values; raises
            CheckpointError.
    """

    create: _Create
    dump: Callable[[Any], Tensors]
    read: Callable[[ModelDescription, Mapping[str, bytes]], TrainingState]


def algorithm(name: str) -> Algorithm:
    """The algorithm of this name.

    Raises:
        ValueError: there is none.
    """
    if name not in TRAINABLE:
        raise ValueError(f"there is no algorithm {name!r}; there are {', '.join(TRAINABLE)}")
    module = importlib.import_module(f"mltetris_server.learning.{name}")
    found: Algorithm = module.ALGORITHM
    return found

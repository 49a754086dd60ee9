"""`cem`: noisy cross-entropy on linear features, as a race of samples on compiled boards."""

from __future__ import annotations

from mltetris_server.hyperparameters import CemConfig
from mltetris_server.learning.algorithms import Algorithm
from mltetris_server.learning.cem.algorithm import CEM
from mltetris_server.learning.cem.state import CemState, dump
from mltetris_server.learning.model import ModelDescription

__all__ = ["ALGORITHM", "CEM"]


def _create(description: ModelDescription, *, seed: int | None, threads: int, verbose: int) -> CEM:
    assert isinstance(description.config, CemConfig)
    return CEM(
        game=description.game,
        features=description.features,
        config=description.config,
        seed=seed,
        threads=threads,
        verbose=verbose,
    )


ALGORITHM = Algorithm(_create, dump, CemState)

"""`td`: TD(lambda) on afterstate values, from batched compiled rollouts."""

from __future__ import annotations

from mltetris_server.hyperparameters import TdConfig
from mltetris_server.learning.algorithms import Algorithm
from mltetris_server.learning.model import ModelDescription
from mltetris_server.learning.td.algorithm import TD
from mltetris_server.learning.td.state import TdState, dump

__all__ = ["ALGORITHM", "TD"]


def _create(description: ModelDescription, *, seed: int | None, threads: int, verbose: int) -> TD:
    assert isinstance(description.config, TdConfig)
    return TD(
        game=description.game,
        features=description.features,
        config=description.config,
        seed=seed,
        threads=threads,
        verbose=verbose,
    )


ALGORITHM = Algorithm(_create, dump, TdState)

"""`dqn`: Stable-Baselines3's own DQN update, on placements, from batched compiled rollouts."""

from __future__ import annotations

from mltetris_server.hyperparameters import DqnConfig
from mltetris_server.learning.algorithms import Algorithm
from mltetris_server.learning.dqn.algorithm import CandidateDQN
from mltetris_server.learning.dqn.state import DqnState, dump
from mltetris_server.learning.model import ModelDescription

__all__ = ["ALGORITHM", "CandidateDQN"]


def _create(
    description: ModelDescription, *, seed: int | None, threads: int, verbose: int
) -> CandidateDQN:
    assert isinstance(description.config, DqnConfig)
    return CandidateDQN(
        game=description.game,
        features=description.features,
        config=description.config,
        seed=seed,
        threads=threads,
        verbose=verbose,
    )


ALGORITHM = Algorithm(_create, dump, DqnState)

"""`ppo`: masked PPO on candidate placements, with sb3-contrib's MaskablePPO."""

from __future__ import annotations

from mltetris_server.hyperparameters import PpoConfig
from mltetris_server.learning.algorithms import Algorithm
from mltetris_server.learning.model import ModelDescription
from mltetris_server.learning.ppo.algorithm import CandidatePPO
from mltetris_server.learning.ppo.state import PpoState, dump

__all__ = ["ALGORITHM", "CandidatePPO"]


def _create(
    description: ModelDescription, *, seed: int | None, threads: int, verbose: int
) -> CandidatePPO:
    # It learns with one thread, however many it may use.
    assert isinstance(description.config, PpoConfig)
    return CandidatePPO(
        game=description.game,
        features=description.features,
        config=description.config,
        seed=seed,
        verbose=verbose,
    )


ALGORITHM = Algorithm(_create, dump, PpoState)

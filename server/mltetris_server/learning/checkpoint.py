"""A learner as a description and files, and back: to play, or to go on exactly.

`policy.safetensors` holds the network that plays, the same for all algorithms.
`training.safetensors` holds the rest of a learner, each algorithm's own (`state.py` of its
package). From both, learning goes on bit for bit as if it had never stopped. From the first alone
it goes on with the weights, the placements and the schedules, and everything else fresh.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from safetensors.numpy import save as format_safetensors

from mltetris_server.game.config import GameConfig
from mltetris_server.hyperparameters import HyperparameterError, Learning
from mltetris_server.learning.agent import Agent
from mltetris_server.learning.algorithms import algorithm
from mltetris_server.learning.model import (
    POLICY_FILE,
    TRAINING_FILE,
    CheckpointError,
    ModelDescription,
    dump_network,
    load_network,
)
from mltetris_server.learning.state import MAX_COUNT

__all__ = ["CheckpointError", "dump", "load"]


def dump(agent: Agent, *, weights_only: bool = False) -> tuple[dict[str, Any], dict[str, bytes]]:
    """A learner's description and files, as it is now.

    Args:
        agent: The learner; it may be in the middle of `learn`, in a callback.
        weights_only: Leave out what only going on exactly needs.

    Returns:
        The `model` part of a manifest, and the files' bytes by their names.
    """
    description = agent.description
    files = {POLICY_FILE: dump_network(agent.player().network)}
    if not weights_only:
        files[TRAINING_FILE] = format_safetensors(algorithm(description.algorithm).dump(agent))
    return description.to_dict(), files


def load(
    model: Mapping[str, Any],
    files: Mapping[str, bytes],
    *,
    placements: int = 0,
    seed: int | None = None,
    game: GameConfig | None = None,
    config: Learning | None = None,
    threads: int = 1,
    verbose: int = 0,
) -> Agent:
    """A learner that goes on from a checkpoint: call `learn(..., reset_num_timesteps=False)`.

    It goes on exactly where the checkpoint has `training.safetensors` and no argument changes
    anything. Otherwise everything is kept that still has a meaning. Another algorithm than the
    checkpoint's own begins with its weights, where its network has the same shape.

    Args:
        model: The `model` part of a manifest.
        files: The files' bytes by their names.
        placements: Placements it has learnt from, for a checkpoint of weights only; else the
            checkpoint's own count holds.
        seed: 0..2**64-1. None: the checkpoint's, or for weights only a drawn one.
        game: What to play from now on. None: the checkpoint's.
        config: Algorithm and hyperparameters from now on. None: the checkpoint's.
        threads: Threads to learn with.
        verbose: As everywhere in SB3.

    Raises:
        CheckpointError: the checkpoint is not what it should be.
        HyperparameterError: the hyperparameters or the game do not go with the checkpoint.
    """
    description = ModelDescription.from_dict(model)
    network = load_network(description, files)
    if not 0 <= placements <= MAX_COUNT:
        raise CheckpointError("placements", f"must be 0 to {MAX_COUNT}, not {placements}")
    wanted = ModelDescription(
        description.features, game or description.game, config or description.config
    )
    if not isinstance(wanted.config, Learning):
        text = "a reference player does not learn: name an algorithm to begin with its weights"
        raise HyperparameterError([("algorithm", text)])
    if wanted.inputs != description.inputs:
        text = f"must be the checkpoint's {description.game.width} for its features"
        raise HyperparameterError([("width", text)])
    if wanted.hidden != description.hidden:
        raise HyperparameterError([_other_network(wanted, description)])
    entry = algorithm(wanted.algorithm)
    same = wanted.algorithm == description.algorithm
    state = entry.read(description, files) if same and TRAINING_FILE in files else None
    run_seed = seed if seed is not None or state is None else state.seed
    agent = entry.create(wanted, seed=run_seed, threads=threads, verbose=verbose)
    agent.play_as(network)
    if state is None:
        agent.begin_at(placements)
    else:
        state.give_to(agent, description, wanted)
    return agent


def _other_network(wanted: ModelDescription, there: ModelDescription) -> tuple[str, str]:
    """Field and text: the networks have other shapes."""
    config = wanted.config
    field = "hidden_units" if hasattr(config, "hidden_units") and there.hidden else "algorithm"
    has = f"{there.hidden[0]} hidden units" if there.hidden else "no hidden layer"
    return field, f"the checkpoint's network has {has}: it must stay so"

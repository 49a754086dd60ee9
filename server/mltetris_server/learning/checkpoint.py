"""A learner as a description and files, and back: to play, or to go on exactly.

`policy.safetensors` holds the averaged network, all that play needs. `training.safetensors` holds
the rest of a learner: optimizer, network being trained, window, running games, counters. From
both, learning goes on bit for bit as if it had never stopped. From the first alone it goes on with
the weights, the step count and the schedules, but a fresh optimizer, window and games.

Files may come from a stranger: every tensor's type, shape and values are checked, and nothing is
unpickled.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch as th
from numpy.typing import NDArray
from safetensors.numpy import save as format_safetensors

from mltetris_server.game.config import GameConfig
from mltetris_server.game.snapshot import dump_games, load_games
from mltetris_server.learning.config import HyperparameterError, TdConfig
from mltetris_server.learning.kernels import EXPLORED, FATAL, LAST, Network
from mltetris_server.learning.metrics import EPISODES_AVERAGED
from mltetris_server.learning.model import (
    POLICY_FILE,
    TRAINING_FILE,
    CheckpointError,
    ModelDescription,
    dump_network,
    load_network,
    load_tensors,
    name_tensors,
    take_network,
    take_tensor,
)
from mltetris_server.learning.rounds import gradient_steps
from mltetris_server.learning.td import TD

__all__ = ["CheckpointError", "dump", "load"]

MAX_PLACEMENTS = 10**18
"""Most placements a learner may have made, as docs/checkpoints.md has it."""

_COUNTERS = (
    "placements",
    "rounds",
    "position",
    "minibatch",
    "gradient_steps",
    "episodes",
    "window_cursor",
)
_MOMENTS = ("exp_avg", "exp_avg_sq")


def dump(td: TD, *, weights_only: bool = False) -> tuple[dict[str, Any], dict[str, bytes]]:
    """A learner's description and files, as it is now.

    Args:
        td: The learner; it may be in the middle of `learn`, in a callback.
        weights_only: Leave out what only going on exactly needs.

    Returns:
        The `model` part of a manifest, and the files' bytes by their names.
    """
    rounds = td.rounds
    files = {POLICY_FILE: dump_network(rounds.average)}
    if not weights_only:
        files[TRAINING_FILE] = format_safetensors(_training_tensors(td))
    return td.description.to_dict(), files


def load(
    model: Mapping[str, Any],
    files: Mapping[str, bytes],
    *,
    placements: int = 0,
    seed: int | None = None,
    game: GameConfig | None = None,
    config: TdConfig | None = None,
    verbose: int = 0,
) -> TD:
    """A learner that goes on from a checkpoint: call `learn(..., reset_num_timesteps=False)`.

    It goes on exactly where the checkpoint has `training.safetensors` and no argument changes
    anything. Otherwise everything is kept that still has a meaning: another seed or number of
    boards begins new games, another game also empties the window (its values are not worth the
    same there), and the optimizer always stays.

    Args:
        model: The `model` part of a manifest.
        files: The files' bytes by their names.
        placements: Placements it has learnt from, for a checkpoint of weights only; else the
            checkpoint's own count holds.
        seed: 0..2**64-1. None: the checkpoint's, or for weights only a drawn one.
        game: What to play from now on. None: the checkpoint's.
        config: Hyperparameters from now on. None: the checkpoint's.
        verbose: As everywhere in SB3.

    Raises:
        CheckpointError: the checkpoint is not what it should be.
        HyperparameterError: the hyperparameters or the game do not go with the checkpoint.
    """
    description = ModelDescription.from_dict(model)
    average = load_network(description, files)
    if not 0 <= placements <= MAX_PLACEMENTS:
        raise CheckpointError("placements", f"must be 0 to {MAX_PLACEMENTS}, not {placements}")
    wanted = ModelDescription(
        description.features, game or description.game, config or description.config
    )
    if wanted.inputs != description.inputs:
        text = f"must be the checkpoint's {description.game.width} for its features"
        raise HyperparameterError([("width", text)])
    hidden = description.config.hidden_units
    if wanted.config.hidden_units != hidden:
        raise HyperparameterError([("hidden_units", f"must be the checkpoint's {hidden}")])
    training = _Training(description, files) if TRAINING_FILE in files else None
    run_seed = seed if seed is not None or training is None else training.seed
    td = TD(
        game=wanted.game,
        features=wanted.features,
        config=wanted.config,
        seed=run_seed,
        verbose=verbose,
    )
    if training is None:
        _set_network(td.policy.q_net, average)
        _set_network(td.policy.q_net_target, average)
        td.begin_at(placements)
    else:
        _set_network(td.policy.q_net, training.online)
        _set_network(td.policy.q_net_target, average)
        training.give_to(td, description, wanted)
    return td


def _training_tensors(td: TD) -> dict[str, NDArray[Any]]:
    rounds, window = td.rounds, td.rounds.window
    counters = {
        "placements": td.num_timesteps,
        "rounds": rounds.number,
        "position": rounds.position,
        "minibatch": rounds.minibatch,
        "gradient_steps": td.gradient_steps_made,
        "episodes": td.episodes_made,
        "window_cursor": window.cursor,
    }
    overrides = (td.overrides.learning_rate, td.overrides.exploration)
    tensors: dict[str, NDArray[Any]] = {
        "counters": np.array([counters[name] for name in _COUNTERS], np.int64),
        "seed": np.array([td.run_seed], np.uint64),
        "overrides": np.array([np.nan if x is None else x for x in overrides], np.float64),
        "window.features": window.features[: window.size].copy(),
        "window.targets": window.targets[: window.size].copy(),
        "rollout.features": rounds.rollout.features[: rounds.position].copy(),
        "rollout.values": rounds.rollout.values[: rounds.position].copy(),
        "rollout.kinds": rounds.rollout.kinds[: rounds.position].copy(),
    }
    tensors |= name_tensors("online.", rounds.online)
    tensors |= {f"games.{name}": array for name, array in dump_games(rounds.games).items()}
    tensors |= {f"metrics.{name}": array for name, array in td.metrics.state().items()}
    state = td.policy.optimizer.state_dict()["state"]
    if state:
        tensors["adam.step"] = np.array([float(state[0]["step"])], np.float32)
        for moment in _MOMENTS:
            parts = [state[k][moment].numpy() for k in range(4)]
            tensors |= name_tensors(f"adam.{moment}.", _network(parts))
    return tensors


class _Training:
    """What `training.safetensors` holds, checked."""

    def __init__(self, description: ModelDescription, files: Mapping[str, bytes]) -> None:
        tensors = load_tensors(files, TRAINING_FILE)
        self._description = description
        config, inputs = description.config, description.inputs
        samples = config.boards * config.rollout_steps

        def take(
            name: str, dtype: type[np.generic], *shape: int | None, nan: bool = False
        ) -> NDArray[Any]:
            return take_tensor(tensors, TRAINING_FILE, name, dtype, shape, nan=nan)

        values = take("counters", np.int64, len(_COUNTERS)).tolist()
        self.counters = dict(zip(_COUNTERS, values, strict=True))
        for name, limit in (
            ("placements", MAX_PLACEMENTS),
            ("rounds", MAX_PLACEMENTS // 1024),
            ("position", samples),
            # After the last one a round is over.
            ("minibatch", gradient_steps(config) - 1),
            ("gradient_steps", MAX_PLACEMENTS),
            ("episodes", MAX_PLACEMENTS),
            ("window_cursor", config.window - 1),
        ):
            if not 0 <= self.counters[name] <= limit:
                raise _broken("counters", f"{name} must be 0 to {limit}")
        self.seed = int(take("seed", np.uint64, 1)[0])
        self.overrides = [
            None if np.isnan(value) else float(value)
            for value in take("overrides", np.float64, 2, nan=True)
        ]
        self.online = take_network(tensors, TRAINING_FILE, "online.", description)
        self.targets = take("window.targets", np.float32, None, nan=True)
        self.features = take("window.features", np.float32, self.targets.size, inputs)
        slots, rest = divmod(self.targets.size, samples)
        cursor = self.counters["window_cursor"]
        if rest or slots > config.window or (slots < config.window and cursor != slots):
            raise _broken("window.targets", "is not a whole number of rollouts")
        position = self.counters["position"]
        self.rollout = {
            "features": take("rollout.features", np.float32, position, inputs),
            "values": take("rollout.values", np.float32, position),
            "kinds": take("rollout.kinds", np.uint8, position),
        }
        if (self.rollout["kinds"] > EXPLORED | FATAL | LAST).any():
            raise _broken("rollout.kinds", "has a value out of range")
        if self.counters["minibatch"] and (position < samples or not slots):
            raise _broken("counters", "minibatch goes with a whole rollout only")
        games = {
            name.removeprefix("games."): np.array(tensor, order="C")
            for name, tensor in tensors.items()
            if name.startswith("games.")
        }
        try:
            self.games = load_games(description.training_game, games)
        except ValueError as error:
            raise _broken("games", str(error)) from error
        if self.games.episode.size != config.boards:
            raise _broken("games", f"must be {config.boards}")
        self.metrics = {
            "counts": take("metrics.counts", np.int64, 2),
            "scores": take("metrics.scores", np.float64, EPISODES_AVERAGED),
            "lines": take("metrics.lines", np.int64, EPISODES_AVERAGED),
        }
        if (self.metrics["counts"] < 0).any():
            raise _broken("metrics.counts", "has a value out of range")
        self.adam: dict[str, Any] | None = None
        if "adam.step" in tensors:
            moments = {
                moment: take_network(tensors, TRAINING_FILE, f"adam.{moment}.", description)
                for moment in _MOMENTS
            }
            step = float(take("adam.step", np.float32, 1)[0])
            if step < 1 or any((part < 0).any() for part in moments["exp_avg_sq"]):
                raise _broken("adam", "has a value out of range")
            self.adam = {"step": step, **moments}

    def give_to(self, td: TD, before: ModelDescription, now: ModelDescription) -> None:
        """Set a fresh learner to go on from here, as far as its settings allow."""
        counters = self.counters
        td.begin_at(
            counters["placements"],
            gradient_steps_made=counters["gradient_steps"],
            episodes_made=counters["episodes"],
        )
        td.metrics.restore(**self.metrics)
        try:
            td.set_learning_rate(self.overrides[0])
            td.set_exploration(self.overrides[1])
        except HyperparameterError as error:
            raise _broken("overrides", str(error)) from error
        if self.adam is not None:
            _set_adam(td.policy.optimizer, self.adam)
        same_game = before.training_game == now.training_game
        a, b = before.config, now.config
        same_rollout = (a.boards, a.rollout_steps) == (b.boards, b.rollout_steps)
        rounds = td.rounds
        cursor = counters["window_cursor"]
        if same_game and same_rollout and a.window == b.window:
            rounds.window.restore(self.features, self.targets, cursor)
        elif same_game:
            full = self.targets.size == a.boards * a.rollout_steps * a.window
            oldest = cursor * a.boards * a.rollout_steps if full else 0
            rounds.window.adopt(self.features, self.targets, oldest)
        if same_game and same_rollout and td.run_seed == self.seed:
            rounds.number = counters["rounds"]
            for name, here in rounds.games._asdict().items():
                here[...] = getattr(self.games, name)
            position, minibatch = counters["position"], counters["minibatch"]
            same_round = (a.window, a.epochs, a.batch_size) == (b.window, b.epochs, b.batch_size)
            if minibatch and not same_round:
                # Its gradient steps are made as far as they were; the next round begins.
                position, minibatch = 0, 0
                rounds.number += 1
            for name, array in self.rollout.items():
                getattr(rounds.rollout, name)[:position] = array[:position]
            rounds.position, rounds.minibatch = position, minibatch


def _set_network(module: th.nn.Module, network: Network) -> None:
    parts = (*network[:2], network.output_weights.reshape(1, -1), network.output_bias)
    with th.no_grad():
        for parameter, part in zip(module.parameters(), parts, strict=True):
            parameter.copy_(th.from_numpy(part))


def _set_adam(optimizer: th.optim.Optimizer, adam: Mapping[str, Any]) -> None:
    state = optimizer.state_dict()
    parts = {
        moment: [
            *adam[moment][:2],
            adam[moment].output_weights.reshape(1, -1),
            adam[moment].output_bias,
        ]
        for moment in _MOMENTS
    }
    state["state"] = {
        k: {
            "step": th.tensor(adam["step"], dtype=th.float32),
            **{moment: th.from_numpy(parts[moment][k].copy()) for moment in _MOMENTS},
        }
        for k in range(4)
    }
    optimizer.load_state_dict(state)


def _network(parts: list[NDArray[np.float32]]) -> Network:
    return Network(parts[0], parts[1], parts[2].reshape(-1), parts[3])


def _broken(name: str, problem: str) -> CheckpointError:
    return CheckpointError(f"{TRAINING_FILE}: {name}", problem)

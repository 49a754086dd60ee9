"""What the training.safetensors of all algorithms have in common: written, and read with care.

The files may come from a stranger: every tensor's type, shape and values are checked, and nothing
is unpickled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch as th
from numpy.typing import NDArray

from mltetris_server.game.engine import Games
from mltetris_server.game.snapshot import dump_games, load_games
from mltetris_server.hyperparameters import HyperparameterError, Learning
from mltetris_server.learning.agent import Agent, Tensors
from mltetris_server.learning.kernels import Network
from mltetris_server.learning.metrics import EPISODES_AVERAGED
from mltetris_server.learning.model import (
    TRAINING_FILE,
    CheckpointError,
    ModelDescription,
    load_tensors,
    name_tensors,
    take_network,
    take_tensor,
)
from mltetris_server.learning.policy import network_parts, network_views
from mltetris_server.learning.schedules import Overrides

MAX_COUNT = 10**18
"""Most of anything that a learner may have made, as docs/checkpoints.md has it."""

_MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Adam:
    """Where Adam is with the parameters of one network; moments of the network's own shape."""

    step: float
    exp_avg: Network
    exp_avg_sq: Network


def common_tensors(agent: Agent, counters: Mapping[str, int]) -> Tensors:
    """Counters, the seed, the running games and the figures of a learner."""
    return {
        "counters": np.array(list(counters.values()), np.int64),
        "seed": np.array([agent.run_seed], np.uint64),
        **{f"games.{name}": array for name, array in dump_games(agent.games).items()},
        **{f"metrics.{name}": array for name, array in agent.metrics.state().items()},
    }


def override_tensors(overrides: Overrides) -> Tensors:
    """What has been set in place of the schedules; NaN: nothing."""
    values = (overrides.learning_rate, overrides.exploration)
    return {"overrides": np.array([np.nan if x is None else x for x in values], np.float64)}


def adam_tensors(
    prefix: str, optimizer: th.optim.Optimizer, parameters: Iterable[th.nn.Parameter]
) -> Tensors:
    """Adam's state for the parameters of one network; nothing before the first step."""
    states = [optimizer.state[parameter] for parameter in parameters]
    if not states[0]:
        return {}
    tensors: Tensors = {f"{prefix}step": np.array([float(states[0]["step"])], np.float32)}
    for moment in _MOMENTS:
        network = network_views(state[moment] for state in states)
        tensors |= name_tensors(f"{prefix}{moment}.", network)
    return tensors


def set_adam(
    optimizer: th.optim.Optimizer, parameters: Iterable[th.nn.Parameter], adam: Adam
) -> None:
    """The reverse of `adam_tensors`."""
    moments = [network_parts(adam.exp_avg), network_parts(adam.exp_avg_sq)]
    for k, parameter in enumerate(parameters):
        optimizer.state[parameter] = {
            "step": th.tensor(adam.step, dtype=th.float32),
            **{
                name: th.from_numpy(parts[k].copy())
                for name, parts in zip(_MOMENTS, moments, strict=True)
            },
        }


class TrainingFile:
    """A checked training.safetensors, as far as all algorithms' are the same.

    Args:
        description: What the checkpoint says it is.
        files: The checkpoint's files.
        limits: The counters it must hold, in this order, and the greatest value of each.

    Attributes:
        counters: By name, each 0 to its limit.
        seed: The learner's.
        games: The running games.

    Raises:
        CheckpointError: something is missing or out of range.
    """

    def __init__(
        self, description: ModelDescription, files: Mapping[str, bytes], limits: Mapping[str, int]
    ) -> None:
        self._tensors = load_tensors(files, TRAINING_FILE)
        self._description = description
        values = self.take("counters", np.int64, len(limits)).tolist()
        self.counters: dict[str, int] = dict(zip(limits, values, strict=True))
        for name, limit in limits.items():
            if not 0 <= self.counters[name] <= limit:
                raise broken("counters", f"{name} must be 0 to {limit}")
        self.seed = int(self.take("seed", np.uint64, 1)[0])
        self.games = self._take_games()
        self._metrics = {
            "counts": self.take("metrics.counts", np.int64, 2),
            "scores": self.take("metrics.scores", np.float64, EPISODES_AVERAGED),
            "lines": self.take("metrics.lines", np.int64, EPISODES_AVERAGED),
        }
        if (self._metrics["counts"] < 0).any():
            raise broken("metrics.counts", "has a value out of range")

    def take(
        self, name: str, dtype: type[np.generic], *shape: int | None, nan: bool = False
    ) -> NDArray[Any]:
        """One tensor, contiguous and writable; see `model.take_tensor`."""
        return take_tensor(self._tensors, TRAINING_FILE, name, dtype, shape, nan=nan)

    def take_network(self, prefix: str) -> Network:
        """A network of the model's shape."""
        return take_network(self._tensors, TRAINING_FILE, prefix, self._description)

    def take_adam(self, prefix: str) -> Adam | None:
        """Adam's state for a network of the model's shape; None: it has made no step."""
        if f"{prefix}step" not in self._tensors:
            return None
        adam = Adam(
            float(self.take(f"{prefix}step", np.float32, 1)[0]),
            *(self.take_network(f"{prefix}{moment}.") for moment in _MOMENTS),
        )
        if adam.step < 1 or any((part < 0).any() for part in adam.exp_avg_sq):
            raise broken(prefix.rstrip("."), "has a value out of range")
        return adam

    def take_overrides(self) -> tuple[float | None, float | None]:
        """Learning rate and exploration set in place of the schedules."""
        values = self.take("overrides", np.float64, 2, nan=True)
        rate, exploration = (None if np.isnan(value) else float(value) for value in values)
        return rate, exploration

    def give_overrides(self, agent: Agent) -> None:
        """Set them again."""
        rate, exploration = self.take_overrides()
        try:
            agent.set_learning_rate(rate)
            agent.set_exploration(exploration)
        except HyperparameterError as error:
            raise broken("overrides", str(error)) from error

    def give_metrics(self, agent: Agent) -> None:
        """Let the learner's figures go on from those here."""
        agent.metrics.restore(**self._metrics)

    def give_games(self, agent: Agent) -> None:
        """Let the learner's games go on from those here."""
        for name, here in agent.games._asdict().items():
            here[...] = getattr(self.games, name)

    def _take_games(self) -> Games:
        games = {
            name.removeprefix("games."): np.array(tensor, order="C")
            for name, tensor in self._tensors.items()
            if name.startswith("games.")
        }
        try:
            loaded = load_games(self._description.training_game, games)
        except ValueError as error:
            raise broken("games", str(error)) from error
        config = self._description.config
        assert isinstance(config, Learning)
        if loaded.episode.size != config.boards:
            raise broken("games", f"must be {config.boards}")
        return loaded


def broken(name: str, problem: str) -> CheckpointError:
    """The error of a tensor that is not what it should be."""
    return CheckpointError(f"{TRAINING_FILE}: {name}", problem)

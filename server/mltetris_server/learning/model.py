"""What a model is, apart from training it: its description and its weights, without torch.

A model travels as a JSON-able description (the `model` part of a checkpoint's manifest, see
docs/checkpoints.md) and files. Both may come from a stranger: everything is checked here before
anything is believed, and nothing is ever unpickled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as parse_safetensors
from safetensors.numpy import save as format_safetensors

from mltetris_server.game.config import FeatureSet, GameConfig, Randomizer, Rule, n_features
from mltetris_server.hyperparameters import (
    CONFIGS,
    HyperparameterError,
    Hyperparameters,
    Learning,
    ReferenceConfig,
)
from mltetris_server.learning.kernels import Network
from mltetris_server.learning.tables import EDGE, ENTRIES

POLICY_FILE = "policy.safetensors"
TRAINING_FILE = "training.safetensors"


class CheckpointError(ValueError):
    """A checkpoint is not what it should be; the message names the file and the field."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field


@dataclass(frozen=True)
class ModelDescription:
    """What a model is.

    Attributes:
        features: What it sees.
        game: What it plays; it was trained on boards of `config.training_height` rows.
        config: The algorithm and its settings.
    """

    features: FeatureSet
    game: GameConfig
    config: Hyperparameters

    @property
    def inputs(self) -> int:
        """Features of a placement, the network's inputs."""
        return n_features(self.features, self.game.width)

    @property
    def outputs(self) -> int:
        """Weights of the network's last layer, or of the table."""
        if self.features is FeatureSet.BOARD:
            return ENTRIES
        return self.hidden[-1] if self.hidden else self.inputs

    @property
    def algorithm(self) -> str:
        """The algorithm's name."""
        return self.config.algorithm

    @property
    def hidden(self) -> tuple[int, ...]:
        """Units of the network's hidden layers: one, or none."""
        return self.config.hidden(self.features)

    @property
    def training_game(self) -> GameConfig:
        """The game of the training boards."""
        game, height = self.game, self.game.height
        if isinstance(self.config, Learning):
            height = self.config.training_height
        return GameConfig(game.width, height, game.rule, game.randomizer)

    @property
    def exploration(self) -> float:
        """Probability that it plays at random: of a reference player."""
        return self.config.exploration if isinstance(self.config, ReferenceConfig) else 0.0

    def to_dict(self) -> dict[str, Any]:
        """The `model` part of a manifest, JSON-able."""
        return {
            "algorithm": self.algorithm,
            "features": str(self.features),
            "game": {
                **asdict(self.game),
                "rule": str(self.game.rule),
                "randomizer": str(self.game.randomizer),
            },
            "hyperparameters": self.config.to_dict(),
            "network": {"inputs": self.inputs, "hidden": list(self.hidden)},
        }

    @classmethod
    def from_dict(cls, model: Mapping[str, Any]) -> ModelDescription:
        """The reverse of `to_dict`.

        Raises:
            CheckpointError: a part is missing, unknown or out of range.
        """
        kind = CONFIGS.get(_part(model, "algorithm", str))
        if kind is None:
            raise CheckpointError("model.algorithm", f"must be one of {', '.join(CONFIGS)}")
        features = _word(FeatureSet, model, "features", "model.features")
        described = _part(model, "game", dict)
        sizes = {name: _whole(described, name) for name in ("width", "height")}
        rule = _word(Rule, described, "rule", "model.game.rule")
        randomizer = _word(Randomizer, described, "randomizer", "model.game.randomizer")
        try:
            game = GameConfig(**sizes, rule=rule, randomizer=randomizer)
        except ValueError as error:
            raise CheckpointError("model.game", str(error)) from error
        try:
            config = kind.from_dict(_part(model, "hyperparameters", dict))
            if isinstance(config, Learning):
                config.check(game.height, features)
        except HyperparameterError as error:
            name, problem = error.violations[0]
            raise CheckpointError(f"model.hyperparameters.{name}", problem) from error
        description = cls(features, game, config)
        expected = description.to_dict()["network"]
        if model.get("network") != expected:
            raise CheckpointError("model.network", f"must be {expected} for this model")
        return description


def dump_network(network: Network) -> bytes:
    """The file `policy.safetensors`."""
    return format_safetensors(name_tensors("", network))


def load_network(description: ModelDescription, files: Mapping[str, bytes]) -> Network:
    """The weights that play, from the file `policy.safetensors`.

    Raises:
        CheckpointError: the file is missing or damaged, or does not hold the network described.
    """
    tensors = load_tensors(files, POLICY_FILE)
    return take_network(tensors, POLICY_FILE, "", description)


def name_tensors(prefix: str, network: Network) -> dict[str, NDArray[np.float32]]:
    """The network's tensors, copied, by the names they have in files, in torch's shapes."""
    tensors = {
        f"{prefix}output.weight": network.output_weights.reshape(1, -1).copy(),
        f"{prefix}output.bias": network.output_bias.copy(),
    }
    if network.hidden_bias.size:
        tensors[f"{prefix}hidden.weight"] = network.hidden_weights.copy()
        tensors[f"{prefix}hidden.bias"] = network.hidden_bias.copy()
    return tensors


def take_network(
    tensors: Mapping[str, NDArray[Any]], file: str, prefix: str, description: ModelDescription
) -> Network:
    """The network that `name_tensors` named.

    Raises:
        CheckpointError: a tensor is missing, has another shape or type, or is not finite; or
            a table gives a worth to empty windows.
    """

    def take(name: str, *shape: int) -> NDArray[np.float32]:
        return take_tensor(tensors, file, f"{prefix}{name}", np.float32, shape)

    inputs, last = description.inputs, description.outputs
    units = description.hidden[0] if description.hidden else 0
    weights = take("output.weight", 1, last).reshape(last)
    if description.features is FeatureSet.BOARD and weights[[0, EDGE]].any():
        raise CheckpointError(f"{file}: {prefix}output.weight", "gives empty windows a worth")
    return Network(
        take("hidden.weight", units, inputs) if units else np.zeros((0, inputs), np.float32),
        take("hidden.bias", units) if units else np.zeros(0, np.float32),
        weights,
        take("output.bias", 1),
    )


def load_tensors(files: Mapping[str, bytes], file: str) -> dict[str, NDArray[Any]]:
    """All tensors of a safetensors file.

    Raises:
        CheckpointError: the file is missing or is not a safetensors file.
    """
    if file not in files:
        raise CheckpointError(file, "is missing")
    try:
        tensors: dict[str, NDArray[Any]] = parse_safetensors(files[file])
    except (SafetensorError, ValueError, TypeError, KeyError) as error:
        # KeyError: a type of number that numpy does not have.
        raise CheckpointError(file, f"is not a safetensors file ({error})") from error
    return tensors


def take_tensor(
    tensors: Mapping[str, NDArray[Any]],
    file: str,
    name: str,
    dtype: type[np.generic],
    shape: tuple[int | None, ...],
    *,
    nan: bool = False,
) -> NDArray[Any]:
    """One tensor, contiguous and writable.

    Args:
        tensors: All there are.
        file: Where they are from.
        name: Which.
        dtype: What type it must have.
        shape: What shape; None where any length will do.
        nan: Whether it may hold NaN; infinities never.

    Raises:
        CheckpointError: it is missing, has another type or shape, or is not finite.
    """
    where = f"{file}: {name}"
    if name not in tensors:
        raise CheckpointError(where, "is missing")
    tensor = tensors[name]
    fits = len(tensor.shape) == len(shape) and all(
        wanted in (None, there) for wanted, there in zip(shape, tensor.shape, strict=True)
    )
    if tensor.dtype != dtype or not fits:
        wanted = [length if length is not None else "any" for length in shape]
        raise CheckpointError(
            where, f"must be {np.dtype(dtype)}{wanted}, not {tensor.dtype}{list(tensor.shape)}"
        )
    if np.issubdtype(dtype, np.floating):
        strange = np.isinf(tensor) if nan else ~np.isfinite(tensor)
        if strange.any():
            raise CheckpointError(where, "has a value that is not a finite number")
    return np.array(tensor, order="C")


def _part(values: Mapping[str, Any], name: str, kind: type[Any]) -> Any:
    if not isinstance(values.get(name), kind):
        raise CheckpointError(f"model.{name}", "is missing or not what it should be")
    return values[name]


def _whole(game: Mapping[str, Any], name: str) -> int:
    value = game.get(name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise CheckpointError(f"model.game.{name}", "must be a whole number")
    return value


def _word(kind: type[Any], values: Mapping[str, Any], name: str, field: str) -> Any:
    try:
        return kind(values.get(name))
    except ValueError as error:
        words = ", ".join(str(word) for word in kind)
        raise CheckpointError(field, f"must be one of {words}") from error

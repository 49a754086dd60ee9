"""The policy as Stable-Baselines3 sees it: one small network that values every placement.

An observation of `mltetris/Placement-v0` has a row for each placement: the scaled features of its
afterstate (the board right after it, cleared lines removed), a candidate flag and a fatal flag;
all rows may stand in one vector. The same network, features -> hidden -> 1, reads every row, so
that what it learns about one placement it knows about all.

Play needs none of this: `player.py` does the same with numpy and a compiled forward pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from stable_baselines3.dqn.policies import DQNPolicy, QNetwork
from torch import nn

from mltetris_server.hyperparameters import TdConfig
from mltetris_server.learning.kernels import NOT_A_CANDIDATE, Network

FLAGS = 2
"""Columns of an observation behind the features: candidate, fatal."""


def row_length(observation_space: spaces.Space[Any], action_space: spaces.Space[Any]) -> int:
    """Numbers that an observation has for each placement: its features and two flags.

    Raises:
        ValueError: the spaces are not those of a placement environment.
    """
    if isinstance(observation_space, spaces.Box) and isinstance(action_space, spaces.Discrete):
        shape, placements = observation_space.shape, int(action_space.n)
        if len(shape) == 2 and shape[0] == placements and shape[1] > FLAGS:
            return int(shape[1])
        if len(shape) == 1 and shape[0] % placements == 0 and shape[0] // placements > FLAGS:
            return int(shape[0]) // placements
    raise ValueError(
        "the spaces of mltetris/Placement-v0 are needed, Box(placements * (features + 2)) and "
        f"Discrete(placements), not {observation_space} and {action_space}"
    )


class AfterstateNetwork(QNetwork):
    """Values of all placements of a batch of observations.

    `q_net` is Linear(features, hidden) - ReLU - Linear(hidden, 1), applied to every row.
    """

    def __init__(self, *args: Any, fatal_value: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fatal_value = fatal_value
        layers: list[nn.Module] = []
        self._row = row_length(self.observation_space, self.action_space)
        width = self._row - FLAGS
        for units in self.net_arch:
            layers += [nn.Linear(width, units), self.activation_fn()]
            width = units
        self.q_net = nn.Sequential(*layers, nn.Linear(width, 1))

    def forward(self, obs: PyTorchObs) -> th.Tensor:
        """Values, [batch, placements], of a batch of observations: of all placements there are, or
        of as many as each has rows for."""
        assert isinstance(obs, th.Tensor)
        rows = obs.float().reshape(obs.shape[0], -1, self._row)
        values: th.Tensor = self.q_net(rows[..., :-FLAGS]).squeeze(-1)
        candidate, fatal = rows[..., -2] > 0.5, rows[..., -1] > 0.5
        values = values.masked_fill(fatal, self.fatal_value)
        return values.masked_fill(~candidate, float(NOT_A_CANDIDATE))

    def _get_constructor_parameters(self) -> dict[str, Any]:
        data = super()._get_constructor_parameters()
        data["fatal_value"] = self.fatal_value
        return data


class AfterstatePolicy(DQNPolicy):
    """A `DQNPolicy` over afterstates, for the spaces of `mltetris/Placement-v0`.

    `q_net` is what the optimizer trains; `q_net_target` is its running average and the one that
    acts. An SB3 .zip of it loads with `TD.load` and with the stock `DQN.load`.

    Args:
        observation_space: Box of shape (placements, features + 2) or (placements *
            (features + 2),).
        action_space: Discrete(placements).
        lr_schedule: learning rate by progress remaining, as everywhere in SB3.
        net_arch: hidden layers; one or none. Default: one of 32 units.
        fatal_value: value of a placement that ends the game.
        **kwargs: as for `DQNPolicy`.

    Raises:
        ValueError: the spaces are not those of a placement environment.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Discrete,
        lr_schedule: Schedule,
        net_arch: list[int] | None = None,
        fatal_value: float = TdConfig.death_reward,
        **kwargs: Any,
    ) -> None:
        row_length(observation_space, action_space)
        self.fatal_value = fatal_value
        arch = [TdConfig.hidden_units] if net_arch is None else net_arch
        super().__init__(observation_space, action_space, lr_schedule, net_arch=arch, **kwargs)

    def make_q_net(self) -> AfterstateNetwork:
        """A new network on the policy's device."""
        arguments = self._update_features_extractor(self.net_args, features_extractor=None)
        network = AfterstateNetwork(fatal_value=self.fatal_value, **arguments)
        return network.to(self.device)

    def _predict(self, obs: PyTorchObs, deterministic: bool = True) -> th.Tensor:
        return self.q_net_target._predict(obs, deterministic=deterministic)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        data = super()._get_constructor_parameters()
        data["fatal_value"] = self.fatal_value
        return data


def network_views(tensors: Iterable[th.Tensor | None]) -> Network:
    """A torch network's tensors, in SB3's order, as arrays that share their memory."""
    *hidden, weights, bias = (t.detach().numpy() for t in tensors if t is not None)
    weights = weights.reshape(-1)
    hidden_weights, hidden_bias = hidden or (
        np.zeros((0, weights.size), np.float32),
        np.zeros(0, np.float32),
    )
    return Network(hidden_weights, hidden_bias, weights, bias)


def set_network(module: nn.Module, network: Network) -> None:
    """Copy a network's weights into the torch module of the same shape."""
    with th.no_grad():
        for parameter, part in zip(module.parameters(), network_parts(network), strict=True):
            parameter.copy_(th.from_numpy(part))


def network_parts(network: Network) -> list[NDArray[np.float32]]:
    """A network's arrays in the order and the shapes that torch's parameters have."""
    hidden = network[:2] if network.hidden_bias.size else ()
    return [*hidden, network.output_weights.reshape(1, -1), network.output_bias]

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

from mltetris_server.game.config import ROTATIONS
from mltetris_server.hyperparameters import TdConfig
from mltetris_server.learning.kernels import NOT_A_CANDIDATE, Network
from mltetris_server.learning.tables import EDGE, ENTRIES, FIRST_BIAS, SIDE

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


class PatternTable(nn.Module):
    """Values of raw boards by a table of their local patterns, as `tables` defines them.

    Args:
        width: columns W of the boards.
        fatal_value: what the value of a board is near where the game is lost; below 0.
    """

    def __init__(self, width: int, fatal_value: float) -> None:
        super().__init__()
        self.width = width
        self.fatal_value = fatal_value
        self.weight = nn.Parameter(th.zeros(1, ENTRIES))
        self.bias = nn.Parameter(th.full((1,), FIRST_BIAS))

    def forward(self, cells: th.Tensor) -> th.Tensor:
        """Values, float64[..., 1], of boards [..., H * W] of cells, row by row from the top."""
        board = cells.reshape(-1, cells.shape[-1] // self.width, self.width).flip(1).long()
        # A floor below, nothing above, and the four cells of each column from each row upwards.
        board = nn.functional.pad(board, (0, 0, 0, SIDE - 1))
        board = nn.functional.pad(board, (0, 0, 1, 0), value=1)
        columns = board.unfold(1, SIDE, 1) @ th.tensor([1, 2, 4, 8], device=board.device)
        four = columns.unfold(2, SIDE, 1) @ th.tensor([1, 16, 256, 4096], device=board.device)
        left = columns[..., :3] @ th.tensor([1, 16, 256], device=board.device)
        right = columns[..., -3:] @ th.tensor([256, 16, 1], device=board.device)
        entries = th.cat([four, EDGE + left[..., None], EDGE + right[..., None]], dim=-1)
        # float64, so that boards which are as good as lost still differ.
        total = self.weight[0, entries].double().sum(dim=(1, 2)) + self.bias.double()
        return (self.fatal_value * th.sigmoid(-total)).reshape(*cells.shape[:-1], 1)


class AfterstateNetwork(QNetwork):
    """Values of all placements of a batch of observations.

    `q_net` is Linear(features, hidden) - ReLU - Linear(hidden, 1), applied to every row; with
    `table`, for observations of raw boards, a `PatternTable`.
    """

    def __init__(self, *args: Any, fatal_value: float, table: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fatal_value = fatal_value
        self.table = table
        layers: list[nn.Module] = []
        self._row = row_length(self.observation_space, self.action_space)
        if table:
            placements = int(self.action_space.n)
            self.q_net = nn.Sequential(PatternTable(placements // ROTATIONS, fatal_value))
            return
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
        data["table"] = self.table
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
        table: whether observations are of raw boards, to be valued by a `PatternTable`.
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
        table: bool = False,
        **kwargs: Any,
    ) -> None:
        row_length(observation_space, action_space)
        self.fatal_value = fatal_value
        self.table = table
        arch = [TdConfig.hidden_units] if net_arch is None else net_arch
        super().__init__(observation_space, action_space, lr_schedule, net_arch=arch, **kwargs)

    def make_q_net(self) -> AfterstateNetwork:
        """A new network on the policy's device."""
        arguments = self._update_features_extractor(self.net_args, features_extractor=None)
        network = AfterstateNetwork(fatal_value=self.fatal_value, table=self.table, **arguments)
        return network.to(self.device)

    def _predict(self, obs: PyTorchObs, deterministic: bool = True) -> th.Tensor:
        return self.q_net_target._predict(obs, deterministic=deterministic)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        data = super()._get_constructor_parameters()
        data["fatal_value"] = self.fatal_value
        data["table"] = self.table
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

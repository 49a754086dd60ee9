"""Gradient steps of `td`, on the policy's own weights and its optimizer's own state."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch as th
from numpy.typing import NDArray

from mltetris_server.hyperparameters import TdConfig
from mltetris_server.learning.kernels import Network
from mltetris_server.learning.policy import AfterstatePolicy, network_views
from mltetris_server.learning.seeds import mixed
from mltetris_server.learning.td.kernels import Moments, descend, new_desk
from mltetris_server.learning.td.memory import Window
from mltetris_server.learning.td.table import ROOM, table_gradient


class Descent(Protocol):
    """How gradient steps are made.

    Attributes:
        step_seconds: About how long one takes on an ordinary core.
    """

    step_seconds: float

    def step(self, window: Window, first: int, last: int) -> float:
        """Gradient steps first..last-1, counted over the learner's whole life.

        Args:
            window: What to learn from.
            first: Steps made before.
            last: Steps made afterwards.

        Returns:
            The sum of their losses.
        """


class NetworkDescent:
    """Compiled gradients and a compiled Adam, for a network with hidden units.

    torch's Adam takes some 60 microseconds for a step, most of it to find out what there is to
    do; the compiled one takes 0.3. It works on torch's own numbers.

    Args:
        policy: Its `q_net` is trained, in place, and its optimizer's state kept up to date.
        config: Hyperparameters.
        inputs: Features.
        draws: Decides, with the number of the step, which samples are drawn.
    """

    def __init__(self, policy: AfterstatePolicy, config: TdConfig, inputs: int, draws: int) -> None:
        products = inputs * config.hidden_units
        self.step_seconds = 1e-6 * (1 + config.batch_size * (0.003 + 0.00012 * products))
        self._optimizer = policy.optimizer
        self._parameters = list(policy.q_net.parameters())
        self._network = network_views(self._parameters)
        self._batch_size = config.batch_size
        self._draws = np.uint64(draws)
        self._desk = new_desk(inputs, config.hidden_units, config.batch_size)
        self._moments: Moments | None = None
        self._steps: list[NDArray[np.float32]] = []

    def step(self, window: Window, first: int, last: int) -> float:
        """See `Descent`."""
        moments = self._moments or self._bind()
        losses = descend(
            window.features,
            window.targets,
            window.size,
            self._batch_size,
            self._draws,
            first,
            last,
            self._network,
            moments,
            self._optimizer.param_groups[0]["lr"],
            self._desk,
        )
        for step in self._steps:
            step[...] = moments.step[0]
        return losses

    def _bind(self) -> Moments:
        """Adam's state, made here before the first step as torch would make it."""
        for parameter in self._parameters:
            if not self._optimizer.state[parameter]:
                self._optimizer.state[parameter] = {
                    "step": th.tensor(0.0, dtype=th.float32),
                    "exp_avg": th.zeros_like(parameter),
                    "exp_avg_sq": th.zeros_like(parameter),
                }
        states = [self._optimizer.state[parameter] for parameter in self._parameters]
        self._steps = [state["step"].numpy() for state in states]
        self._moments = Moments(
            np.array([self._steps[0]], np.float32),
            network_views(state["exp_avg"] for state in states),
            network_views(state["exp_avg_sq"] for state in states),
        )
        return self._moments


class TableDescent:
    """Compiled gradients and torch's Adam, for a table of patterns (`tables`).

    Args:
        policy: Its `q_net` is trained, in place.
        config: Hyperparameters.
        width: Columns of a board.
        draws: Decides, with the number of the step, which samples are drawn.
    """

    def __init__(self, policy: AfterstatePolicy, config: TdConfig, width: int, draws: int) -> None:
        windows = width * config.training_height
        self.step_seconds = 1e-6 * (200 + config.batch_size * 0.006 * windows)
        self._optimizer = policy.optimizer
        self._config = config
        self._draws = draws
        self._entries = np.zeros(ROOM * width, np.int64)
        parameters = list(policy.q_net.parameters())
        for parameter in parameters:
            parameter.grad = th.zeros_like(parameter)
        self._network = network_views(parameters)
        self._slopes: Network = network_views(parameter.grad for parameter in parameters)

    def step(self, window: Window, first: int, last: int) -> float:
        """See `Descent`."""
        losses = 0.0
        for k in range(first, last):
            losses += table_gradient(
                window.features,
                window.targets,
                window.size,
                self._config.batch_size,
                np.uint64(mixed(self._draws + k)),
                self._network.output_weights,
                self._network.output_bias,
                self._config.death_reward,
                self._slopes.output_weights,
                self._slopes.output_bias,
                self._entries,
            )
            self._optimizer.step()
        return losses

"""How the gradient of cloning is taken: of a network, or of a table of patterns."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mltetris_server.game.config import FeatureSet, GameConfig
from mltetris_server.learning.kernels import Network
from mltetris_server.learning.warm_start.kernels import Examples, imitate, new_desk
from mltetris_server.learning.warm_start.tables import ROOM, imitate_table

_CANDIDATES = 0.6
"""Candidates of a state on average, as a share of the actions."""


class Imitation(Protocol):
    """Where slopes come from.

    Attributes:
        slopes: Those of the network, in its shapes.
        state_seconds: About how long a state takes on an ordinary core.
    """

    slopes: Network
    state_seconds: float

    def take(
        self, examples: Examples, order: NDArray[np.int64], figures: NDArray[np.float64]
    ) -> None:
        """Fill `slopes` for these states; see `kernels.imitate`."""


def imitation(features: FeatureSet, network: Network, game: GameConfig) -> Imitation:
    """The one for this network, which is only looked at."""
    if features is FeatureSet.BOARD:
        return TableImitation(network, game)
    return NetworkImitation(network, game)


class NetworkImitation:
    """For networks with hidden units, or linear ones."""

    def __init__(self, network: Network, game: GameConfig) -> None:
        self._network = network
        self._desk = new_desk(network, game.actions)
        self.slopes = self._desk.slopes
        products = max(1, network.hidden_weights.size)
        self.state_seconds = 1e-6 * game.actions * _CANDIDATES * (0.01 + 0.00015 * products)

    def take(
        self, examples: Examples, order: NDArray[np.int64], figures: NDArray[np.float64]
    ) -> None:
        """See `Imitation`."""
        imitate(examples, order, self._network, self._desk, figures)


class TableImitation:
    """For tables of patterns."""

    def __init__(self, network: Network, game: GameConfig) -> None:
        self._network = network
        self.slopes = Network(*(np.zeros_like(part) for part in network))
        self._room = np.zeros(ROOM * game.width, np.int64)
        self._scores = np.zeros(game.actions, np.float64)
        windows = game.width * game.height / 2
        self.state_seconds = 1e-6 * game.actions * _CANDIDATES * 0.006 * windows

    def take(
        self, examples: Examples, order: NDArray[np.int64], figures: NDArray[np.float64]
    ) -> None:
        """See `Imitation`."""
        imitate_table(
            examples,
            order,
            self._network.output_weights,
            self.slopes.output_weights,
            self._room,
            self._scores,
            figures,
        )

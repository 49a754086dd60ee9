"""A trained model at play: numpy weights and the compiled engine, no torch.

Demos, the showcase and evaluations play with this; `TD.predict` chooses the same placements.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mltetris_server.game.config import FeatureSet, GameConfig, feature_scales, n_features
from mltetris_server.game.display import ShownGame
from mltetris_server.game.engine import CANDIDATE, Games
from mltetris_server.learning.kernels import Eye, Network, look
from mltetris_server.learning.lanes import padded
from mltetris_server.learning.model import ModelDescription, load_network
from mltetris_server.learning.seeds import mixed

_CHOICES = 0x63686F69636573
"""Keeps a player's numbers apart from those of the pieces (`game.randomness.start_stream`)."""


def make_eye(features: FeatureSet, width: int, fatal_value: float) -> Eye:
    """What `look` needs beside games and a network; one for each thread."""
    actions = GameConfig(width).actions
    inputs = n_features(features, width)
    return Eye(
        settings=np.array([features.code], np.int64),
        scales=feature_scales(features, width),
        fatal_value=np.array([fatal_value], np.float32),
        features=np.zeros((actions, inputs), np.float32),
        flags=np.zeros(actions, np.uint8),
        values=np.zeros(actions, np.float32),
        columns=np.zeros((inputs + 2, padded(actions)), np.float32),
        actions=np.zeros(actions, np.int64),
    )


class Player:
    """Chooses the placement that a network values highest. Not for several threads at once.

    Args:
        network: Copied, so that it may be trained on.
        features: What the network sees.
        fatal_value: Value of a placement that ends the game.
        exploration: Probability, 0..1, that it makes any candidate instead, all equally likely.
            Drawn from the game's seed, its number and the placement's: the same game is played
            in the same way every time.
    """

    def __init__(
        self,
        network: Network,
        features: FeatureSet,
        fatal_value: float,
        exploration: float = 0.0,
    ) -> None:
        self.network = Network(*(np.array(part, np.float32, order="C") for part in network))
        self.features = features
        self.fatal_value = fatal_value
        self.exploration = exploration
        self._eyes: dict[int, Eye] = {}

    @classmethod
    def from_checkpoint(cls, model: Mapping[str, Any], files: Mapping[str, bytes]) -> Player:
        """The player of a checkpoint: the manifest's `model` and at least the policy file.

        Raises:
            CheckpointError: the model or its file is not what it should be.
        """
        description = ModelDescription.from_dict(model)
        network = load_network(description, files)
        fatal_value = description.config.fatal_value
        return cls(network, description.features, fatal_value, description.exploration)

    def plays(self, game: GameConfig) -> bool:
        """Whether it can play this game: of any size, if its features do not depend on it."""
        if self.features is FeatureSet.BOARD:
            return True
        return bool(n_features(self.features, game.width) == self.network.hidden_weights.shape[1])

    def eye(self, game: GameConfig) -> Eye:
        """Scratch for kernels to look at this game with.

        Raises:
            ValueError: it cannot play this game.
        """
        if not self.plays(game):
            raise ValueError(f"a player of {self.features} features of another width than {game}")
        if game.width not in self._eyes:
            self._eyes[game.width] = make_eye(self.features, game.width, self.fatal_value)
        return self._eyes[game.width]

    def choose(self, game: ShownGame) -> int:
        """The placement to make: column * 4 + rotation.

        Raises:
            ValueError: it cannot play this game.
        """
        return self.choose_on(game.games, 0, self.eye(game.config))

    def choose_on(self, games: Games, i: int, eye: Eye) -> int:
        """The placement to make on board i of several games of one kind.

        Args:
            games: The games.
            i: The board.
            eye: This player's `eye` for them, or a copy; `eye.values` is filled.
        """
        best = int(look(games, i, self.network, eye))
        if not self.exploration:
            return best
        number = mixed(mixed(mixed(int(games.streams[i, 0])) ^ _CHOICES) ^ int(games.episode[i]))
        number = mixed(mixed(number) ^ int(games.placements[i]))
        if (number >> 11) * 2.0**-53 >= self.exploration:
            return best
        candidates = np.flatnonzero(eye.flags & CANDIDATE)
        return int(candidates[mixed(number) * candidates.size >> 64])

    def values(self, game: ShownGame) -> NDArray[np.float32]:
        """What every placement is worth to it, float32[4W], the greatest best: for td and dqn the
        expected discounted reward, for ppo the logit, for cem and the reference players a weighted
        sum of features. The fatal value where the game ends, -1e6 where there is nothing to choose.

        Raises:
            ValueError: it cannot play this game.
        """
        eye = self.eye(game.config)
        look(game.games, 0, self.network, eye)
        return eye.values.copy()

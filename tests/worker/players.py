"""Players that need no model."""

from __future__ import annotations

import numpy as np
from mltetris_server.game.config import FeatureSet, feature_scales
from mltetris_server.game.display import ShownGame
from mltetris_server.game.engine import CANDIDATE, ENDS_GAME
from mltetris_server.game.players import PLAYERS
from numpy.typing import NDArray


class Linear:
    """Plays as well as its weights: well, or as badly as it can."""

    def __init__(self, *, well: bool) -> None:
        weights = np.array(PLAYERS["bcts"].weights, np.float32)
        scales = feature_scales(FeatureSet.BCTS, 10)
        self._weights = (weights if well else -weights) / scales

    def values(self, game: ShownGame) -> NDArray[np.float32]:
        features, flags = game.afterstates(FeatureSet.BCTS)
        values = features @ self._weights
        values[flags & ENDS_GAME != 0] = -1e5
        values[flags & CANDIDATE == 0] = -1e6
        return values.astype(np.float32)

    def choose(self, game: ShownGame) -> int:
        return int(np.argmax(self.values(game)))

"""The compiled engine's public face: what learning, workers and displays build on.

    games = new_games(GameConfig(), n=64, seed=7)
    features = np.empty((4 * W, n_features(feature_set, W)), np.float32)
    flags = np.empty(4 * W, np.uint8)
    afterstates(games, i, feature_set.code, feature_scales(feature_set, W), features, flags)
    lines, over = place(games, i, action)
    if over:
        reset_game(games, i)

All but `new_games` are kernels: call them from Python, or from kernels of your own
(decorated with `compiling.kernel`, so that a change in the engine recompiles them).
"""

from __future__ import annotations

from mltetris_server.game.afterstates import (
    CANDIDATE,
    ENDS_GAME,
    LEGAL,
    LINES_SHIFT,
    afterstates,
)
from mltetris_server.game.compiling import kernel
from mltetris_server.game.games import (
    FATAL,
    ILLEGAL,
    Games,
    landing_row,
    new_games,
    place,
    reset_game,
    upcoming,
)
from mltetris_server.game.randomness import draw_piece, mix, random_below

__all__ = [
    "CANDIDATE",
    "ENDS_GAME",
    "FATAL",
    "ILLEGAL",
    "LEGAL",
    "LINES_SHIFT",
    "Games",
    "afterstates",
    "draw_piece",
    "kernel",
    "landing_row",
    "mix",
    "new_games",
    "place",
    "random_below",
    "reset_game",
    "upcoming",
]

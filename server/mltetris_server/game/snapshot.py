"""Running games as plain arrays and back, for checkpoints that resume exactly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mltetris_server.game.config import GameConfig
from mltetris_server.game.games import Games, new_games
from mltetris_server.game.pieces import PIECES

# Everything that makes up the games; `settings` follows from the config.
_FIELDS = (
    "columns",
    "pieces",
    "streams",
    "bags",
    "episode",
    "placements",
    "lines",
    "score",
    "over",
)


def dump_games(games: Games) -> dict[str, NDArray[Any]]:
    """The games' state, by field name, as copies: int64 and uint64 arrays."""
    return {name: getattr(games, name).copy() for name in _FIELDS}


def load_games(config: GameConfig, arrays: Mapping[str, NDArray[Any]]) -> Games:
    """The games that `dump_games` wrote; they go on exactly where they were.

    The arrays may come from a stranger's file and the kernels do not check what they
    read, so every value is checked here.

    Args:
        config: The game they are games of.
        arrays: What `dump_games` returned; other keys are ignored.

    Raises:
        ValueError: A field is missing, or its type, shape or a value cannot be.
    """
    boards = arrays["columns"].shape[0] if "columns" in arrays else 0
    games = new_games(config, max(boards, 1), seed=0)
    for name in _FIELDS:
        here: NDArray[Any] = getattr(games, name)
        if name not in arrays:
            raise ValueError(f"the games' {name} is missing")
        there = arrays[name]
        if there.dtype != here.dtype or there.shape != here.shape:
            raise ValueError(
                f"the games' {name} must be {here.dtype}{list(here.shape)}, "
                f"not {there.dtype}{list(there.shape)}"
            )
        here[...] = there
    filled = games.bags[:, PIECES]
    _require("columns", games.columns, 0, (1 << config.height) - 1)
    _require("pieces", games.pieces, 1, PIECES)
    _require("bags", filled, 0, PIECES)
    drawable = np.arange(PIECES) < filled[:, None]
    _require("bags", games.bags[:, :PIECES][drawable], 1, PIECES)
    _require("episode", games.episode, 1)
    for name in ("placements", "lines", "score"):
        _require(name, getattr(games, name), 0)
    _require("over", games.over, 0, 1)
    return games


def _require(name: str, values: NDArray[np.int64], low: int, high: int | None = None) -> None:
    if values.size and (values.min() < low or (high is not None and values.max() > high)):
        raise ValueError(f"the games' {name} has a value out of range")

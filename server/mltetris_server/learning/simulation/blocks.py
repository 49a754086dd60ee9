"""What players hand to the writer: rows of a log, and which games they are of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mltetris_server.game.config import FeatureSet, GameConfig, n_features, raw_scales
from mltetris_server.learning.simulation.kernels import (
    CELLS,
    DESCRIBED,
    SEEN,
    Log,
    View,
)

BLOCK_BYTES = 1024 * 1024
"""Bytes of a block's log, about."""
MOST_ROWS, LEAST_ROWS = 8192, 512


def block_rows(observed: FeatureSet, game: GameConfig) -> int:
    """Placements that a block has room for: a power of two."""
    rows = BLOCK_BYTES // sum(int(column.nbytes) for column in columns(new_log(observed, game, 1)))
    return max(LEAST_ROWS, min(MOST_ROWS, 1 << (rows.bit_length() - 1)))


def columns(log: Log) -> list[NDArray[Any]]:
    """What a log consists of."""
    return list(log._asdict().values())


def new_log(observed: FeatureSet, game: GameConfig, rows: int) -> Log:
    """A log of so many rows.

    Args:
        observed: What is kept of a state: SIMPLE or BCTS features, or BOARD, the cells.
        game: The game.
        rows: Its rows.
    """
    cells = observed is FeatureSet.BOARD
    numbers = 0 if cells else n_features(observed, game.width)
    return Log(
        features=np.zeros((rows, numbers), np.float32),
        cells=np.zeros((rows, game.width * game.height if cells else 0), np.uint8),
        pieces=np.zeros(rows, np.uint8),
        next_pieces=np.zeros(rows, np.uint8),
        actions=np.zeros(rows, np.uint8),
        rewards=np.zeros(rows, np.float32),
    )


def new_view(observed: FeatureSet, seen: FeatureSet, game: GameConfig, boards: int) -> View:
    """How so many boards' states are shown.

    Args:
        observed: What is kept of a state.
        seen: What the player looks at: nothing is counted twice.
        game: The game.
        boards: How many.
    """
    if observed is FeatureSet.BOARD:
        kind, scales = CELLS, np.zeros(0, np.float32)
    else:
        # DT is BCTS and one more behind.
        same = seen is observed or (seen, observed) == (FeatureSet.DT, FeatureSet.BCTS)
        kind, scales = SEEN if same else DESCRIBED, raw_scales(observed, game.width)
    return View(
        settings=np.array([kind, observed.code], np.int64),
        scales=scales,
        last=np.zeros((boards, scales.size), np.float32),
    )


@dataclass(frozen=True)
class Part:
    """A stretch of one game in a block.

    Attributes:
        game: The game's number, from 0.
        start: Its first row in the block.
        placements: Its placements. Where the game has ended, by itself or cut off, the row behind
            them has the state it ended in.
        before: Placements of the game that came before, in other blocks.
        over: Whether the game is over after it.
        cut_off: Whether the game was not over and is not played on.
        lines: Lines of the game so far.
        score: Its score so far.
    """

    game: int
    start: int
    placements: int
    before: int
    over: bool
    cut_off: bool
    lines: int
    score: int

    @property
    def last(self) -> bool:
        """Whether nothing of the game follows."""
        return self.over or self.cut_off

    @property
    def states(self) -> int:
        """Its rows."""
        return self.placements + self.last


@dataclass
class Block:
    """A log of one row more than `rows`, and the parts of games in it, one behind the other."""

    rows: int
    log: Log
    parts: list[Part] = field(default_factory=list)
    packed: dict[int, dict[str, list[bytes]]] = field(default_factory=dict)
    """Of some parts, by place: their columns as they are to lie in the file, chunk by chunk."""

    @classmethod
    def new(cls, observed: FeatureSet, game: GameConfig, rows: int) -> Block:
        """An empty one; see `new_log`."""
        return cls(rows, new_log(observed, game, rows + 1))

    def clear(self) -> None:
        """Forget what is in it."""
        self.parts.clear()
        self.packed.clear()

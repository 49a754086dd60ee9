"""A tape's states, block after block, so that memory does not grow with the dataset."""

from __future__ import annotations

import numpy as np

from mltetris_server.game.config import FeatureSet, GameConfig
from mltetris_server.game.engine import new_games
from mltetris_server.learning.player import make_eye
from mltetris_server.learning.trajectories import TrajectoriesError
from mltetris_server.learning.warm_start.kernels import Examples, Tape, collect

BLOCK_NUMBERS = 16 * 1024 * 1024
"""Features of a block at most, 64 MiB: with bcts some 90,000 states of ten columns."""
_LEAST_CANDIDATES = 8
"""Candidates that a state has on average at least, on any board."""
_PIECE = 1_000
"""Placements retraced in a piece: about 2 ms."""


class Block:
    """A window on a tape that moves from block to block.

    Args:
        game: What was played.
        features: What is to be seen of it.
        tape: The placements.

    Attributes:
        examples: The states of the block.
        count: How many they are.
        number: The block's number, from 0.
        whole: Whether the block is complete.
    """

    def __init__(self, game: GameConfig, features: FeatureSet, tape: Tape) -> None:
        self._tape = tape
        self._games = new_games(game, 1, seed=0)
        self._eye = make_eye(features, game.width, 0.0)
        inputs, actions = self._eye.scales.size, game.actions
        placements = tape.pieces.size
        rows = min(BLOCK_NUMBERS // inputs, placements * actions) + actions
        states = min(rows // _LEAST_CANDIDATES + 1, placements)
        self.examples = Examples(
            features=np.empty((rows, inputs), np.float32),
            starts=np.zeros(states + 1, np.int64),
            made=np.zeros(states, np.int64),
        )
        self.count = 0
        self.number = 0
        self.whole = False
        self._next = 0

    @property
    def last(self) -> bool:
        """Whether no placement comes behind this block."""
        return self._next == self._tape.pieces.size

    @property
    def share(self) -> float:
        """Share of the tape up to the end of the block."""
        return self._next / self._tape.pieces.size

    def turn(self) -> None:
        """Begin with the next block; after the last with the first, which may be the same."""
        if self.last and self.number == 0 and self.whole:
            return
        self.number = 0 if self.last else self.number + 1
        self._next %= self._tape.pieces.size
        self.count, self.whole = 0, False

    def collect(self) -> None:
        """Retrace some placements.

        Raises:
            TrajectoriesError: one cannot be made on the board that was there.
        """
        stop = min(self._next + _PIECE, self._tape.pieces.size)
        reached, self.count = collect(
            self._games, self._tape, self._next, stop, self._eye, self.examples, self.count
        )
        if reached < 0:
            raise misfit(-1 - reached)
        self.whole = reached < stop or reached == self._tape.pieces.size
        self._next = reached


def misfit(placement: int) -> TrajectoriesError:
    """The error for a placement of a tape that cannot be what happened."""
    return TrajectoriesError(
        "actions", f"placement {placement:,} of those learnt from does not fit the board before it"
    )

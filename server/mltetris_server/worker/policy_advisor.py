"""What a model would do on a board that somebody else plays on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from mltetris_api.v1.policy_pb2 import Position, SuggestedPlacement, Suggestion
from mltetris_api.v1.run_pb2 import Rule as RuleNumber
from numpy.typing import NDArray

from mltetris_server.game.config import ROTATIONS, FeatureSet, GameConfig, Rule, raw_scales
from mltetris_server.game.engine import (
    CANDIDATE,
    ENDS_GAME,
    LINES_SHIFT,
    Games,
    afterstates,
    new_games,
)
from mltetris_server.game.pieces import BITS, HEIGHT, LEFT, PIECES, WIDTH
from mltetris_server.learning.player import Player

_BCTS = FeatureSet.BCTS
_LANDING_HEIGHT = 0
"""The feature of BCTS that tells where a piece comes to rest."""


class Advisor:
    """Suggests what a model would do. Not for several threads at once."""

    def __init__(self, player: Player) -> None:
        self._player = player
        self._boards: dict[GameConfig, _Board] = {}

    @classmethod
    def from_checkpoint(cls, model: Mapping[str, Any], files: Mapping[str, bytes]) -> Advisor:
        """One that asks the player of a checkpoint.

        Raises:
            CheckpointError: the model or its file is not what it should be.
        """
        return cls(Player.from_checkpoint(model, files))

    def suggest(self, position: Position) -> Suggestion:
        """The best placement, and the value of every legal one, the first of twins only.

        A player that explores draws from the position: it does the same whenever it is asked the
        same.

        Args:
            position: a board that can be: cells of the right number, 0..7, and no full row.

        Raises:
            ValueError: the model cannot play on boards of this width.
        """
        config = _game(position)
        eye = self._player.eye(config)
        board = self._boards.get(config)
        if board is None:
            board = self._boards[config] = _Board.empty(config)
        board.set(position)
        best = self._player.choose_on(board.games, 0, eye)
        candidates = np.flatnonzero(eye.flags & CANDIDATE)
        flags = eye.flags[candidates].tolist()
        placements = [
            SuggestedPlacement(
                action=action,
                column=action // ROTATIONS,
                rotation=action % ROTATIONS,
                value=value,
                cells=() if flag & ENDS_GAME else cells,
                lines_cleared=flag >> LINES_SHIFT,
                ends_game=bool(flag & ENDS_GAME),
            )
            for action, value, flag, cells in zip(
                candidates.tolist(),
                eye.values[candidates].tolist(),
                flags,
                board.landings(candidates),
                strict=True,
            )
        ]
        return Suggestion(
            best=next((placement for placement in placements if placement.action == best), None),
            placements=placements,
            game_over=all(placement.ends_game for placement in placements),
        )


@dataclass(frozen=True)
class _Board:
    """A board of one game, to be set to a position again and again, and room to look at it."""

    config: GameConfig
    games: Games
    features: NDArray[np.float32]
    flags: NDArray[np.uint8]
    scales: NDArray[np.float32]
    rows: NDArray[np.int64]
    """int64[H, 1]: the bit of each row, the top one first."""

    @classmethod
    def empty(cls, config: GameConfig) -> _Board:
        scales = raw_scales(_BCTS, config.width)
        return cls(
            config,
            new_games(config, 1, seed=0),
            np.zeros((config.actions, len(scales)), np.float32),
            np.zeros(config.actions, np.uint8),
            scales,
            1 << np.arange(config.height - 1, -1, -1)[:, None],
        )

    def set(self, position: Position) -> None:
        """Makes it the board of `position`; a player that explores draws from what it is."""
        games, config = self.games, self.config
        games.columns[0] = 0
        if position.cells:
            cells = np.frombuffer(position.cells, np.uint8).reshape(config.height, config.width)
            games.columns[0] = ((cells != 0) * self.rows).sum(axis=0)
        games.pieces[0, 0] = position.piece
        games.over[0] = 0
        here = games.settings.tobytes() + games.columns.tobytes() + bytes([position.piece])
        digest = hashlib.blake2b(here, digest_size=8).digest()
        games.streams[0, 0] = int.from_bytes(digest, "little")

    def landings(self, actions: NDArray[np.int64]) -> list[list[int]]:
        """The cells that the piece comes to rest on, as row * width + column, ascending.

        Of a placement that ends the game: any. The engine's own words for where that is are the
        landing height, the row of the piece's lowest cell plus (its height - 1) / 2.
        """
        afterstates(self.games, 0, _BCTS.code, self.scales, self.features, self.flags)
        piece = int(self.games.pieces[0, 0])
        height = HEIGHT[piece, actions % ROTATIONS]
        bottom = self.features[actions, _LANDING_HEIGHT] - (height - 1) / 2
        # Rows count from the floor there, and from the top here.
        first = (self.config.height - 1 - bottom.astype(np.int64)) * self.config.width
        first += actions // ROTATIONS
        shape = _CELLS[piece, actions % ROTATIONS]
        cells: list[list[int]] = (
            first[:, None] - shape[:, :, 0] * self.config.width + shape[:, :, 1]
        ).tolist()
        return cells


def _game(position: Position) -> GameConfig:
    """The game that a position is of; what it does not say is the default."""
    rule = Rule.PUBLISHED if position.rule == RuleNumber.RULE_PUBLISHED else Rule.GYMNASIUM
    return GameConfig(
        position.width if position.HasField("width") else 10,
        position.height if position.HasField("height") else 20,
        rule,
    )


def _cells_of_shapes() -> NDArray[np.int64]:
    """int64[8, 4, 4, 2]: of each turned piece the cells, the top row's first: rows above its lowest
    cell, and columns right of the action's column."""
    cells = np.zeros((PIECES + 1, ROTATIONS, 4, 2), np.int64)
    for piece in range(1, PIECES + 1):
        for rotation in range(ROTATIONS):
            cells[piece, rotation] = [
                (row, LEFT[piece, rotation] + column)
                for row in range(int(HEIGHT[piece, rotation]) - 1, -1, -1)
                for column in range(int(WIDTH[piece, rotation]))
                if int(BITS[piece, rotation, column]) >> row & 1
            ]
    return cells


_CELLS = _cells_of_shapes()

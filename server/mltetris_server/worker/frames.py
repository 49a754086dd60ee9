"""From a shown game to what travels to watchers."""

from __future__ import annotations

import numpy as np
from mltetris_api.v1.board_pb2 import (
    BoardFrame,
    Piece,
    PieceState,
    Placement,
    PlacementValue,
)
from numpy.typing import NDArray

from mltetris_server.game.config import FeatureSet
from mltetris_server.game.display import ShownGame
from mltetris_server.game.engine import CANDIDATE

NEXT_PIECES = 3
"""Pieces to come that a frame shows."""

Values = NDArray[np.float32]
"""Value of each of the 4 x width actions."""


def board_frame(
    game: ShownGame, *, board: int = 0, player: str = "", values: Values | None = None
) -> BoardFrame:
    """The frame of a game as it is now; sequence and time are the sender's.

    Args:
        game: what is shown.
        board: its place in the race.
        player: who plays.
        values: the value of every action, where somebody wants them.
    """
    frame = BoardFrame(
        board=board,
        episode=game.episode,
        placements=game.placements,
        width=game.config.width,
        height=game.config.height,
        cells=game.cells.tobytes(),
        next=[Piece.ValueType(piece) for piece in game.next_pieces(NEXT_PIECES)],
        score=game.score,
        lines=game.lines,
        game_over=game.game_over,
        player=player,
    )
    last = game.last_placement
    if last is not None:
        frame.last_placement.CopyFrom(
            Placement(
                piece=Piece.ValueType(last.piece),
                column=last.column,
                rotation=last.rotation,
                cells=last.cells,
                cleared_rows=last.cleared_rows,
            )
        )
    if not game.game_over:
        pose = game.active
        frame.active.CopyFrom(
            PieceState(
                piece=Piece.ValueType(pose.piece),
                rotation=pose.rotation,
                x=pose.x,
                y=pose.y,
                cells=pose.cells,
            )
        )
        if values is not None:
            frame.values.extend(_placement_values(game, values))
    return frame


def _placement_values(game: ShownGame, values: Values) -> list[PlacementValue]:
    """The value of every legal placement, of those that give the same board only one."""
    _, flags = game.afterstates(FeatureSet.BCTS)
    return [
        PlacementValue(action=action, value=float(values[action]), cells=game.landing_cells(action))
        for action in map(int, np.flatnonzero(flags & CANDIDATE))
    ]

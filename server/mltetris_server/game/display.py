"""A game for people to watch: cells in colours, poses, what was cleared.

The rules are the engine's: a `ShownGame` is board 0 of a `Games` plus the piece that
filled each cell. It never decides anything about the game itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mltetris_server.game.config import (
    ROTATIONS,
    FeatureSet,
    GameConfig,
    feature_scales,
    n_features,
)
from mltetris_server.game.engine import (
    FATAL,
    ILLEGAL,
    LEGAL,
    Games,
    afterstates,
    landing_row,
    new_games,
    place,
    reset_game,
    upcoming,
)
from mltetris_server.game.pieces import BITS, HEIGHT, LEFT, WIDTH, matrix


@dataclass(frozen=True)
class Pose:
    """A piece somewhere on (or above) the board. Cell (0, 0) is the top left.

    Attributes:
        piece: 1..7.
        rotation: Quarter turns counterclockwise from the spawn orientation, 0..3.
        x: Column of the left edge of the piece's square matrix; may be negative.
        y: Row of the top edge of the piece's square matrix; may be negative.
        cells: What it covers, as row * width + column, ascending; cells above the
            board are left out.
    """

    piece: int
    rotation: int
    x: int
    y: int
    cells: tuple[int, ...]


@dataclass(frozen=True)
class MadePlacement:
    """A placement that was made.

    Attributes:
        piece: 1..7.
        column: Column of the action, 0..width-1.
        rotation: Rotation of the action, 0..3.
        cells: Where it came to rest, as row * width + column, ascending, before rows
            were cleared; empty if the placement itself ended the game.
        cleared_rows: The rows it cleared, top row first, as numbered before.
    """

    piece: int
    column: int
    rotation: int
    cells: tuple[int, ...]
    cleared_rows: tuple[int, ...]


class ShownGame:
    """One game to watch, by exactly the engine's rules.

    Two shown games with the same config, seed and episode get the same pieces: that
    is a race.
    """

    def __init__(self, config: GameConfig, seed: int, *, episode: int = 1) -> None:
        """Start at the first piece of a game.

        Args:
            config: The game.
            seed: 0..2**64-1.
            episode: Number of the game, at least 1.

        Raises:
            ValueError: `seed` or `episode` is out of range.
        """
        self.config = config
        self._games = new_games(config, 1, seed, first_episode=episode)
        self._cells = np.zeros((config.height, config.width), np.uint8)
        self._last: MadePlacement | None = None

    @classmethod
    def of_board(cls, config: GameConfig, games: Games, i: int) -> ShownGame:
        """A copy of board i of running games, which goes on as that board would.

        Which piece filled a cell is not known there: cells that are filled already
        are shown as I.
        """
        shown = cls(config, seed=0)
        for name, here in shown._games._asdict().items():
            if name != "settings":
                here[0] = getattr(games, name)[i]
        rows = np.arange(config.height - 1, -1, -1)
        shown._cells[...] = (shown._games.columns[0] >> rows[:, None]) & 1
        return shown

    @property
    def games(self) -> Games:
        """The engine's state, board 0: for kernels that choose, not to be changed."""
        return self._games

    @property
    def cells(self) -> NDArray[np.uint8]:
        """The board, uint8[height, width], top row first: 0 or the piece that filled the cell.

        A copy. The active piece is not in it.
        """
        return self._cells.copy()

    @property
    def piece(self) -> int:
        """The active piece, 1..7."""
        return int(self._games.pieces[0, 0])

    @property
    def active(self) -> Pose:
        """The active piece where it appears: unturned, in the middle.

        Under the published rule a piece comes from above: it is shown as low as the
        top row, and higher where it would overlap the stack. Under the gymnasium
        rule it overlaps only when the game is over.
        """
        piece = self.piece
        shape = matrix(piece, 0)
        size = shape.shape[0]
        x = self.config.width // 2 - size // 2
        y = 0
        if self.config.rule == "published":
            while any(self._cells.flat[cell] for cell in self._covered(shape, x, y)):
                y -= 1
        return Pose(piece, 0, x, y, self._covered(shape, x, y))

    @property
    def last_placement(self) -> MadePlacement | None:
        """The placement that led here; None at the start of a game."""
        return self._last

    @property
    def episode(self) -> int:
        """Number of the game."""
        return int(self._games.episode[0])

    @property
    def placements(self) -> int:
        """Placements made in this game."""
        return int(self._games.placements[0])

    @property
    def lines(self) -> int:
        """Lines cleared in this game."""
        return int(self._games.lines[0])

    @property
    def score(self) -> int:
        """Score of this game, as in `Games.score`."""
        return int(self._games.score[0])

    @property
    def game_over(self) -> bool:
        """Whether the game has ended."""
        return bool(self._games.over[0])

    def next_pieces(self, count: int = 4) -> tuple[int, ...]:
        """The pieces after the active one, next first."""
        pieces = np.zeros(count, np.int64)
        upcoming(self._games, 0, pieces)
        return tuple(int(piece) for piece in pieces)

    def afterstates(self, feature_set: FeatureSet) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Scaled features float32[4W, F] and flags uint8[4W] of every placement.

        See the engine's `afterstates`; the features are scaled for networks.
        """
        width = self.config.width
        features = np.empty((ROTATIONS * width, n_features(feature_set, width)), np.float32)
        flags = np.empty(ROTATIONS * width, np.uint8)
        scales = feature_scales(feature_set, width)
        afterstates(self._games, 0, feature_set.code, scales, features, flags)
        return features, flags

    def landing_cells(self, action: int) -> tuple[int, ...]:
        """Where the active piece would come to rest, as row * width + column, ascending.

        Empty if the placement is illegal or ends the game.
        """
        row = landing_row(self._games, 0, self.piece, action)
        if row in (FATAL, ILLEGAL):
            return ()
        piece, column, rotation = self.piece, action // ROTATIONS, action % ROTATIONS
        left = column + int(LEFT[piece, rotation])
        bottom = self.config.height - 1 - row
        cells = [
            (bottom - k) * self.config.width + left + c
            for c in range(int(WIDTH[piece, rotation]))
            for k in range(int(HEIGHT[piece, rotation]))
            if int(BITS[piece, rotation, c]) >> k & 1
        ]
        return tuple(sorted(cells))

    def place(self, action: int) -> int:
        """Place the active piece.

        Args:
            action: column * 4 + rotation, 0..4W-1.

        Returns:
            The number of lines cleared.

        Raises:
            ValueError: The game is over, or the placement is illegal.
        """
        if self.game_over:
            raise ValueError("the game is over")
        piece = self.piece
        cells = self.landing_cells(action)
        lines, _ = place(self._games, 0, action)
        if lines < 0:
            raise ValueError(f"placement {action} of piece {piece} is illegal")
        self._cells.flat[np.array(cells, np.intp)] = piece
        cleared = np.flatnonzero((self._cells != 0).all(axis=1))
        if cleared.size:
            kept = np.delete(self._cells, cleared, axis=0)
            self._cells[...] = 0
            self._cells[cleared.size :] = kept
        self._last = MadePlacement(
            piece,
            action // ROTATIONS,
            action % ROTATIONS,
            cells,
            tuple(int(row) for row in cleared),
        )
        return int(lines)

    def restart(self) -> None:
        """Start the next game: the next episode, with its own pieces."""
        reset_game(self._games, 0)
        self._cells[...] = 0
        self._last = None

    def legal_actions(self) -> list[int]:
        """The actions inside the board's sides, ascending; ones that end the game included."""
        _, flags = self.afterstates(FeatureSet.BCTS)
        return [int(action) for action in np.flatnonzero(flags & LEGAL)]

    def _covered(self, shape: NDArray[np.uint8], x: int, y: int) -> tuple[int, ...]:
        rows, columns = np.nonzero(shape)
        inside = rows + y >= 0
        cells = (rows[inside] + y) * self.config.width + columns[inside] + x
        return tuple(int(cell) for cell in cells)

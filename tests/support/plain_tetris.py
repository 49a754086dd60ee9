"""Tetris in plain Python and numpy, cell by cell and slowly: what the engine is compared with.

Boards are bool arrays [H, W], top row first. Nothing here uses the engine's tables or
its tricks; only the pieces' matrices are shared.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from mltetris_server.game.config import GameConfig, Rule
from mltetris_server.game.games import Games
from mltetris_server.game.pieces import matrix
from numpy.typing import NDArray

Board = NDArray[np.bool_]
Cell = tuple[int, int]  # row from the top, column


def board_of(games: Games, i: int) -> Board:
    """Board i of the engine's games."""
    height = int(games.settings[1])
    rows = np.arange(height - 1, -1, -1)
    return ((games.columns[i] >> rows[:, None]) & 1).astype(np.bool_)


def set_board(games: Games, i: int, board: Board) -> None:
    """Put a board into the engine's games."""
    heights = np.arange(board.shape[0] - 1, -1, -1)
    games.columns[i] = (board.astype(np.int64) << heights[:, None]).sum(axis=0)


def parse(text: str) -> Board:
    """A board from lines of `.` and `#`; blanks around them are ignored."""
    return np.array([[cell == "#" for cell in line.strip()] for line in text.strip().splitlines()])


@dataclass(frozen=True)
class Landed:
    """A placement on a board: what it covers, what it clears, what it leaves."""

    cells: list[Cell]
    cleared: list[int]
    after: Board

    @property
    def eroded(self) -> int:
        """Lines cleared times the piece's own cells in them."""
        own = sum(row in self.cleared for row, _ in self.cells)
        return len(self.cleared) * own


def drop(board: Board, piece: int, action: int, config: GameConfig) -> Landed | str:
    """What a placement does: `illegal`, `over`, or where it landed."""
    shape = matrix(piece, action % 4)
    left = action // 4 - shape.shape[0] // 2
    own = [(int(r), int(c) + left) for r, c in zip(*np.nonzero(shape), strict=True)]
    if any(not 0 <= column < config.width for _, column in own):
        return "illegal"

    def free(y: int) -> bool:
        return all(
            row + y < config.height and (row + y < 0 or not board[row + y, column])
            for row, column in own
        )

    # Published: it falls from above the board. Gymnasium: its matrix starts in the top row.
    y = -4 if config.rule is Rule.PUBLISHED else 0
    if not free(y):
        return "over"
    while free(y + 1):
        y += 1
    cells = [(row + y, column) for row, column in own]
    if min(row for row, _ in cells) < 0:
        return "over"
    after = board.copy()
    for cell in cells:
        after[cell] = True
    cleared = [row for row in range(config.height) if after[row].all()]
    after = np.delete(after, cleared, axis=0)
    after = np.vstack((np.zeros((len(cleared), config.width), np.bool_), after))
    return Landed(cells, cleared, after)


def spawns(board: Board, piece: int, config: GameConfig) -> bool:
    """Whether the piece's spawn cells are free, where the rule asks for it."""
    if config.rule is Rule.PUBLISHED:
        return True
    shape = matrix(piece, 0)
    left = config.width // 2 - shape.shape[0] // 2
    return not any(board[r, c + left] for r, c in zip(*np.nonzero(shape), strict=True))


def heights(board: Board) -> list[int]:
    """Rows up to the highest filled cell of each column."""
    rows = board.shape[0]
    return [
        max((rows - row for row in range(rows) if board[row, column]), default=0)
        for column in range(board.shape[1])
    ]


def holes(board: Board) -> list[Cell]:
    """Empty cells with a filled one above in their column."""
    return [
        (row, column)
        for row in range(board.shape[0])
        for column in range(board.shape[1])
        if not board[row, column] and board[:row, column].any()
    ]


def simple_features(landed: Landed) -> list[float]:
    """FeatureVectorObservation's, by definition."""
    tops = heights(landed.after)
    bumpiness = sum(abs(a - b) for a, b in pairwise(tops))
    return [*tops, max(tops), len(holes(landed.after)), bumpiness]


def bcts_features(landed: Landed) -> list[float]:
    """The eight of Thiery & Scherrer, by definition; see `engine.afterstates`."""
    after = landed.after
    rows = after.shape[0]
    bottom = max(row for row, _ in landed.cells)
    top = min(row for row, _ in landed.cells)
    return [
        (rows - 1 - bottom) + (bottom - top) / 2,
        landed.eroded,
        row_transitions(after) - 2 * rows,
        column_transitions(after),
        len(holes(after)),
        cumulative_wells(after),
        hole_depth(after),
        len({row for row, _ in holes(after)}),
    ]


def dt_features(landed: Landed) -> list[float]:
    """The eight, and the pattern diversity."""
    return [*bcts_features(landed), diversity(landed.after)]


def diversity(board: Board) -> int:
    """Which of -2, -1, 0, 1, 2 lie between the heights of neighbouring columns."""
    differences = {b - a for a, b in pairwise(heights(board))}
    return len(differences & {-2, -1, 0, 1, 2})


def board_features(landed: Landed) -> list[float]:
    """The cells of each column as whole numbers: the lower 20 rows of all, then the upper."""
    numbers = [0] * (2 * landed.after.shape[1])
    for column in range(landed.after.shape[1]):
        for k, filled in enumerate(landed.after[::-1, column]):
            numbers[column + (k // 20) * landed.after.shape[1]] += int(filled) * 2 ** (k % 20)
    return [float(number) for number in numbers]


def row_transitions(board: Board) -> int:
    """Changes along rows; walls are filled."""
    walled = np.pad(board, ((0, 0), (1, 1)), constant_values=True)
    return int((walled[:, 1:] != walled[:, :-1]).sum())


def column_transitions(board: Board) -> int:
    """Changes along columns; the floor is filled, above the board it is empty."""
    floored = np.vstack((np.zeros((1, board.shape[1]), bool), board, np.ones_like(board[:1])))
    return int((floored[1:] != floored[:-1]).sum())


def cumulative_wells(board: Board) -> int:
    """For each empty cell between filled ones: it and the empty cells straight below."""
    walled = np.pad(board, ((0, 0), (1, 1)), constant_values=True)
    total = 0
    for row in range(board.shape[0]):
        for column in range(1, board.shape[1] + 1):
            if walled[row, column - 1] and walled[row, column + 1]:
                below = row
                while below < board.shape[0] and not walled[below, column]:
                    total += 1
                    below += 1
    return total


def hole_depth(board: Board) -> int:
    """For each hole with a filled cell right above it, the run of filled cells there."""
    total = 0
    for row, column in holes(board):
        above = row - 1
        while above >= 0 and board[above, column]:
            total += 1
            above -= 1
    return total

"""tetris-gymnasium's own game, key by key, on the engine's boards: what `mltetris/Keys-v0` plays.

One action is one of eight keys (`Key`), with the numbers of tetris-gymnasium 0.3.1's
`ActionsMapping`. A step, as its `Tetris.step`:

- A move or a turn that would leave the board or cover filled cells is not made. There
  are no kicks.
- A hard drop lets the piece fall and settles it; there is no gravity in that step.
- A swap exchanges the piece for the one in the holder, or for the next in the queue
  while the holder is empty; the new one stands in the middle of the top row, and a
  held piece keeps the way it was turned. A second swap before the piece has settled
  does nothing. Nobody looks whether the cells there are free.
- After every key but the hard drop, gravity: the piece goes one row down, or settles
  where it is if it cannot.
- A piece that settles where it covers filled cells ends the game, and nothing is placed.
  So does a new piece that appears on filled cells once the last one has settled.

A step that settles a piece earns 1 + W * lines**2, the one that ends the game 0, and
every other one 0.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from mltetris_server.game.compiling import kernel, stack_array
from mltetris_server.game.config import ROTATIONS, GameConfig, Rule
from mltetris_server.game.games import Games, new_games, overlaps, reset_game, settle, upcoming
from mltetris_server.game.pieces import BITS, LEFT, PIECES, START, WIDTH
from mltetris_server.game.randomness import draw_piece

QUEUE = 4  # pieces that can be seen coming, tetris-gymnasium's default
_new_queue = stack_array(types.int64, QUEUE)


class Key(IntEnum):
    """The eight keys, named and numbered as in tetris-gymnasium.

    Its names for the turns are swapped: on the screen, ROTATE_CLOCKWISE turns the piece
    counterclockwise (by `numpy.rot90`) and ROTATE_COUNTERCLOCKWISE clockwise.
    """

    MOVE_LEFT = 0
    MOVE_RIGHT = 1
    MOVE_DOWN = 2
    ROTATE_CLOCKWISE = 3
    ROTATE_COUNTERCLOCKWISE = 4
    HARD_DROP = 5
    SWAP = 6
    NO_OP = 7


class KeyGames(NamedTuple):
    """n games played key by key, in arrays that kernels change in place.

    Attributes:
        games: Boards, pieces, counts: as in the engine. `placements` counts the pieces
            that settled, the one that ended the game included.
        poses: int64[n, 4]: of the active piece, its column as in an action of the engine
            (W // 2 where it appears), its rotation, how many rows it has come down; and
            1 if it may not be swapped any more, else 0.
        holders: int64[n, 2]: the held piece, 1..7 or 0 for none, and its rotation.
        settled: int64[n, 4]: what settled in the last step: piece (0: none), rotation,
            column and row of the lower left corner of its bounding box, the row
            counted upwards from 0 and before full rows were cleared.
    """

    games: Games
    poses: NDArray[np.int64]
    holders: NDArray[np.int64]
    settled: NDArray[np.int64]


def new_key_games(config: GameConfig, n: int, seed: int) -> KeyGames:
    """n fresh games, each at its first piece; the pieces are those of `new_games`.

    Args:
        config: The game; its rule must be `Rule.GYMNASIUM`.
        n: Number of boards, at least 1.
        seed: 0..2**64-1; every seed reproduces.

    Raises:
        ValueError: The rule is another, or `n` or `seed` is out of range.
    """
    if config.rule is not Rule.GYMNASIUM:
        raise ValueError(f"keys are played by the rule gymnasium, not {config.rule}")
    keys = KeyGames(
        games=new_games(config, n, seed),
        poses=np.zeros((n, 4), np.int64),
        holders=np.zeros((n, 2), np.int64),
        settled=np.zeros((n, 4), np.int64),
    )
    for i in range(n):
        _appear(keys, i, 0)
    return keys


def observation_size(config: GameConfig) -> int:
    """Length of what `observe` writes: 2 * W * H + 44."""
    return 2 * config.width * config.height + 2 * ROTATIONS + (1 + QUEUE) * PIECES + 1


@kernel
def reset_keys(keys: KeyGames, i: int) -> None:
    """Start board i's next game: empty board and holder, its own pieces."""
    reset_game(keys.games, i)
    keys.holders[i, 0] = 0
    keys.holders[i, 1] = 0
    keys.settled[i, 0] = 0
    keys.poses[i, 3] = 0
    _appear(keys, i, 0)


@kernel
def _appear(keys: KeyGames, i: int, rotation: int) -> None:
    """Put the active piece where pieces appear."""
    keys.poses[i, 0] = keys.games.settings[0] // 2
    keys.poses[i, 1] = rotation
    keys.poses[i, 2] = 0


@kernel
def _corner(games: Games, i: int, column: int, rotation: int, down: int) -> tuple[int, int]:
    """Column and row of the lower left corner of the active piece's bounding box."""
    piece = games.pieces[i, 0]
    row: int = games.settings[1] + START[piece, rotation] - down
    left: int = column + LEFT[piece, rotation]
    return left, row


@kernel
def _collides(games: Games, i: int, column: int, rotation: int, down: int) -> bool:
    """Whether the active piece would be outside the board there, or cover filled cells."""
    piece = games.pieces[i, 0]
    left, row = _corner(games, i, column, rotation, down)
    if left < 0 or left + WIDTH[piece, rotation] > games.settings[0] or row < 0:
        return True
    return overlaps(games, i, piece, rotation, left, row)


@kernel
def _swap(keys: KeyGames, i: int) -> None:
    """Exchange the active piece for the held one, or for the next while none is held."""
    games = keys.games
    held, held_rotation = keys.holders[i, 0], keys.holders[i, 1]
    keys.holders[i, 0] = games.pieces[i, 0]
    keys.holders[i, 1] = keys.poses[i, 1]
    keys.poses[i, 3] = 1
    if held == 0:
        games.pieces[i, 0] = games.pieces[i, 1]
        games.pieces[i, 1] = draw_piece(games.streams, games.bags, i, games.settings[3])
        _appear(keys, i, 0)
    else:
        games.pieces[i, 0] = held
        _appear(keys, i, held_rotation)


@kernel
def _commit(keys: KeyGames, i: int) -> tuple[int, bool]:
    """Let the active piece fall and settle it; returns (lines cleared, game over)."""
    games = keys.games
    column, rotation, down = keys.poses[i, 0], keys.poses[i, 1], keys.poses[i, 2]
    games.placements[i] += 1
    if _collides(games, i, column, rotation, down):
        games.over[i] = 1
        return 0, True
    while not _collides(games, i, column, rotation, down + 1):
        down += 1
    left, row = _corner(games, i, column, rotation, down)
    keys.settled[i, 0] = games.pieces[i, 0]
    keys.settled[i, 1] = rotation
    keys.settled[i, 2] = left
    keys.settled[i, 3] = row
    lines, over = settle(games, i, rotation, left, row)
    _appear(keys, i, 0)
    keys.poses[i, 3] = 0
    return lines, over


@kernel
def press(keys: KeyGames, i: int, key: int) -> tuple[int, bool]:
    """Press a key on board i, and let gravity act; see the module.

    Args:
        keys: The games.
        i: The board.
        key: A `Key`, 0..7.

    Returns:
        (lines cleared, game over). What is no key changes nothing and returns
        (-1, False). On a game that is over nothing changes and (0, True) is returned.
    """
    games = keys.games
    if games.over[i]:
        return 0, True
    if key < 0 or key > Key.NO_OP:
        return -1, False
    keys.settled[i, 0] = 0
    if key == Key.HARD_DROP:
        return _commit(keys, i)
    if key == Key.SWAP:
        if keys.poses[i, 3] == 0:
            _swap(keys, i)
    else:
        column, rotation, down = keys.poses[i, 0], keys.poses[i, 1], keys.poses[i, 2]
        if key == Key.MOVE_LEFT:
            column -= 1
        elif key == Key.MOVE_RIGHT:
            column += 1
        elif key == Key.MOVE_DOWN:
            down += 1
        elif key == Key.ROTATE_CLOCKWISE:
            rotation = (rotation + 1) & 3
        elif key == Key.ROTATE_COUNTERCLOCKWISE:
            rotation = (rotation - 1) & 3
        if not _collides(games, i, column, rotation, down):
            keys.poses[i, 0] = column
            keys.poses[i, 1] = rotation
            keys.poses[i, 2] = down
    down = keys.poses[i, 2] + 1
    if _collides(games, i, keys.poses[i, 0], keys.poses[i, 1], down):
        return _commit(keys, i)
    keys.poses[i, 2] = down
    return 0, False


@kernel
def observe(keys: KeyGames, i: int, out: NDArray[np.uint8]) -> None:
    """Write what can be seen of board i: uint8[`observation_size`] of 0 and 1.

    In this order, cells row by row from the top left:

    - W * H: the filled cells, without the active piece
    - W * H: the active piece's cells
    - 4: its rotation, one-hot. I, S and Z cover the same cells in two rotations, but
      turn differently.
    - 1: whether it may be swapped
    - 7: the held piece, one-hot in the order I O T S Z J L; zeros for none
    - 4: its rotation, one-hot; zeros for none
    - 4 * 7: the queue, next first, each one-hot

    Nothing else has a say in what the next key does, but for the pieces after the queue.

    Raises:
        ValueError: `out` has another length.
    """
    games = keys.games
    width: int = games.settings[0]
    height: int = games.settings[1]
    board = width * height
    if out.shape[0] != 2 * board + 2 * ROTATIONS + (1 + QUEUE) * PIECES + 1:
        raise ValueError("the array does not fit the board")
    for k in range(board, out.shape[0]):
        out[k] = 0
    for row in range(height):
        first = (height - 1 - row) * width
        for column in range(width):
            out[first + column] = (games.columns[i, column] >> row) & 1
    piece, rotation = games.pieces[i, 0], keys.poses[i, 1]
    left, bottom = _corner(games, i, keys.poses[i, 0], rotation, keys.poses[i, 2])
    for column in range(WIDTH[piece, rotation]):
        for row in range(4):
            if (BITS[piece, rotation, column] >> row) & 1:
                out[board + (height - 1 - bottom - row) * width + left + column] = 1
    at = 2 * board
    out[at + rotation] = 1
    at += ROTATIONS
    out[at] = 1 - keys.poses[i, 3]
    at += 1
    held = keys.holders[i, 0]
    if held:
        out[at + held - 1] = 1
        out[at + PIECES + keys.holders[i, 1]] = 1
    at += PIECES + ROTATIONS
    queue = _new_queue()
    upcoming(games, i, queue)
    for k in range(QUEUE):
        out[at + k * PIECES + queue[k] - 1] = 1

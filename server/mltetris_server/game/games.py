"""The rules, compiled: many games at once, as bits in arrays.

A board is one int64 per column, bit k = the cell k rows above the floor. Kernels take
`(games, i, ...)` for board i, never allocate, hold no GIL, and may run on several
boards of one `Games` in several threads at once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from mltetris_server.game.compiling import inlined, kernel, leading_zeros, peek, stack_array
from mltetris_server.game.config import MAX_SEED, GameConfig
from mltetris_server.game.pieces import BITS, BOTTOM, HEIGHT, LEFT, PIECES, START, WIDTH
from mltetris_server.game.randomness import draw_piece, mix, start_stream

_new_stream = stack_array(types.uint64, 1, 2)
_new_bag = stack_array(types.int64, 1, PIECES + 1)

# What `landing_row` returns in place of a row.
FATAL = -1
ILLEGAL = -2


class Games(NamedTuple):
    """n games: everything there is to know about them, in arrays that kernels change in place.

    Attributes:
        settings: int64[4]: width W, height H, rule code, randomizer code.
        columns: int64[n, W]: filled cells; bit k of `columns[i, c]` is the cell k rows up.
        pieces: int64[n, 2]: the active piece and the one after it, 1..7 = I O T S Z J L.
        streams: uint64[n, 2]: the board's seed, and the state of its piece stream.
        bags: int64[n, 8]: the bag's pieces not yet drawn, and in [7] their number.
        episode: int64[n]: number of the game being played, from 1.
        placements: int64[n]: placements made in this game, the one that ended it included.
        lines: int64[n]: lines cleared in this game.
        score: int64[n]: sum of tetris-gymnasium's default rewards: a placement
            earns 1 + W * lines**2, and the one that ends the game earns 0.
        over: int64[n]: 1 once the game has ended, else 0.
    """

    settings: NDArray[np.int64]
    columns: NDArray[np.int64]
    pieces: NDArray[np.int64]
    streams: NDArray[np.uint64]
    bags: NDArray[np.int64]
    episode: NDArray[np.int64]
    placements: NDArray[np.int64]
    lines: NDArray[np.int64]
    score: NDArray[np.int64]
    over: NDArray[np.int64]


def new_games(
    config: GameConfig,
    n: int,
    seed: int,
    *,
    same_pieces: bool = False,
    first_episode: int = 1,
) -> Games:
    """n fresh games, each at its first piece.

    Episode k of board i has its own piece stream, derived from (seed, i, k): it
    does not depend on how earlier games went or on the number of boards.

    Args:
        config: The game.
        n: Number of boards, at least 1.
        seed: 0..2**64-1; every seed reproduces.
        same_pieces: All boards get board 0's pieces, for races.
        first_episode: Number of the first game, at least 1.

    Raises:
        ValueError: `n`, `seed` or `first_episode` is out of range.
    """
    if n < 1:
        raise ValueError(f"the number of games must be at least 1, not {n}")
    if not 0 <= seed <= MAX_SEED:
        raise ValueError(f"the seed must be 0..2**64-1, not {seed}")
    if first_episode < 1:
        raise ValueError(f"the first episode must be at least 1, not {first_episode}")
    width = config.width
    games = Games(
        settings=np.array(
            [width, config.height, config.rule.code, config.randomizer.code], np.int64
        ),
        columns=np.zeros((n, width), np.int64),
        pieces=np.zeros((n, 2), np.int64),
        streams=np.zeros((n, 2), np.uint64),
        bags=np.zeros((n, PIECES + 1), np.int64),
        episode=np.full(n, first_episode - 1, np.int64),
        placements=np.zeros(n, np.int64),
        lines=np.zeros(n, np.int64),
        score=np.zeros(n, np.int64),
        over=np.zeros(n, np.int64),
    )
    _start_games(games, np.uint64(seed), same_pieces)
    return games


@kernel
def _start_games(games: Games, seed: np.uint64, same_pieces: bool) -> None:
    root = mix(seed)
    for i in range(games.columns.shape[0]):
        board = np.uint64(0) if same_pieces else np.uint64(i)
        games.streams[i, 0] = mix(root + board)
        reset_game(games, i)


@kernel
def reset_game(games: Games, i: int) -> None:
    """Start board i's next game: empty board, next episode, its own piece stream."""
    games.episode[i] += 1
    for column in range(games.settings[0]):
        games.columns[i, column] = 0
    start_stream(games.streams, games.bags, i, games.episode[i])
    for k in range(2):
        games.pieces[i, k] = draw_piece(games.streams, games.bags, i, games.settings[3])
    games.placements[i] = 0
    games.lines[i] = 0
    games.score[i] = 0
    games.over[i] = 0


@inlined
def landing_row(games: Games, i: int, piece: int, action: int) -> int:
    """Where `piece` comes to rest on board i under `action`.

    Returns:
        The row of the bottom edge of the piece's bounding box, counted upwards from
        0; FATAL (-1) if the placement ends the game; ILLEGAL (-2) if the piece would
        stick out at the side, or the action is not one of 0..4W-1.
    """
    width = games.settings[0]
    height: int = games.settings[1]
    if action < 0 or action >= 4 * width:
        return ILLEGAL
    rotation = action & 3
    left = (action >> 2) + LEFT[piece, rotation]
    span = WIDTH[piece, rotation]
    if left < 0 or left + span > width:
        return ILLEGAL
    row: int = 0
    for k in range(span):
        top = 64 - leading_zeros(games.columns[i, left + k])
        row = max(row, top - BOTTOM[piece, rotation, k])
    if games.settings[2] == 1:
        if row + HEIGHT[piece, rotation] > height:
            return FATAL
        return row
    start: int = height + START[piece, rotation]
    if row <= start:
        return row
    return fall(games.columns, i * width + left, 4 * piece + rotation, start)


@inlined
def fall(columns: NDArray[np.int64], first: int, shape: int, start: int) -> int:
    """Where a piece comes to rest that starts in row `start`, under the gymnasium rule.

    For a stack that reaches into the rows where the piece appears: it is blocked, or it
    starts below an overhang and falls from there.

    Args:
        columns: Columns of cells.
        first: columns.flat[first] is the one the piece's box begins in.
        shape: 4 * piece + rotation.
        start: Row of the bottom edge of its box.

    Returns:
        The row of that edge, or FATAL if it is blocked.
    """
    row = start + 1
    while row > 0:
        free = True
        for k in range(peek(WIDTH, shape)):
            if peek(columns, first + k) & (peek(BITS, 4 * shape + k) << (row - 1)):
                free = False
        if not free:
            break
        row -= 1
    return FATAL if row > start else row


@inlined
def overlaps(games: Games, i: int, piece: int, rotation: int, left: int, row: int) -> bool:
    """Whether a piece there covers filled cells of board i.

    Args:
        games: The games.
        i: The board.
        piece: 1..7.
        rotation: 0..3.
        left: Column of the left edge of its bounding box; all of it must be on the board.
        row: Row of the bottom edge, counted upwards from 0.
    """
    for k in range(WIDTH[piece, rotation]):
        if games.columns[i, left + k] & (BITS[piece, rotation, k] << row):
            return True
    return False


@inlined
def clear_rows(columns: NDArray[np.int64], i: int, width: int) -> int:
    """Take the full rows out of `columns[i, :width]`; returns their number."""
    full = columns[i, 0]
    for column in range(1, width):
        full &= columns[i, column]
    lines = 0
    while full:
        below = (full & -full) - 1
        for column in range(width):
            bits = columns[i, column]
            columns[i, column] = (bits & below) | ((bits >> 1) & ~below)
        full = (full & (full - 1)) >> 1
        lines += 1
    return lines


@kernel
def place(games: Games, i: int, action: int) -> tuple[int, bool]:
    """Make a placement on board i, and give it its next piece.

    Args:
        games: The games.
        i: The board.
        action: column * 4 + rotation, 0..4W-1.

    Returns:
        (lines cleared, game over). A fatal placement puts nothing on the board. An
        illegal one changes nothing and returns (-1, False). On a game that is over
        nothing changes and (0, True) is returned.
    """
    if games.over[i]:
        return 0, True
    piece = games.pieces[i, 0]
    row = landing_row(games, i, piece, action)
    if row == ILLEGAL:
        return -1, False
    games.placements[i] += 1
    if row == FATAL:
        games.over[i] = 1
        return 0, True
    rotation = action & 3
    return settle(games, i, rotation, (action >> 2) + LEFT[piece, rotation], row)


@inlined
def settle(games: Games, i: int, rotation: int, left: int, row: int) -> tuple[int, bool]:
    """Leave board i's active piece where it is, clear the full rows, bring the next piece.

    Args:
        games: The games.
        i: The board.
        rotation: Of the active piece, 0..3.
        left: Column of the left edge of its bounding box.
        row: Row of the bottom edge, counted upwards from 0. The cells must be free.

    Returns:
        (lines cleared, game over): over if the next piece's spawn cells are filled,
        under the gymnasium rule.
    """
    piece = games.pieces[i, 0]
    for k in range(WIDTH[piece, rotation]):
        games.columns[i, left + k] |= BITS[piece, rotation, k] << row
    width = games.settings[0]
    lines = clear_rows(games.columns, i, width)
    games.lines[i] += lines
    games.pieces[i, 0] = games.pieces[i, 1]
    games.pieces[i, 1] = draw_piece(games.streams, games.bags, i, games.settings[3])
    if games.settings[2] == 0:
        # tetris-gymnasium spawns rotation 0 in the middle and looks for an overlap.
        piece = games.pieces[i, 0]
        start = games.settings[1] + START[piece, 0]
        if overlaps(games, i, piece, 0, width // 2 + LEFT[piece, 0], start):
            games.over[i] = 1
            return lines, True
    games.score[i] += 1 + width * lines * lines
    return lines, False


@kernel
def upcoming(games: Games, i: int, pieces: NDArray[np.int64]) -> None:
    """Fill `pieces` int64[k] with the pieces after the active one, next first.

    The stream is advanced on copies: the game itself does not change.
    """
    streams = _new_stream()
    bags = _new_bag()
    for k in range(2):
        streams[0, k] = games.streams[i, k]
    for k in range(PIECES + 1):
        bags[0, k] = games.bags[i, k]
    for k in range(pieces.shape[0]):
        if k == 0:
            pieces[k] = games.pieces[i, 1]
        else:
            pieces[k] = draw_piece(streams, bags, 0, games.settings[3])

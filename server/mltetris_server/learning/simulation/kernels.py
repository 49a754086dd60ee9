"""Compiled: a player's games, written down placement by placement."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mltetris_server.game.compiling import inlined, kernel
from mltetris_server.game.engine import CANDIDATE, ENDS_GAME, Games, mix, place, reset_game
from mltetris_server.game.games import landing_row
from mltetris_server.game.pieces import HEIGHT, LEFT, WIDTH
from mltetris_server.game.rows import write_whole
from mltetris_server.game.scratch import new_scratch
from mltetris_server.game.standing import read_board
from mltetris_server.game.whole import settle_apart
from mltetris_server.learning.kernels import Eye, Network, look

# How a state is shown (`View.settings[0]`).
CELLS, SEEN, DESCRIBED = 0, 1, 2

_CHOICES = np.uint64(0x63686F69636573)  # as in `player`
_SHIFT, _HALF_WORD = np.uint64(11), np.uint64(32)
_LOW_WORD = np.uint64(2**32 - 1)
_UNIT = 2.0**-53
_HALF, _TWO = np.float32(0.5), np.float32(2)


class View(NamedTuple):
    """How the states of some boards are shown.

    Attributes:
        settings: int64[2]: CELLS; or SEEN: the features that the player looks at, or the first of
            them; or DESCRIBED: others. Then the code of these.
        scales: float32[F]: ones; no features with CELLS.
        last: float32[boards, F]: of each board, the features of what the last placement left.
    """

    settings: NDArray[np.int64]
    scales: NDArray[np.float32]
    last: NDArray[np.float32]


class Log(NamedTuple):
    """Room for states and what was done in them, one a row, games one behind the other.

    A game of T placements that is over or cut off has T + 1 rows. The last has the state it ended
    in, where nothing was done.

    Attributes:
        features: float32[rows, F]: what the placement before left; zeros where there was none.
        cells: uint8[rows, H * W]: the cells, row by row from the top, 0 or 1; or [rows, 0].
        pieces: uint8[rows]: the piece to place, 1..7.
        next_pieces: uint8[rows]: the one after it.
        actions: uint8[rows]: the placement made, column * 4 + rotation.
        rewards: float32[rows]: by how much the score rose.
    """

    features: NDArray[np.float32]
    cells: NDArray[np.uint8]
    pieces: NDArray[np.uint8]
    next_pieces: NDArray[np.uint8]
    actions: NDArray[np.uint8]
    rewards: NDArray[np.float32]


@kernel
def start_game(games: Games, i: int, seed: np.uint64, number: int, view: View) -> None:
    """Start game `number`, from 0, on board i: the one that board `number` of `new_games` begins
    with."""
    games.streams[i, 0] = mix(mix(seed) + np.uint64(number))
    games.episode[i] = 0
    reset_game(games, i)
    for f in range(view.last.shape[1]):
        view.last[i, f] = np.float32(0)


@inlined
def _choose(games: Games, i: int, eye: Eye, best: int, exploration: float) -> int:
    """The best placement or, now and then, any: as `Player.choose_on` has it."""
    number = mix(mix(mix(games.streams[i, 0]) ^ _CHOICES) ^ np.uint64(games.episode[i]))
    number = mix(mix(number) ^ np.uint64(games.placements[i]))
    if np.float64(number >> _SHIFT) * _UNIT >= exploration:
        return best
    count = 4 * games.settings[0]
    candidates = np.uint64(0)
    for action in range(count):
        if eye.flags[action] & CANDIDATE:
            candidates += np.uint64(1)
    # The upper 64 of the product's 128 bits.
    drawn = mix(number)
    low = ((drawn & _LOW_WORD) * candidates) >> _HALF_WORD
    k = np.int64(((drawn >> _HALF_WORD) * candidates + low) >> _HALF_WORD)
    for action in range(count):
        if eye.flags[action] & CANDIDATE:
            if k == 0:
                return action
            k -= 1
    return best


@kernel
def _describe(games: Games, i: int, action: int, view: View) -> None:
    """The features of what a placement is about to leave, into `view.last`."""
    piece = games.pieces[i, 0]
    row = landing_row(games, i, piece, action)
    if row < 0:
        return
    width, height = games.settings[0], games.settings[1]
    rotation = action & 3
    work = new_scratch()
    read_board(work, games.columns, i, width, (1 << height) - 1)
    lines, own = settle_apart(
        work,
        width,
        4 * piece + rotation,
        WIDTH[piece, rotation],
        (action >> 2) + LEFT[piece, rotation],
        row,
    )
    write_whole(
        work,
        width,
        height,
        2 * row + HEIGHT[piece, rotation] - 1,
        lines * own,
        view.settings[1],
        view.scales,
        view.last,
        i * view.last.shape[1],
    )


@kernel
def write_state(games: Games, i: int, view: View, log: Log, row: int) -> None:
    """Board i as it stands, into a row of the log."""
    width, height = games.settings[0], games.settings[1]
    log.pieces[row] = np.uint8(games.pieces[i, 0])
    log.next_pieces[row] = np.uint8(games.pieces[i, 1])
    if view.settings[0] == CELLS:
        for column in range(width):
            bits = games.columns[i, column]
            for k in range(height):
                log.cells[row, (height - 1 - k) * width + column] = np.uint8((bits >> k) & 1)
    else:
        for f in range(view.last.shape[1]):
            log.features[row, f] = view.last[i, f]


@kernel
def record(
    games: Games,
    i: int,
    network: Network,
    eye: Eye,
    exploration: float,
    view: View,
    log: Log,
    start: int,
    room: int,
) -> int:
    """Let a player go on with board i's game until that is over or the room is filled.

    Args:
        games: The games; board i's must not be over.
        i: The board.
        network: Who plays.
        eye: Scratch.
        exploration: Probability of any candidate in place of the best, 0..1; what it draws depends
            on the game and the number of the placement alone.
        view: How states are shown.
        log: Rows from `start` on are filled, one a placement, and one more where the game is over.
        start: The first row.
        room: Placements to make at most. The log must have one row more.

    Returns:
        Placements made.
    """
    kind = view.settings[0]
    inputs = view.last.shape[1]
    for row in range(start, start + room):
        write_state(games, i, view, log, row)
        action = look(games, i, network, eye)
        if exploration > 0:
            action = _choose(games, i, eye, action, exploration)
        if kind == SEEN:
            # What is left of the scaling are roundings: features are whole or half numbers.
            if not eye.flags[action] & ENDS_GAME:
                for f in range(inputs):
                    twice = _TWO * eye.features[action, f] / eye.scales[f]
                    view.last[i, f] = np.floor(twice + _HALF) * _HALF
        elif kind != CELLS:
            _describe(games, i, action, view)
        before = games.score[i]
        _, over = place(games, i, action)
        log.actions[row] = np.uint8(action)
        log.rewards[row] = np.float32(games.score[i] - before)
        if over:
            write_state(games, i, view, log, row + 1)
            return row + 1 - start
    return room

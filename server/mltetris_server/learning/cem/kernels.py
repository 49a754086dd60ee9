"""The compiled inner loop of `cem`: every board plays on with the weights of its own sample."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mltetris_server.game.compiling import kernel
from mltetris_server.game.engine import Games, place, reset_game
from mltetris_server.learning.kernels import Eye, Network, look

ENDED_FIELDS = 6
"""Numbers that are written down of a game that ended: see `race`."""


@kernel
def race(
    games: Games,
    boards: NDArray[np.int64],
    weights: NDArray[np.float32],
    network: Network,
    eye: Eye,
    deaths: NDArray[np.int64],
    made: NDArray[np.int64],
    lives: int,
    horizon: int,
    ended: NDArray[np.int64],
) -> int:
    """Let boards play on to `horizon` placements each, or to the end of their last game.

    Boards are apart from each other: other threads may play others of the same `games`.

    Args:
        games: One board for each sample.
        boards: int64[k]: the boards to play on.
        weights: float32[n, F]: board i plays with `weights[i]`.
        network: A linear network, of which only the weights are replaced.
        eye: Scratch, this thread's own.
        deaths: int64[n]: games that each board has lost; kept up to date.
        made: int64[n]: placements that each board has made; kept up to date.
        lives: Games each board plays. A board that has lost them all stands still.
        horizon: Placements to play to.
        ended: int64[m, 6], filled: board, placements made by it so far, number, lines, placements
            and score of every game that ended; m must be at least the placements to be made.

    Returns:
        How many games ended.
    """
    endings = 0
    for k in range(boards.shape[0]):
        i = boards[k]
        own = Network(network.hidden_weights, network.hidden_bias, weights[i], network.output_bias)
        while deaths[i] < lives and made[i] < horizon:
            _, over = place(games, i, look(games, i, own, eye))
            made[i] += 1
            if over:
                deaths[i] += 1
                ended[endings, 0] = i
                ended[endings, 1] = made[i]
                ended[endings, 2] = games.episode[i]
                ended[endings, 3] = games.lines[i]
                ended[endings, 4] = games.placements[i]
                ended[endings, 5] = games.score[i]
                endings += 1
                if deaths[i] < lives:
                    reset_game(games, i)
    return endings


@kernel
def start_games(games: Games, episode: int) -> None:
    """Start the game after number `episode` on every board."""
    for i in range(games.columns.shape[0]):
        games.episode[i] = episode
        reset_game(games, i)

"""Reference players with published weights: to measure learners by, and to check features by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mltetris_server.game.afterstates import CANDIDATE, ENDS_GAME, afterstates
from mltetris_server.game.compiling import kernel
from mltetris_server.game.config import FeatureSet, GameConfig, n_features, raw_scales
from mltetris_server.game.games import Games, new_games, place
from mltetris_server.game.randomness import mix, random_below

NO_LIMIT = 2**62
_SLICE = 100_000


@dataclass(frozen=True)
class ReferencePlayer:
    """A player that needs no learning.

    Attributes:
        name: What it is called.
        source: Where it was published.
        weights: One factor per feature; it makes the candidate with the greatest
            weighted sum (the lowest action among equals), and one that ends the game
            only if there is no other. None: any candidate, all alike.
        feature_set: The features its weights are for.
    """

    name: str
    source: str
    weights: tuple[float, ...] | None
    feature_set: FeatureSet = FeatureSet.BCTS


PLAYERS: dict[str, ReferencePlayer] = {
    player.name: player
    for player in (
        ReferencePlayer("random", "no publication: every candidate is equally likely", None),
        ReferencePlayer(
            "dellacherie",
            "Pierre Dellacherie's one-piece player, in Fahey (2003), Tetris AI, "
            "colinfahey.com/tetris; weights as listed by Thiery & Scherrer (2009), "
            "Building Controllers for Tetris. Ties are broken differently here.",
            (-1.0, 1.0, -1.0, -1.0, -4.0, -1.0, 0.0, 0.0),
        ),
        ReferencePlayer(
            "bcts",
            "BCTS, Thiery & Scherrer (2009), Building Controllers for Tetris, ICGA Journal 32",
            (-12.63, 6.60, -9.22, -19.77, -13.08, -10.49, -1.61, -24.04),
        ),
        ReferencePlayer(
            "dt10",
            "DT-10, Gabillon, Ghavamzadeh & Scherrer (2013), Approximate Dynamic Programming "
            "Finally Performs Well in the Game of Tetris, NIPS 26; learnt on 10x10; also in "
            "Scherrer et al. (2015), Approximate Modified Policy Iteration and its Application "
            "to the Game of Tetris, JMLR 16",
            (-2.18, 2.42, -2.17, -3.31, 0.95, -2.22, -0.81, -9.65, 1.27),
            FeatureSet.DT,
        ),
    )
}


@dataclass(frozen=True)
class PlayedGames:
    """How games ended: int64 arrays with one entry per game.

    Attributes:
        lines: Lines cleared.
        placements: Placements made.
        score: Score, as in `Games.score`.
        over: 1 if the game ended, 0 if it was cut off at the limit.
    """

    lines: NDArray[np.int64]
    placements: NDArray[np.int64]
    score: NDArray[np.int64]
    over: NDArray[np.int64]


def play_games(
    player: ReferencePlayer,
    config: GameConfig,
    games: int,
    seed: int,
    max_placements: int = NO_LIMIT,
) -> PlayedGames:
    """Let `player` play games to their end.

    Args:
        player: Who plays.
        config: The game.
        games: Number of games, at least 1; game i is `new_games`' board i.
        seed: 0..2**64-1, of the pieces and of a random player's choices.
        max_placements: A game is cut off after so many placements.
    """
    boards = new_games(config, games, seed)
    width = config.width
    weights = np.array(player.weights or (), np.float32)
    scales = raw_scales(player.feature_set, width)
    features = np.empty((config.actions, n_features(player.feature_set, width)), np.float32)
    flags = np.empty(config.actions, np.uint8)
    choices = np.zeros((1, 2), np.uint64)
    code = player.feature_set.code
    board = 0
    while board < games:
        # In slices, so that an interrupt gets through.
        board = _play_on(
            boards, board, code, weights, choices, scales, features, flags, max_placements, _SLICE
        )
    return PlayedGames(boards.lines, boards.placements, boards.score, boards.over)


@kernel
def choose_linear(
    features: NDArray[np.float32], flags: NDArray[np.uint8], weights: NDArray[np.float32]
) -> int:
    """The candidate whose features' weighted sum is greatest; ending the game comes last.

    Args:
        features: float32[A, F] from `afterstates`.
        flags: uint8[A] from `afterstates`.
        weights: float32[F].

    Returns:
        The action, the lowest among equals.
    """
    best = -1
    best_value = -np.inf
    for action in range(flags.shape[0]):
        if flags[action] & CANDIDATE:
            value = -1e30
            if not flags[action] & ENDS_GAME:
                value = 0.0
                for k in range(weights.shape[0]):
                    value += weights[k] * features[action, k]
            if value > best_value:
                best, best_value = action, value
    return best


@kernel
def choose_random(flags: NDArray[np.uint8], streams: NDArray[np.uint64], i: int) -> int:
    """One of the candidates of `flags`, each equally likely, drawn from stream i."""
    candidates = 0
    for action in range(flags.shape[0]):
        candidates += (flags[action] & CANDIDATE) // CANDIDATE
    if candidates == 0:
        return -1
    chosen = random_below(streams, i, candidates)
    # Without a branch, as none could be foreseen: how many actions have no more than
    # `chosen` candidates up to and with them?
    passed = 0
    before = 0
    for action in range(flags.shape[0]):
        passed += (flags[action] & CANDIDATE) // CANDIDATE
        before += passed <= chosen
    return before


@kernel
def _play_on(
    games: Games,
    board: int,
    feature_set: int,
    weights: NDArray[np.float32],
    choices: NDArray[np.uint64],
    scales: NDArray[np.float32],
    features: NDArray[np.float32],
    flags: NDArray[np.uint8],
    max_placements: int,
    budget: int,
) -> int:
    """Play boards from `board` on until `budget` placements are made; returns where to go on."""
    while board < games.columns.shape[0]:
        if games.placements[board] == 0:
            # A random player's choices are their own stream, one for each game.
            choices[0, 1] = mix(games.streams[board, 1])
        while not games.over[board] and games.placements[board] < max_placements:
            if budget == 0:
                return board
            budget -= 1
            afterstates(games, board, feature_set, scales, features, flags)
            if weights.shape[0] == 0:
                action = choose_random(flags, choices, 0)
            else:
                action = choose_linear(features, flags, weights)
            place(games, board, action)
        board += 1
    return board

"""Games that somebody played, to learn from."""

from __future__ import annotations

import functools

import numpy as np
from mltetris_server.game.config import FeatureSet, GameConfig
from mltetris_server.game.engine import CANDIDATE, new_games, place, reset_game
from mltetris_server.game.players import PLAYERS
from mltetris_server.learning.kernels import look
from mltetris_server.learning.player import make_eye
from mltetris_server.learning.reference import network_of
from mltetris_server.learning.trajectories import Trajectories

STANDARD = GameConfig()


@functools.cache
def played(
    game: GameConfig = STANDARD,
    placements: int = 2_000,
    boards: int = 4,
    exploration: float = 0.0,
    player: str = "bcts",
) -> Trajectories:
    """Games of a reference player, one board after the other; the last of each is cut off."""
    network, eye = network_of(PLAYERS[player]), make_eye(FeatureSet.BCTS, game.width, -1e5)
    games, random = new_games(game, boards, seed=99), np.random.default_rng(5)
    made: list[tuple[int, int, int]] = []
    starts, ended, lines = [], [], []
    share = placements // boards
    for board in range(boards):
        begun = False
        for k in range(share):
            if not begun:
                starts.append(len(made))
                begun = True
            action = int(look(games, board, network, eye))
            if random.random() < exploration:
                action = int(random.choice(np.flatnonzero(eye.flags & CANDIDATE)))
            made.append((*games.pieces[board].tolist(), action))
            _, over = place(games, board, action)
            if over or k == share - 1:
                ended.append(int(over))
                lines.append(int(games.lines[board]))
                begun = False
            if over:
                reset_game(games, board)
    pieces, next_pieces, actions = np.array(made, np.uint8).T.copy()
    return Trajectories(
        game,
        pieces,
        next_pieces,
        actions,
        np.array(starts, np.int64),
        np.array(ended, np.uint8),
        np.array(lines, np.int64),
    )

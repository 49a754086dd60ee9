"""What a watched training looks like: its own board, in colours where they can be known."""

from __future__ import annotations

import numpy as np
from mltetris_server.game.config import FeatureSet, GameConfig, feature_scales, n_features
from mltetris_server.game.display import ShownGame
from mltetris_server.game.engine import CANDIDATE, Games, afterstates, new_games, place, reset_game
from mltetris_server.worker.watching import TrainingBoard

CONFIG = GameConfig(height=10)


class Boards:
    """Two boards played like a training does, with the colours of the first known."""

    def __init__(self, seed: int) -> None:
        self.games: Games = new_games(CONFIG, 2, seed)
        self.truth = ShownGame.of_board(CONFIG, self.games, 0)
        self.random = np.random.default_rng(seed)

    def step(self) -> bool:
        """One placement on each board; whether board 0's game ended with it."""
        ended = False
        for i in range(2):
            action = self._choose(i)
            if i == 0:
                self.truth.place(action)
            _, over = place(self.games, i, action)
            if over:
                reset_game(self.games, i)
                if i == 0:
                    ended = True
                    self.truth = ShownGame.of_board(CONFIG, self.games, 0)
        return ended

    def _choose(self, i: int) -> int:
        """Mostly low and without holes, so that rows are cleared now and then."""
        features = np.empty((40, n_features(FeatureSet.BCTS, 10)), np.float32)
        flags = np.empty(40, np.uint8)
        scales = feature_scales(FeatureSet.BCTS, 10)
        afterstates(self.games, i, FeatureSet.BCTS.code, scales, features, flags)
        candidates = np.flatnonzero(flags & CANDIDATE)
        if self.random.random() < 0.1:
            return int(self.random.choice(candidates))
        worth = -features[candidates][:, [0, 2, 3, 4]].sum(axis=1)
        return int(candidates[np.argmax(worth)])


def test_a_followed_board_has_its_colours() -> None:
    boards, board = Boards(5), TrainingBoard(CONFIG)
    board.look(boards.games)
    lines = ends = 0
    for _ in range(400):
        ends += boards.step()
        shown = board.look(boards.games)
        assert np.array_equal(shown.cells, boards.truth.cells)
        assert shown.piece == boards.truth.piece
        assert shown.next_pieces() == boards.truth.next_pieces()
        assert shown.last_placement == boards.truth.last_placement
        assert shown.score == boards.truth.score
        lines += len(shown.last_placement.cleared_rows) if shown.last_placement else 0
    assert lines > 10
    assert ends > 1


def test_a_sampled_board_has_its_shape() -> None:
    boards, board = Boards(6), TrainingBoard(CONFIG)
    for _ in range(20):
        for _ in range(7):
            boards.step()
        shown = board.look(boards.games)
        assert np.array_equal(shown.cells != 0, boards.truth.cells != 0)
        assert shown.placements == boards.truth.placements
        assert shown.piece == boards.truth.piece

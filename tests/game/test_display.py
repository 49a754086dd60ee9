"""A shown game is the engine's game, in colours."""

from __future__ import annotations

import numpy as np
import pytest
from mltetris_server.game import pictures
from mltetris_server.game.config import FeatureSet, GameConfig, Randomizer, Rule
from mltetris_server.game.display import ShownGame
from mltetris_server.game.engine import new_games, place, reset_game
from support.plain_tetris import Landed, board_of, drop, set_board

CONFIGS = [
    GameConfig(),
    GameConfig(10, 10, Rule.PUBLISHED, Randomizer.UNIFORM),
    GameConfig(5, 6),
    GameConfig(4, 40, Rule.PUBLISHED),
]


def _good_action(game: ShownGame, rng: np.random.Generator) -> int:
    """Low landings, sometimes any at all: clears lines, and games end."""
    legal = game.legal_actions()
    if rng.random() < 0.2:
        return int(rng.choice(legal))
    return max(legal, key=lambda action: sum(game.landing_cells(action)))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.width}x{c.height}-{c.rule}")
def test_it_goes_as_the_engine_and_as_plain_python(config: GameConfig) -> None:
    rng = np.random.default_rng(1)
    games = new_games(config, 1, seed=8)
    shown = ShownGame(config, 8)
    lines = endings = 0
    for _ in range(400):
        if shown.game_over:
            shown.restart()
            reset_game(games, 0)
            assert shown.last_placement is None
            endings += 1
        before = shown.cells
        piece = shown.piece
        following = shown.next_pieces(3)
        action = _good_action(shown, rng)
        landed = drop(before != 0, piece, action, config)
        made, over = place(games, 0, action)
        assert shown.place(action) == made
        lines += made
        assert shown.game_over == over
        np.testing.assert_array_equal(shown.cells != 0, board_of(games, 0))
        last = shown.last_placement
        assert last is not None
        assert (last.piece, last.column * 4 + last.rotation) == (piece, action)
        if isinstance(landed, Landed):
            assert list(last.cells) == sorted(r * config.width + c for r, c in landed.cells)
            assert list(last.cleared_rows) == landed.cleared
            coloured = before.copy()
            coloured.flat[list(last.cells)] = piece
            kept = np.delete(coloured, landed.cleared, axis=0)
            np.testing.assert_array_equal(shown.cells[made:], kept)
            assert shown.piece == following[0]
            assert shown.next_pieces(2) == following[1:]
        else:
            assert last.cells == last.cleared_rows == ()
            np.testing.assert_array_equal(shown.cells, before)
        for name in ("episode", "placements", "lines", "score"):
            assert getattr(shown, name) == getattr(games, name)[0]
    assert endings > 0 or config == CONFIGS[0]
    assert lines > 0


def test_where_a_piece_appears() -> None:
    game = ShownGame(GameConfig(10, 20), 1)
    game.games.pieces[0, 0] = 1
    assert game.active.x == 3
    assert game.active.y == 0
    assert game.active.cells == (13, 14, 15, 16)
    game.games.pieces[0, 0] = 2
    assert game.active.cells == (4, 5, 14, 15)
    game.games.pieces[0, 0] = 3
    assert game.active.cells == (5, 14, 15, 16)


def test_published_a_piece_is_shown_above_what_blocks_it() -> None:
    config = GameConfig(4, 6, Rule.PUBLISHED)
    games = new_games(config, 1, seed=1)
    board = np.zeros((6, 4), bool)
    board[1:, 1] = True
    set_board(games, 0, board)
    games.pieces[0, 0] = 2
    game = ShownGame.of_board(config, games, 0)
    pose = game.active
    assert (pose.x, pose.y) == (1, -1)
    assert pose.cells == (1, 2)


def test_races_have_the_same_pieces() -> None:
    first, second = (ShownGame(GameConfig(), 77, episode=3) for _ in range(2))
    assert first.episode == 3
    for _ in range(10):
        assert (first.piece, first.next_pieces()) == (second.piece, second.next_pieces())
        first.place(first.legal_actions()[0])
        second.place(second.legal_actions()[-1])
        if first.game_over or second.game_over:
            break
    assert not np.array_equal(first.cells, second.cells)


def test_a_copy_of_a_board_goes_on_as_that_board() -> None:
    config = GameConfig(6, 12)
    games = new_games(config, 4, seed=5)
    rng = np.random.default_rng(2)
    for _ in range(3):
        for i in range(4):
            place(games, i, int(rng.integers(4, 20)))
    game = ShownGame.of_board(config, games, 2)
    np.testing.assert_array_equal(game.cells != 0, board_of(games, 2))
    for _ in range(100):
        action = int(rng.choice(game.legal_actions()))
        lines, over = place(games, 2, action)
        assert game.place(action) == lines
        np.testing.assert_array_equal(game.cells != 0, board_of(games, 2))
        assert game.piece == games.pieces[2, 0]
        assert game.score == games.score[2]
        if over:
            game.restart()
            reset_game(games, 2)


def test_what_is_not_possible_is_refused() -> None:
    game = ShownGame(GameConfig(4, 4), 1)
    for action in (-1, 16, 1000):
        assert game.landing_cells(action) == ()
        with pytest.raises(ValueError, match="illegal"):
            game.place(action)
    assert game.placements == 0
    while not game.game_over:
        game.place(game.legal_actions()[-1])
    with pytest.raises(ValueError, match="over"):
        game.place(game.legal_actions()[0])
    with pytest.raises(ValueError, match="seed"):
        ShownGame(GameConfig(), -1)


def test_looking_at_a_game_does_not_change_it() -> None:
    game = ShownGame(GameConfig(), 1)
    game.place(20)
    game.cells[...] = 7
    assert (game.cells != 0).sum() == 4
    features, flags = game.afterstates(FeatureSet.SIMPLE)
    assert features.shape == (40, 13)
    assert flags.shape == (40,)
    assert game.placements == 1


def test_pictures() -> None:
    game = ShownGame(GameConfig(5, 6), 1)
    game.games.pieces[0, 0] = 2
    assert pictures.as_text(game) == ".OO..\n.OO..\n" + "\n".join(["....."] * 4)
    image = pictures.as_image(game, pixels=8)
    assert image.shape == (48, 40, 3)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image[4, 12], pictures.COLOURS[2])
    np.testing.assert_array_equal(image[4, 4], pictures.COLOURS[0])

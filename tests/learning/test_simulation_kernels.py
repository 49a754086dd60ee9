"""What simulations record is what the engine and the player do."""

import numpy as np
import pytest
from mltetris_server.game.config import (
    FeatureSet,
    GameConfig,
    Rule,
    feature_scales,
    n_features,
)
from mltetris_server.game.display import ShownGame
from mltetris_server.game.engine import ENDS_GAME, new_games, place
from mltetris_server.game.players import PLAYERS
from mltetris_server.learning.kernels import Network
from mltetris_server.learning.player import Player, make_eye
from mltetris_server.learning.simulation.blocks import Block, new_view
from mltetris_server.learning.simulation.kernels import record, start_game

SEED = 2**64 - 5
ROWS = 300


def a_player(features: FeatureSet, game: GameConfig, exploration: float = 0.0) -> Player:
    """One whose games last."""
    bcts = PLAYERS["bcts"].weights
    assert bcts is not None
    weights = {
        FeatureSet.BCTS: bcts,
        FeatureSet.DT: (*bcts, 0.0),
        FeatureSet.SIMPLE: (*[-0.5] * game.width, -0.1, -4.0, -0.5),
    }[features]
    inputs = n_features(features, game.width)
    network = Network(
        np.zeros((0, inputs), np.float32),
        np.zeros(0, np.float32),
        (np.array(weights) / feature_scales(features, game.width)).astype(np.float32),
        np.zeros(1, np.float32),
    )
    return Player(network, features, -1e5, exploration)


def one_game(player: Player, observed: FeatureSet, game: GameConfig, number: int) -> Block:
    """A game recorded in uneven slices."""
    block = Block.new(observed, game, ROWS)
    view = new_view(observed, player.features, game, 3)
    games, eye = new_games(game, 3, seed=1), make_eye(player.features, game.width, -1e5)
    start_game(games, 1, np.uint64(SEED), number, view)
    at = 0
    while at < ROWS and not games.over[1]:
        room = min(7, ROWS - at)
        at += record(games, 1, player.network, eye, player.exploration, view, block.log, at, room)
    block.rows = at
    return block


@pytest.mark.parametrize("rule", list(Rule))
@pytest.mark.parametrize("exploration", [0.0, 0.4, 1.0])
def test_it_is_the_game_that_the_player_plays(rule: Rule, exploration: float) -> None:
    """Piece by piece, also where it explores, and on boards with few rows, where games end."""
    game = GameConfig(7, 12, rule)
    player = a_player(FeatureSet.BCTS, game, exploration)
    for number in (0, 2):
        log = (block := one_game(player, FeatureSet.BOARD, game, number)).log
        # Board `number`'s first game.
        games, eye = new_games(game, number + 1, SEED), player.eye(game)
        for row in range(block.rows):
            assert log.pieces[row] == games.pieces[number, 0]
            assert log.next_pieces[row] == games.pieces[number, 1]
            shown = ShownGame.of_board(game, games, number).cells
            assert np.array_equal(log.cells[row], (shown > 0).ravel())
            action = player.choose_on(games, number, eye)
            assert log.actions[row] == action
            before = int(games.score[number])
            place(games, number, action)
            assert log.rewards[row] == games.score[number] - before
        assert games.over[number] or block.rows == ROWS
        if games.over[number]:
            shown = ShownGame.of_board(game, games, number).cells
            assert np.array_equal(log.cells[block.rows], (shown > 0).ravel())


@pytest.mark.parametrize("observed", [FeatureSet.BCTS, FeatureSet.SIMPLE])
@pytest.mark.parametrize("seen", [FeatureSet.BCTS, FeatureSet.SIMPLE, FeatureSet.DT])
@pytest.mark.parametrize("rule", list(Rule))
def test_features_are_those_of_the_board_left_behind(
    observed: FeatureSet, seen: FeatureSet, rule: Rule
) -> None:
    game = GameConfig(8, 14, rule)
    player = a_player(seen, game, 0.05)
    log = (block := one_game(player, observed, game, 5)).log
    games = new_games(game, 6, SEED)
    scales = feature_scales(observed, game.width)
    wanted = np.zeros(n_features(observed, game.width), np.float32)
    cleared = 0
    for row in range(block.rows):
        assert np.array_equal(log.features[row], wanted)
        action = int(log.actions[row])
        shown = ShownGame.of_board(game, games, 5)
        features, flags = shown.afterstates(observed)
        if not flags[action] & ENDS_GAME:
            wanted = (np.round(features[action] / scales * 2) / 2).astype(np.float32)
        cleared += place(games, 5, action)[0]
    assert block.rows > 60
    assert cleared > 5
    if games.over[5]:
        assert np.array_equal(log.features[block.rows], wanted)

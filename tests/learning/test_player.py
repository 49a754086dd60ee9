import subprocess
import sys

import numpy as np
import pytest
from learning.helpers import random_network, small_td
from mltetris_server.game.config import FeatureSet, GameConfig
from mltetris_server.game.display import ShownGame
from mltetris_server.game.engine import CANDIDATE, ENDS_GAME
from mltetris_server.learning.checkpoint import dump
from mltetris_server.learning.kernels import NOT_A_CANDIDATE
from mltetris_server.learning.model import CheckpointError
from mltetris_server.learning.player import Player


def test_it_plays_what_the_learner_would():
    td = small_td()
    td.learn(640)
    player, other = td.player(), Player.from_checkpoint(*dump(td))
    game = ShownGame(GameConfig(), 3)
    while not game.game_over:
        values = player.values(game)
        assert np.array_equal(values, other.values(game))
        _, flags = game.afterstates(FeatureSet.BCTS)
        candidates = (flags & CANDIDATE) != 0
        assert (values[~candidates] == NOT_A_CANDIDATE).all()
        assert (values[(flags & (CANDIDATE | ENDS_GAME)) == CANDIDATE | ENDS_GAME] == -10).all()
        action = player.choose(game)
        assert action == other.choose(game) == int(np.argmax(values))
        assert candidates[action]
        game.place(action)
    assert game.placements > 5


def test_it_does_not_change_with_its_learner():
    td = small_td()
    player, game = td.player(), ShownGame(GameConfig(), 3)
    before = player.values(game)
    td.learn(640)
    assert np.array_equal(player.values(game), before)
    assert not np.array_equal(td.player().values(game), before)


def test_values_are_the_callers_own():
    player, game = small_td().player(), ShownGame(GameConfig(), 3)
    values = player.values(game)
    kept = values.copy()
    game.place(player.choose(game))
    player.values(game)
    assert np.array_equal(values, kept)


def test_it_plays_other_boards_where_its_features_allow():
    player = small_td().player()
    for config in (GameConfig(4, 4), GameConfig(32, 40, "published", "uniform"), GameConfig()):
        assert player.plays(config)
        game = ShownGame(config, 1)
        assert player.values(game).shape == (4 * config.width,)
        game.place(player.choose(game))
    simple = Player(random_network(13, 4), FeatureSet.SIMPLE, -10)
    assert simple.plays(GameConfig(10, 8))
    assert not simple.plays(GameConfig(8))
    with pytest.raises(ValueError, match="width"):
        simple.choose(ShownGame(GameConfig(8), 1))


def test_it_explores_as_often_as_it_is_told_to_and_the_same_way_every_time():
    network, config = random_network(8, 4), GameConfig()
    greedy, half = (
        Player(network, FeatureSet.BCTS, -100, exploration) for exploration in (0.0, 0.5)
    )
    other = explored = 0
    for seed in range(400):
        game = ShownGame(config, seed)
        best = greedy.choose(game)
        action = half.choose(game)
        assert action == half.choose(game)
        assert np.array_equal(half.values(game), greedy.values(game))
        _, flags = game.afterstates(FeatureSet.BCTS)
        candidates = np.count_nonzero(flags & CANDIDATE)
        other += action != best
        explored += 0.5 * (candidates - 1) / candidates
    # A standard deviation of 10.
    assert abs(other - explored) < 40


def test_a_damaged_checkpoint_is_refused():
    model, files = dump(small_td())
    with pytest.raises(CheckpointError, match="policy"):
        Player.from_checkpoint(model, {})
    with pytest.raises(CheckpointError, match=r"policy\.safetensors: (hidden|output)\.weight"):
        hyperparameters = model["hyperparameters"] | {"hidden_units": 7}
        network = {"inputs": 8, "hidden": [7]}
        Player.from_checkpoint(
            model | {"hyperparameters": hyperparameters, "network": network}, files
        )


def test_playing_needs_neither_torch_nor_gymnasium():
    code = """
import sys
import mltetris_server.learning.player, mltetris_server.learning.evaluation
import mltetris_server.learning.metrics, mltetris_server.learning.bundle
loaded = {"torch", "stable_baselines3", "gymnasium"} & set(sys.modules)
sys.exit(f"loaded: {loaded}" if loaded else 0)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)

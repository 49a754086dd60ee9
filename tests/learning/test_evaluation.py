import numpy as np
import pytest
from learning.helpers import random_network
from mltetris_server.game.config import FeatureSet, GameConfig, feature_scales
from mltetris_server.game.display import ShownGame
from mltetris_server.game.engine import new_games
from mltetris_server.game.players import PLAYERS, play_games
from mltetris_server.learning.evaluation import GreedyEvaluation
from mltetris_server.learning.kernels import Network
from mltetris_server.learning.player import Player

# So low that games end soon, and at very different times.
LOW = GameConfig(10, 6)


def heuristic() -> Player:
    """Dellacherie's weights as a network: one hidden unit that is never off."""
    weights = np.array(PLAYERS["dellacherie"].weights, np.float32)
    scaled = 1e-3 * weights / feature_scales(FeatureSet.BCTS, 10)
    network = Network(
        scaled.reshape(1, -1).astype(np.float32),
        np.array([10], np.float32),
        np.array([1], np.float32),
        np.array([-10], np.float32),
    )
    return Player(network, FeatureSet.BCTS, -100)


def test_games_and_statistics_are_those_of_the_games():
    evaluation = GreedyEvaluation(heuristic(), LOW, 15, seed=4, max_lines=1000)
    result = evaluation.run()
    lines, placements = [], 0
    # The same games once more, by hand.
    games, player = new_games(LOW, 15, 4), heuristic()
    for i in range(15):
        game = ShownGame.of_board(LOW, games, i)
        while not game.game_over:
            game.place(player.choose(game))
        lines.append(game.lines)
        placements += game.placements
    assert result.games == 15
    assert result.placements == placements
    assert result.mean_lines == pytest.approx(np.mean(lines))
    assert result.standard_error == pytest.approx(np.std(lines, ddof=1) / 15**0.5)
    assert result.median_lines == np.median(lines)
    assert (result.worst_lines, result.best_lines) == (min(lines), max(lines))
    assert (result.cut_off_games, result.max_lines) == (0, 1000)
    assert result.worst_lines < result.median_lines < result.best_lines


def test_a_network_with_published_weights_plays_like_the_published_player():
    result = GreedyEvaluation(heuristic(), GameConfig(10, 10), 20, seed=7, max_lines=10**6).run()
    played = play_games(PLAYERS["dellacherie"], GameConfig(10, 10), 20, 7)
    assert result.mean_lines == pytest.approx(played.lines.mean(), rel=0.5)
    assert result.mean_lines > 50


def test_slices_do_not_matter():
    whole = GreedyEvaluation(heuristic(), LOW, 6, seed=1, max_lines=50)
    sliced = GreedyEvaluation(heuristic(), LOW, 6, seed=1, max_lines=50)
    whole.advance(10**9)
    steps = 0
    while not sliced.advance(5):
        steps += 1
    assert steps > 3
    assert whole.result() == sliced.result()
    assert sliced.advance(5)  # nothing more to do


def test_games_are_cut_off_and_reported():
    evaluation = GreedyEvaluation(heuristic(), GameConfig(), 4, seed=2, max_lines=30)
    result = evaluation.run()
    assert result.cut_off_games == 4
    # A placement that clears several lines may pass the limit.
    assert 30 <= result.worst_lines <= result.best_lines <= 33
    some = GreedyEvaluation(heuristic(), LOW, 20, seed=2, max_lines=20).run()
    assert 0 < some.cut_off_games < 20
    assert some.worst_lines < 20 <= some.best_lines


def test_a_result_needs_all_games():
    evaluation = GreedyEvaluation(heuristic(), LOW, 3, seed=1, max_lines=10)
    evaluation.advance(1)
    assert not evaluation.done
    with pytest.raises(ValueError, match="not all ended"):
        evaluation.result()


def test_one_game_has_no_standard_error():
    result = GreedyEvaluation(heuristic(), LOW, 1, seed=1, max_lines=10).run()
    assert result.standard_error == 0
    assert result.mean_lines == result.median_lines == result.worst_lines == result.best_lines


def test_it_goes_on_with_the_player_as_it_was():
    player = heuristic()
    evaluation = GreedyEvaluation(player, LOW, 5, seed=3, max_lines=100)
    expected = GreedyEvaluation(heuristic(), LOW, 5, seed=3, max_lines=100).run()
    evaluation.advance(20)
    player.network.output_weights[:] *= -1
    assert evaluation.run() == expected


@pytest.mark.parametrize(
    "arguments", [{"games": 0}, {"seed": -1}, {"seed": 2**64}, {"max_lines": 0}]
)
def test_bad_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match="must be"):
        GreedyEvaluation(
            heuristic(), GameConfig(), **{"games": 1, "seed": 1, "max_lines": 9} | arguments
        )


def test_a_player_of_another_width_is_refused():
    player = Player(random_network(13, 4), FeatureSet.SIMPLE, -10)
    GreedyEvaluation(player, GameConfig(10), 1, 1, 1)
    with pytest.raises(ValueError, match="width"):
        GreedyEvaluation(player, GameConfig(8), 1, 1, 1)

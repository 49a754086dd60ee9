"""Reference players as slots: what is committed is what is made, and plays as published."""

from fractions import Fraction

import numpy as np
import pytest
from mltetris_server.game.config import GameConfig, n_features, raw_scales
from mltetris_server.game.display import ShownGame
from mltetris_server.game.engine import (
    CANDIDATE,
    ENDS_GAME,
    afterstates,
    new_games,
    place,
    reset_game,
)
from mltetris_server.game.players import PLAYERS, choose_linear
from mltetris_server.learning.evaluation import GreedyEvaluation
from mltetris_server.learning.model import load_network
from mltetris_server.learning.player import Player
from mltetris_server.learning.reference import BIAS, FOLDER, UNIT, description_of, make

LINEAR = sorted(name for name, player in PLAYERS.items() if player.weights is not None)
GAMES = [
    GameConfig(),
    GameConfig(10, 10, "published", "uniform"),
    GameConfig(6, 8, "gymnasium", "uniform"),
    GameConfig(4, 4),
    GameConfig(16, 12, "published"),
    GameConfig(32, 40, "published", "uniform"),
]


def player_of(name: str) -> Player:
    description = description_of(PLAYERS[name])
    files = {"policy.safetensors": (FOLDER / name / "policy.safetensors").read_bytes()}
    load_network(description, files)
    return Player.from_checkpoint(description.to_dict(), files)


@pytest.mark.parametrize("name", sorted(PLAYERS))
def test_what_is_committed_is_what_is_made(name: str) -> None:
    made = make(PLAYERS[name])
    assert {path.name for path in (FOLDER / name).iterdir()} == made.keys()
    for file, data in made.items():
        assert (FOLDER / name / file).read_bytes() == data, file


def test_all_are_there_and_no_others() -> None:
    assert {path.name for path in FOLDER.iterdir()} == PLAYERS.keys()


@pytest.mark.parametrize("config", GAMES, ids=lambda game: f"{game.width}x{game.height}")
@pytest.mark.parametrize("name", LINEAR)
def test_it_chooses_as_published(name: str, config: GameConfig) -> None:
    """The first of the placements of the greatest worth, in exact arithmetic.

    `game.players` sums numbers of 32 bits, which tells some placements of equal worth apart: only
    there it may choose another one.
    """
    published, player = PLAYERS[name], player_of(name)
    assert published.weights is not None
    hundredths = [round(100 * weight) for weight in published.weights]
    assert [Fraction(h, 100) for h in hundredths] == [Fraction(str(w)) for w in published.weights]
    games, eye = new_games(config, 1, 3001), player.eye(config)
    inputs = n_features(published.feature_set, config.width)
    features = np.empty((config.actions, inputs), np.float32)
    flags = np.empty(config.actions, np.uint8)
    scales = raw_scales(published.feature_set, config.width)
    weights = np.array(published.weights, np.float32)
    random = np.random.default_rng(7)
    ties = others = 0
    for _ in range(1500):
        action = player.choose_on(games, 0, eye)
        afterstates(games, 0, published.feature_set.code, scales, features, flags)
        candidates = (flags & CANDIDATE) != 0
        alive = np.flatnonzero(candidates & ((flags & ENDS_GAME) == 0))
        theirs = choose_linear(features, flags, weights)
        if alive.size:
            worth = (2 * features[alive]).astype(np.int64) @ hundredths
            best = alive[worth == worth.max()]
            assert action == best[0]
            assert theirs in best
            ties += best.size > 1
            others += theirs != action
            assert np.array_equal(eye.values[alive], (BIAS + worth * UNIT / 200).astype(np.float32))
        else:
            assert action == theirs
        # Some placements at random, so that bad boards are seen, too.
        made = random.choice(np.flatnonzero(candidates)) if random.random() < 0.05 else action
        if place(games, 0, int(made))[1]:
            reset_game(games, 0)
    assert others <= 3, "it differs only where equals are, and there rarely"
    assert ties or name != "dellacherie", "there is nothing to tell here"


def test_random_chooses_all_candidates_alike_and_repeats() -> None:
    player, config = player_of("random"), GameConfig()
    assert player.exploration == 1
    shares = []
    for seed in range(300):
        game = ShownGame(config, seed)
        values = player.values(game)
        candidates = np.flatnonzero(game.afterstates(player.features)[1] & CANDIDATE)
        assert set(values[candidates]) == {0.0}
        action = player.choose(game)
        assert action == player.choose(game), "a choice is the game's, not the player's"
        shares.append(list(candidates).index(action) / candidates.size)
    # A mean of 300 numbers evenly spread over 0..1: standard error 0.017.
    assert abs(np.mean(shares) + 0.02 - 0.5) < 0.06
    assert np.histogram(shares, 4, (0, 1))[0].min() > 45


def test_a_random_game_repeats_and_another_one_differs() -> None:
    def played(seed: int, episode: int) -> list[int]:
        player, game = player_of("random"), ShownGame(GameConfig(), seed, episode=episode)
        actions = []
        while not game.game_over:
            actions.append(player.choose(game))
            game.place(actions[-1])
        return actions

    assert played(1, 1) == played(1, 1)
    assert len({tuple(played(seed, episode)) for seed in (1, 2) for episode in (1, 2)}) == 4


def test_a_random_evaluation_does_not_depend_on_how_it_is_sliced() -> None:
    arguments = (player_of("random"), GameConfig(6, 8), 12, 5, 100)
    whole, sliced = GreedyEvaluation(*arguments).run(), GreedyEvaluation(*arguments)
    while not sliced.advance(7):
        pass
    assert sliced.result() == whole
    assert (whole.games, whole.cut_off_games) == (12, 0)
    greedy = Player(player_of("random").network, player_of("random").features, 0.0)
    assert GreedyEvaluation(greedy, *arguments[1:]).run() != whole

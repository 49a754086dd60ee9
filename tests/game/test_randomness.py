"""Piece streams: fair, reproducible, and each game's own."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise, permutations

import numpy as np
import pytest
from mltetris_server.game.config import MAX_SEED, GameConfig, Randomizer
from mltetris_server.game.engine import Games, mix, new_games, reset_game, upcoming

BAG7 = GameConfig(randomizer=Randomizer.BAG7)
UNIFORM = GameConfig(randomizer=Randomizer.UNIFORM)


def pieces(games: Games, i: int, count: int) -> list[int]:
    """The first pieces of board i's game, the active one included."""
    later = np.zeros(count - 1, np.int64)
    upcoming(games, i, later)
    return [int(games.pieces[i, 0]), *(int(piece) for piece in later)]


def test_splitmix64_known_answers() -> None:
    # The first outputs of SplitMix64 for seeds 0 and 1234567 (Vigna's splitmix64.c).
    assert int(mix(np.uint64(0))) == 0xE220A8397B1DCDAF
    assert int(mix(np.uint64(1234567))) == 6457827717110365317


def test_every_bag_holds_all_seven() -> None:
    games = new_games(BAG7, 20, seed=3)
    for i in range(20):
        stream = pieces(games, i, 7 * 100)
        for start in range(0, len(stream), 7):
            assert sorted(stream[start : start + 7]) == [1, 2, 3, 4, 5, 6, 7]


def test_every_order_of_a_bag_is_equally_likely() -> None:
    count = 50_400
    games = new_games(BAG7, 1, seed=9)
    stream = pieces(games, 0, 7 * count)
    seen = Counter(tuple(stream[k : k + 7]) for k in range(0, len(stream), 7))
    orders = list(permutations(range(1, 8)))
    expected = count / len(orders)
    chi2 = sum((seen[order] - expected) ** 2 / expected for order in orders)
    # 5,039 degrees of freedom: mean 5,039, standard deviation 100.
    assert 4_640 < chi2 < 5_440


def test_uniform_pieces_are_equally_likely_and_independent() -> None:
    count = 70_000
    stream = pieces(new_games(UNIFORM, 1, seed=4), 0, count)
    pairs = Counter(pairwise(stream))
    expected = (count - 1) / 49
    assert set(pairs) == {(a, b) for a in range(1, 8) for b in range(1, 8)}
    chi2 = sum((pairs[pair] - expected) ** 2 / expected for pair in pairs)
    # 48 degrees of freedom (42 for overlapping pairs at most): 20 to 90 is beyond any doubt.
    assert 15 < chi2 < 95


@pytest.mark.parametrize("config", [BAG7, UNIFORM], ids=["bag7", "uniform"])
def test_every_seed_reproduces_and_none_is_like_another(config: GameConfig) -> None:
    seeds = [0, 1, 2, 7, 2**31, 2**32, 2**63 - 1, 2**63, MAX_SEED - 1, MAX_SEED]
    streams = [tuple(pieces(new_games(config, 1, seed), 0, 100)) for seed in seeds]
    again = [tuple(pieces(new_games(config, 1, seed), 0, 100)) for seed in seeds]
    assert streams == again
    assert len(set(streams)) == len(seeds)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_other_seeds_are_refused(seed: int) -> None:
    with pytest.raises(ValueError, match="seed"):
        new_games(BAG7, 1, seed)


def test_a_game_depends_on_seed_board_and_episode_alone() -> None:
    many = new_games(BAG7, 5, seed=11)
    few = new_games(BAG7, 3, seed=11)
    starts = set()
    for episode in range(1, 4):
        for i in range(5):
            starts.add(tuple(pieces(many, i, 50)))
            if i < 3:
                assert pieces(many, i, 50) == pieces(few, i, 50)
            assert many.episode[i] == episode
        for i in range(5):
            reset_game(many, i)
        for i in range(3):
            # How far a game got makes no difference to the next one.
            few.streams[i, 1] += np.uint64(i)
            reset_game(few, i)
    assert len(starts) == 15
    third = new_games(BAG7, 3, seed=11, first_episode=3)
    again = new_games(BAG7, 3, seed=11)
    for _ in range(2):
        reset_game(again, 2)
    assert pieces(third, 2, 50) == pieces(again, 2, 50)


def test_a_race_has_the_same_pieces_on_every_board() -> None:
    games = new_games(UNIFORM, 4, seed=5, same_pieces=True)
    for _ in range(3):
        streams = {tuple(pieces(games, i, 60)) for i in range(4)}
        assert len(streams) == 1
        for i in range(4):
            reset_game(games, i)
    alone = new_games(UNIFORM, 1, seed=5)
    race = new_games(UNIFORM, 4, seed=5, same_pieces=True)
    assert pieces(alone, 0, 60) == pieces(race, 3, 60)


def test_looking_ahead_changes_nothing() -> None:
    games = new_games(BAG7, 1, seed=1)
    before = [array.copy() for array in games]
    pieces(games, 0, 30)
    for array, copy in zip(games, before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_numbers_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="number of games"):
        new_games(BAG7, 0, 1)
    with pytest.raises(ValueError, match="episode"):
        new_games(BAG7, 1, 1, first_episode=0)

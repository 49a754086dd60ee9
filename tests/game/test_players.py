"""The reference players play as published, which vouches for features and rules at once."""

from __future__ import annotations

import numpy as np
import pytest
from mltetris_server.game.config import GameConfig, Randomizer, Rule
from mltetris_server.game.players import PLAYERS, choose_random, play_games

PUBLISHED_10X10 = GameConfig(10, 10, Rule.PUBLISHED, Randomizer.UNIFORM)


def test_bcts_makes_what_the_literature_says() -> None:
    # Gabillon et al. (2013) give 4,200 lines. 200 games: a standard error of 6 to 7 %.
    lines = play_games(PLAYERS["bcts"], PUBLISHED_10X10, 200, seed=1).lines
    assert 3_300 < lines.mean() < 5_100


@pytest.mark.slow
@pytest.mark.parametrize(("name", "published"), [("bcts", 4_200), ("dt10", 5_000)])
def test_the_published_results_are_within_three_standard_errors(name: str, published: int) -> None:
    """Gabillon et al. (2013), 10x10, uniform pieces; 500 games, as many as a claim is made on."""
    lines = play_games(PLAYERS[name], PUBLISHED_10X10, 500, seed=4_000).lines
    error = lines.std(ddof=1) / np.sqrt(lines.size)
    print(f"{name}: {lines.mean():,.0f} +- {error:,.0f} lines, published {published:,}")
    assert abs(lines.mean() - published) < 3 * error


def test_the_rule_alone_makes_a_great_difference() -> None:
    config = GameConfig(10, 10, Rule.GYMNASIUM, Randomizer.UNIFORM)
    lines = play_games(PLAYERS["bcts"], config, 200, seed=1).lines
    assert 400 < lines.mean() < 900


def test_dellacheries_player_is_good_and_a_random_one_is_not() -> None:
    lines = play_games(PLAYERS["dellacherie"], PUBLISHED_10X10, 100, seed=1).lines
    assert lines.mean() > 1_500
    played = play_games(PLAYERS["random"], GameConfig(), 100, seed=1)
    assert played.over.all()
    assert played.lines.mean() < 1
    assert 15 < played.placements.mean() < 40


@pytest.mark.parametrize("name", ["bcts", "dellacherie"])
def test_on_the_full_board_they_go_on_and_on(name: str) -> None:
    played = play_games(PLAYERS[name], GameConfig(), 4, seed=2, max_placements=50_000)
    assert not played.over.any()
    assert list(played.placements) == [50_000] * 4
    # Ten cells a line, four cells a piece; at most 200 cells stay.
    assert (np.abs(played.lines - 20_000) <= 20).all()


@pytest.mark.parametrize("name", sorted(PLAYERS))
def test_the_same_seed_gives_the_same_games(name: str) -> None:
    first, again, other = (
        play_games(PLAYERS[name], GameConfig(10, 8), 5, seed, max_placements=500)
        for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first.score, again.score)
    np.testing.assert_array_equal(first.placements, again.placements)
    assert (first.score != other.score).any()


def test_a_random_player_chooses_all_candidates_alike() -> None:
    flags = np.array([0, 3, 1, 7, 3, 0, 3], np.uint8)
    streams = np.array([[0, 5]], np.uint64)
    counts = np.bincount([choose_random(flags, streams, 0) for _ in range(8_000)], minlength=7)
    assert counts[[0, 2, 5]].sum() == 0
    assert (np.abs(counts[[1, 3, 4, 6]] - 2_000) < 200).all()

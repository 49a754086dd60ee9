"""Benchmarks: the same pieces for all, the same games whatever the threads, and honest figures."""

from __future__ import annotations

import json
import threading
import time

import numpy as np
import pytest
from mltetris_server.game.config import FeatureSet, GameConfig, Randomizer, Rule
from mltetris_server.game.engine import new_games
from mltetris_server.learning.benchmark.figures import Tally, bootstrap_intervals
from mltetris_server.learning.benchmark.game import FinishedGame
from mltetris_server.learning.benchmark.match import Match
from mltetris_server.learning.evaluation import GreedyEvaluation
from mltetris_server.learning.kernels import Network
from mltetris_server.learning.model import POLICY_FILE
from mltetris_server.learning.player import Player
from mltetris_server.learning.reference import FOLDER

SMALL = GameConfig(10, 8, Rule.PUBLISHED, Randomizer.UNIFORM)
LITERATURE = GameConfig(10, 10, Rule.PUBLISHED, Randomizer.UNIFORM)
PATIENCE_S = 120.0


def load_player(name: str) -> Player:
    model = json.loads((FOLDER / name / "manifest.json").read_bytes())["model"]
    policy = (FOLDER / name / POLICY_FILE).read_bytes()
    return Player.from_checkpoint(model, {POLICY_FILE: policy})


def played(match: Match, *, holds: int = 0) -> list[FinishedGame]:
    """Every game of a match, in order; it is held and let go on some times meanwhile."""
    found: list[FinishedGame] = []
    deadline = time.monotonic() + PATIENCE_S
    match.load()
    match.go_on()
    try:
        while not match.over:
            assert time.monotonic() < deadline, "the match does not end"
            time.sleep(0.002)
            if holds:
                holds -= 1
                match.hold()
                match.go_on()
            found += match.take()
        found += match.take()
    finally:
        match.close()
    return sorted(found, key=lambda game: (game.player, game.number))


def what(games: list[FinishedGame]) -> list[tuple[object, ...]]:
    """All of games but what depends on the clock."""
    return [(g.player, g.number, g.lines, g.placements, g.score, g.cut_off) for g in games]


def a_match(*names: str, games: int = 12, threads: int = 2, **options: object) -> Match:
    arguments: dict[str, object] = {"seed": 7, "max_lines": 300, "config": SMALL} | options
    players = [load_player(name) for name in names]
    return Match(players, games=games, threads=threads, **arguments)  # type: ignore[arg-type]


def a_game(player: int, number: int, lines: int, placements: int = 100, **more: object):
    values = {"score": 0.0, "cut_off": False, "seconds": 0.5, "all_placements": 0} | more
    return FinishedGame(player, number, lines, placements, **values)  # type: ignore[arg-type]


def test_the_games_are_the_same_whatever_the_threads_and_the_slices() -> None:
    names = ("bcts", "random", "dt10", "dellacherie")
    alone = what(played(a_match(*names, threads=1)))
    assert len(alone) == 4 * 12
    assert what(played(a_match(*names, threads=5))) == alone
    assert what(played(a_match(*names, threads=3), holds=20)) == alone


def test_another_seed_gives_other_games() -> None:
    assert what(played(a_match("bcts", seed=0))) != what(played(a_match("bcts", seed=1)))


def test_they_are_the_games_of_an_evaluation_of_the_same_boards() -> None:
    """Board k of `new_games` is everybody's game k + 1, and nothing else is different."""
    for name in ("bcts", "random"):
        player = load_player(name)
        lines = [game.lines for game in played(a_match(name, games=9))]
        result = GreedyEvaluation(player, SMALL, games=9, seed=7, max_lines=300).run()
        assert np.mean(lines) == result.mean_lines
        assert (min(lines), max(lines)) == (result.worst_lines, result.best_lines)


def test_all_players_get_the_same_pieces() -> None:
    """The same player twice plays the same games, and a game does not know its neighbours."""
    games = what(played(a_match("bcts", "bcts", games=6)))
    assert [game[1:] for game in games[:6]] == [game[1:] for game in games[6:]]
    alone = what(played(a_match("random", games=6)))
    assert [g[1:] for g in what(played(a_match("bcts", "random", games=6)))[6:]] == [
        g[1:] for g in alone
    ]


def test_games_are_cut_off_at_the_limit_and_only_there() -> None:
    for game in played(a_match("bcts", games=20, max_lines=100)):
        assert game.cut_off == (game.lines >= 100)
        assert game.lines < 104
    endless = played(a_match("bcts", games=20, max_lines=None))
    assert max(game.lines for game in endless) > 100
    assert not any(game.cut_off for game in endless)


def test_a_held_match_stands_still_and_one_that_is_closed_ends() -> None:
    match = a_match("bcts", games=50, config=GameConfig(), max_lines=None, threads=3)
    match.load()
    assert match.placements == 0
    match.go_on()
    deadline = time.monotonic() + PATIENCE_S
    while match.placements == 0 and time.monotonic() < deadline:
        time.sleep(0.001)
    match.hold()
    held = match.placements
    number, board = match.view(0) or (0, new_games(SMALL, 1, 0))
    time.sleep(0.1)
    assert match.placements == held > 0
    assert number >= 1
    assert 0 < int(board.placements[0]) <= held
    match.go_on()
    while match.placements == held and time.monotonic() < deadline:
        time.sleep(0.001)
    match.close()
    assert match.finished == 0, "these games have no end"
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("games-")]


def test_a_players_fault_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """It happens on a thread of the match, and is raised where its games are taken."""

    def fail(*_: object) -> int:
        raise OverflowError("no luck today")

    player = load_player("random")
    monkeypatch.setattr(player, "choose_on", fail)
    match = Match([player, load_player("bcts")], SMALL, 2, 0, max_lines=100, threads=2)
    match.go_on()
    deadline = time.monotonic() + PATIENCE_S
    with pytest.raises(OverflowError, match="no luck"):
        while time.monotonic() < deadline:
            match.take()
    match.hold()
    match.close()


def test_a_player_of_another_width_is_refused() -> None:
    simple = Player(
        Network(*(np.zeros((1, 13)), np.zeros(1), np.zeros(1), np.zeros(1))),
        FeatureSet.SIMPLE,
        -10,
    )
    with pytest.raises(ValueError, match="cannot play"):
        Match([simple], GameConfig(8, 20), 1, 0, max_lines=None, threads=1)


def test_the_figures_of_a_player() -> None:
    tally = Tally(2, 5, max_lines=40)
    tally.add(
        [
            a_game(1, 1, 10),
            a_game(1, 4, 42, 110, cut_off=True),
            a_game(1, 2, 30, seconds=1.5),
        ]
    )
    nothing, figures = tally.player(0), tally.player(1)
    assert (nothing.games, nothing.mean_lines, nothing.placements_per_second) == (0, 0.0, 0.0)
    assert (figures.games, figures.cut_off_games, figures.placements) == (3, 1, 310)
    assert figures.mean_lines == pytest.approx(82 / 3)
    assert figures.standard_error == pytest.approx(np.std([10, 42, 30], ddof=1) / 3**0.5)
    assert (figures.median_lines, figures.worst_lines, figures.best_lines) == (30, 10, 42)
    assert figures.placements_per_second == pytest.approx(310 / 2.5)
    assert figures.score == pytest.approx(80 / 3), "lines beyond the limit do not count"
    assert tally.best_lines == 42


def test_a_sprint_scores_placements_and_not_lines() -> None:
    tally = Tally(1, 3, score="sprint_efficiency", max_lines=40, width=10)
    tally.add(
        [
            a_game(0, 1, 41, 125, cut_off=True),
            a_game(0, 2, 39, 101),
            # It reached the lines with the placement that ended it.
            a_game(0, 3, 40, 100),
        ]
    )
    figures = tally.player(0)
    assert figures.score == pytest.approx((100 / 125 + 0 + 1) / 3)
    assert figures.score_error == pytest.approx(np.std([0.8, 0, 1], ddof=1) / 3**0.5)


def test_players_are_compared_over_the_games_that_both_have_played() -> None:
    tally = Tally(3, 4)
    tally.add([a_game(0, k, lines) for k, lines in ((1, 10), (2, 20), (3, 30), (4, 40))])
    tally.add([a_game(1, k, lines) for k, lines in ((1, 10), (2, 15), (3, 31))])
    first, second, third = tally.differences()
    assert (first.first, first.second, first.games) == (0, 1, 3)
    assert (first.mean, first.wins, first.ties) == (pytest.approx(4 / 3), 1, 1)
    assert first.low <= first.mean <= first.high
    assert (second.first, second.second, second.games, second.mean) == (0, 2, 0, 0.0)
    assert (third.first, third.second, third.games) == (1, 2, 0)


def test_an_interval_is_the_bootstraps_and_always_the_same() -> None:
    """Held against a resampling written the long way, which draws the same numbers."""
    sample = np.array([[3.0], [-1.0], [4.0], [1.0], [-5.0], [9.0], [2.0]])
    low, high = bootstrap_intervals(sample)
    again = bootstrap_intervals(sample)
    assert (low, high) == again
    random = np.random.default_rng(0)
    means = [sample[random.integers(0, 7, 7)].mean() for _ in range(10_000)]
    assert low[0] == pytest.approx(np.quantile(means, 0.025))
    assert high[0] == pytest.approx(np.quantile(means, 0.975))


def test_an_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(1)
    low, high = bootstrap_intervals(random.exponential(10.0, (60, 300)) - 10.0)
    covered = float(((low <= 0) & (high >= 0)).mean())
    assert 0.88 < covered < 0.99


def test_many_games_take_bounded_memory_and_let_others_speak() -> None:
    calls = []
    low, high = bootstrap_intervals(np.arange(3_000.0)[:, None], lambda: calls.append(1))
    assert len(calls) > 20
    assert low[0] < 1_499.5 < high[0]


@pytest.mark.slow
def test_the_literatures_players_make_the_literatures_lines() -> None:
    """4,200 for BCTS and 5,000 for DT-10, within two and a half of their own standard errors."""
    from mltetris_server.suites import SUITES

    suite = SUITES["literature-10x10"]
    config = GameConfig(suite.width, suite.height, Rule(suite.rule), Randomizer(suite.randomizer))
    assert config == LITERATURE
    players = [load_player(name) for name in ("bcts", "dt10")]
    match = Match(players, config, suite.games, suite.seed, max_lines=None, threads=2)
    tally = Tally(2, suite.games)
    tally.add(played(match))
    for player, published in ((0, 4200), (1, 5000)):
        figures = tally.player(player)
        assert figures.games == suite.games
        assert abs(figures.mean_lines - published) < 2.5 * figures.standard_error

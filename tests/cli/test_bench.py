"""`mltetris bench` with a real server and real workers, as people and scripts use it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import mltetris_client
import pytest
from mltetris_client import Trainer
from support.cli import Cli
from support.server import ServerProcess
from support.small import eventually, in_state

SPRINT = "sprint-40-lines"
LITTLE = ("--games", "4", "--seed", "3", "--height", "8", "--rule", "published")
ENDLESS = ("--max-lines", "1000000000")


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    data = tmp_path_factory.mktemp("bench") / "data"
    with ServerProcess(data, "--max-runs", "2") as server:
        yield server


@pytest.fixture
def bench(real: ServerProcess, tmp_path: Path) -> Cli:
    return Cli(tmp_path, real.address)


@pytest.fixture
def trainer(real: ServerProcess) -> Iterator[Trainer]:
    with mltetris_client.connect(real.address) as connection:
        yield connection


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_players_are_compared_and_the_table_is_printed(bench: Cli, trainer: Trainer) -> None:
    result = bench("bench", "random", "bcts", *LITTLE)
    assert result.code == 0, result
    run = trainer.list_runs(kinds=["benchmark"], limit=1)[0]
    first, *rest = rows(result.out)
    assert first[:4] == [run.id, "10x8", "bag7", "published,"]
    _, header, first, second, *rest = rest
    assert [row[0] for row in (header, first, second)] == ["PLAYER", "bcts", "random"]
    best = run.benchmark_result.players[1]
    assert first[4] == f"{best.best_lines:,}"
    assert any(row[:3] == ["bcts", "over", "random"] for row in rest)
    assert f"started {run.id}" in result.err
    assert "8 of 8 games" in result.err.splitlines()[-1]
    assert bench.good("bench", "show").out == result.out
    with_games = rows(bench.good("bench", "show", run.id, "--games").out)
    header, *games = [row for row in with_games[-5:] if row]
    assert header == ["GAME", "bcts", "random"]
    assert [row[0] for row in games] == ["1", "2", "3", "4"]
    assert f"{best.best_lines:,}" in {row[1] for row in games}
    told = bench.good("bench", "show", run.id, "--games", "-o", "json").json
    assert sorted((game["board"], game["number"]) for game in told["games"]) == [
        (board, number) for board in (0, 1) for number in (1, 2, 3, 4)
    ]


def test_the_same_seed_gives_the_same_table_but_for_the_speed(bench: Cli) -> None:
    def games(threads: str) -> list[dict[str, object]]:
        made = bench("bench", "bcts", "random", *LITTLE, "--threads", threads, "-o", "json").json
        players = made["benchmark_result"]["players"]
        return [{k: v for k, v in p.items() if k != "placements_per_second"} for p in players]

    assert games("1") == games("3")


def test_a_suite_makes_the_leaderboard(bench: Cli) -> None:
    assert bench("bench", "--suite", SPRINT, "random", "dellacherie").code == 0
    leaders = [row[0] for row in rows(bench.good("slots", "ls", "--by", SPRINT, "-q").out)]
    assert leaders[:2] == ["dellacherie", "random"]
    table = bench.good("slots", "ls", "--by", SPRINT).out
    assert "SCORE" in table.splitlines()[0]
    assert "0.9" in next(line for line in table.splitlines() if "dellacherie" in line)
    (score,) = bench.good("bench", "scores", "--player", "random", "-o", "json").json
    assert (score["suite"], score["games"]) == (SPRINT, 100)
    assert len(rows(bench.good("bench", "scores", "--suite", SPRINT).out)) == 3
    assert SPRINT in bench.good("slots", "show", "random").out
    run = score["run"]
    assert run in bench.good("bench", "ls").out
    assert bench.good("rm", run).code == 0
    assert "no scores" in bench.good("bench", "scores").out


def test_suites_are_listed(bench: Cli) -> None:
    names = [suite["name"] for suite in bench.good("bench", "suites", "-o", "json").json]
    assert names == ["standard-10x20-bag", "literature-10x10", SPRINT]
    assert "10x10 uniform published" in bench.good("bench", "suites").out


def test_ctrl_c_leaves_it_going_and_says_how_to_come_back(bench: Cli, trainer: Trainer) -> None:
    with bench.started("bench", "bcts", "random", *ENDLESS) as process:
        assert process.stderr is not None
        run = process.stderr.readline().split()[1]
        in_state(trainer, run, "running")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert f"bench show {run} --follow" in err
    assert f"stop {run}" in err
    eventually(lambda: trainer.get_run(run).benchmark_result.players, "games of random")
    so_far = bench.good("bench", "show", run[:9]).out
    assert "running:" in so_far
    assert bench.good("stop", run).code == 0
    stopped = bench.good("bench", "show", run, "--follow")
    assert "stopped: " in stopped.out
    assert "of 40 games were played" in stopped.out


def test_detached_it_says_only_its_id(bench: Cli, trainer: Trainer) -> None:
    result = bench.good("bench", "bcts", *ENDLESS, "--detach", "--name", "a long one")
    run = result.out.strip()
    assert trainer.get_run(run).display_name == "a long one"
    assert bench.good("stop", run).code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("bench", "nobody"), 4, "no slot nobody"),
        (("bench", "bcts", "bcts"), 2, "players[1]"),
        (("bench", "bcts", "--games", "0"), 2, "games"),
        (("bench", "bcts", "--seed", "-1"), 2, "seed"),
        (("bench", "bcts", "--suite", "x"), 2, "known are standard-10x20-bag"),
        (("bench", "bcts", "--suite", SPRINT, "--width", "8"), 2, "game"),
        (("bench", "train-nope:best"), 4, "train-nope"),
        (("bench", "train-nope:worst"), 2, "best, latest, final"),
        (("bench", "--games", "3"), 2, "PLAYER"),
        (("bench", "bcts", "--nonsense"), 2, "--nonsense"),
        (("bench", "show", "bench-nope"), 4, "no run"),
        (("bench", "scores", "--suite", "x"), 2, "suite"),
        (("slots", "ls", "--by", "x"), 2, "suite"),
        (("slots", "ls", "--by", SPRINT, "--sort", "name"), 2, "suite"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(
    bench: Cli, arguments: tuple[str, ...], code: int, words: str
) -> None:
    result = bench.inside(*arguments)
    assert (result.code, result.out) == (code, ""), result
    assert words in result.err
    assert len(result.err.splitlines()) == 1


def test_a_player_called_like_a_command_can_play(bench: Cli, trainer: Trainer) -> None:
    trainer.save_slot("show", slot="random")
    result = bench("bench", "run", "show", *LITTLE)
    assert result.code == 0, result
    assert "show" in result.out


def test_its_help_begins_with_examples(bench: Cli) -> None:
    for command in ((), ("run",), ("show",), ("ls",), ("scores",), ("suites",)):
        text = bench.good("bench", *command, "--help").out
        assert "Examples:" in text

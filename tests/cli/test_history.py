"""Commands that look back: history, episodes, lineage, stats, and the filters of ps."""

from __future__ import annotations

import pytest
from mltetris_client import Run, Trainer
from support.cli import Cli
from support.small import eventually


@pytest.fixture
def run(trainer: Trainer) -> Run:
    """A run that was stopped after its first games, with its last model as the slot `mine`."""
    started = trainer.start_training(display_name="Look Back", from_slot="bcts", algorithm="cem")
    eventually(lambda: len(trainer.list_episodes(started.id)) >= 2, "two games")
    trainer.stop_run(started.id)
    trainer.save_slot("mine", run=started.id, checkpoint="final", overwrite=True)
    return trainer.get_run(started.id)


def test_history_shows_a_line_for_each_curve(cli: Cli, run: Run) -> None:
    shown = cli.good("history", run.id, "--points", "10").out
    count = run.metrics.sequence
    assert shown.startswith(f"{run.id}  stopped  ")
    assert f" of {count} points, " in shown
    header, *rows = shown.splitlines()[1:]
    assert header.split() == ["CURVE", "FIRST", "LEAST", "GREATEST", "LAST"]
    assert any(row.split()[0] == "evaluation" for row in rows), shown


def test_history_as_json_lines(cli: Cli, run: Run) -> None:
    points = cli.good("history", run.id, "--points", "10", "-o", "json").lines
    assert len(points) <= 10
    numbers = [point["sequence"] for point in points]
    assert (numbers[0], numbers[-1]) == (1, run.metrics.sequence)
    later = cli.good("history", run.id, "--after", str(numbers[-1] - 1), "-o", "json").lines
    assert [point["sequence"] for point in later] == [numbers[-1]]
    assert cli("history", run.id, "--points", "9").code == 2
    assert cli("history", "train-none").code == 4


def test_episodes(cli: Cli, run: Run) -> None:
    games = cli.good("episodes", run.id, "--sort", "lines", "-o", "json").json
    lines = [game["lines"] for game in games]
    assert len(lines) >= 2
    assert lines == sorted(lines, reverse=True)
    table = cli.good("episodes", run.id, "--limit", "1").out.splitlines()
    assert table[0].split() == ["GAME", "LINES", "PLACEMENTS", "SCORE", "PLAYER", "VIEW", "ENDED"]
    assert len(table) == 2
    assert "no games" in cli.good("episodes", run.id, "--player", "bcts").out


def test_lineage_finds_what_has_the_name(cli: Cli, run: Run) -> None:
    tree = cli.good("lineage", "mine").out.splitlines()
    assert tree[0].startswith("slot mine")
    assert f"run {run.id}" in tree[1]
    assert "training, stopped: Look Back" in tree[1]
    assert "slot bcts" in tree[2]
    assert cli.good("lineage", run.id[:-1]).out.startswith(f"run {run.id}")
    told = cli.good("lineage", "mine", "--slot", "-o", "json").json
    assert [node["exists"] for node in told["nodes"]] == [True] * 3
    assert told["nodes"][0]["parents"] == [1]
    assert cli("lineage", "mine", "--run").code == 4
    assert cli("lineage", "mine", "--dataset").code == 4
    assert cli("lineage", "mine", "--dataset", "--slot").code == 2
    missing = cli("lineage", "no-such-thing")
    assert missing.code == 4
    assert "no slot, run or dataset no-such-thing" in missing.err


def test_ps_finds_and_sorts(cli: Cli, trainer: Trainer, run: Run) -> None:
    for flags in (
        ("--text", "look BACK"),
        ("--slot", "bcts"),
        ("--algorithm", "cem"),
        ("--since", "1h"),
        ("--sort", "placements"),
        ("--sort", "ended", "-r"),
    ):
        assert run.id in cli.good("ps", "-q", "-a", *flags).out.split(), flags
    for flags in (
        ("--text", "look%"),
        ("--algorithm", "dqn"),
        ("--since", "2999-01-01"),
        ("--dataset", "games"),
        ("--suite", "standard-10x20-bag"),
    ):
        assert run.id not in cli.good("ps", "-q", "-a", *flags).out.split(), flags
    names = [
        row["display_name"].casefold()
        for row in cli.good("ps", "--sort", "name", "-o", "json").json
    ]
    assert names == sorted(names)
    for flags in (("--since", "yesterday"), ("--since", "999999999w"), ("--algorithm", "magic")):
        assert cli("ps", *flags).code == 2, flags


def test_stats(cli: Cli, run: Run) -> None:
    told = cli.good("stats", "-o", "json").json
    assert told["placements"] >= run.metrics.placements
    assert {"kind": "training", "state": "stopped", "count": 1}.items() <= {
        **next(c for c in told["runs"] if c["state"] == "stopped"),
        "count": 1,
    }.items()
    shown = cli.good("stats").out
    assert "placements ever" in shown
    assert "on disk" in shown

"""`mltetris sim`, and how runs look that are not paced in `ps`, `show` and `watch`."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from mltetris_api.v1 import benchmark_pb2, run_pb2
from mltetris_client import Run, Trainer
from rich.console import Console
from support.cli import Cli
from support.small import eventually, in_state


def test_a_simulation_is_started_and_left_alone(cli: Cli, trainer: Trainer) -> None:
    result = cli(
        "sim", "bcts", "--games", "20", "--exploration", "0.1", "--dataset", "alone",
        "--observation", "board", "--width", "10", "--height", "12", "--rule", "published",
        "--randomizer", "uniform", "--seed", "5", "--boards", "4", "--threads", "1",
    )  # fmt: skip
    assert result.code == 0, result.err
    run_id = result.out.strip()
    assert run_id.startswith("sim-")
    assert f"watch {run_id}" in result.err
    spec = in_state(trainer, run_id, "succeeded").simulation
    assert spec == run_pb2.SimulationSpec(
        player=run_pb2.Player(slot="bcts"),
        game=run_pb2.GameSpec(
            width=10, height=12, rule=run_pb2.RULE_PUBLISHED, randomizer=run_pb2.RANDOMIZER_UNIFORM
        ),
        games=20,
        seed=5,
        exploration=0.1,
        boards=4,
        threads=1,
        observation=run_pb2.OBSERVATION_BOARD,
        dataset="alone",
    )


def test_a_simulation_is_followed_to_its_dataset(cli: Cli) -> None:
    result = cli("sim", "bcts", "--games", "50", "--dataset", "followed", "--follow")
    assert result.code == 0, result.err
    assert result.out == "followed\n"
    assert "50 games" in result.err
    assert "placements (5k/s)" in result.err
    assert "45.5 lines a game" in result.err
    assert "succeeded: budget spent" in result.err
    assert "dataset followed: 500 placements in 50 games (1 cut off)" in result.err


def test_a_simulation_is_followed_as_json(cli: Cli) -> None:
    result = cli("sim", "bcts", "--games", "50", "--dataset", "json", "--follow", "-o", "json")
    assert result.code == 0, result.err
    runs = [line for line in result.lines if line["type"] == "run"]
    assert runs[-1]["state"] == "succeeded"
    assert runs[-1]["simulation_result"]["dataset"] == "json"
    assert runs[-1]["simulation_result"]["stored"] is True
    assert runs[-1]["simulation"]["player"] == {"slot": "bcts"}
    points = [line for line in result.lines if line["type"] == "metrics"]
    assert points[-1]["episodes"] == 50


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--games", "0"),
        ("--games", "-3"),
        ("--placements", "0"),
        ("--placements", "-1"),
        ("--seed", "-1"),
        ("--exploration", "-0.1"),
        ("--exploration", "1.1"),
        ("--exploration", "nan"),
        ("--boards", "0"),
        ("--threads", "0"),
        ("--width", "3"),
        ("--height", "41"),
        ("--games", "many"),
        ("--rule", "none"),
        ("--observation", "pixels"),
    ],
)
def test_a_number_that_cannot_be_is_refused_by_its_flag(cli: Cli, flag: str, value: str) -> None:
    result = cli.inside("sim", "bcts", f"{flag}={value}")
    assert (result.code, result.out) == (2, "")
    assert flag.lstrip("-") in result.err
    assert len(result.err.splitlines()) == 1


def test_who_cannot_play_is_named(cli: Cli) -> None:
    for player, code, word in (
        ("nobody", 4, "nobody"),
        ("train-nothere:best", 4, "train-nothere"),
        ("bcts:first", 2, "first"),
        ("../x", 2, "slot"),
    ):
        result = cli.inside("sim", player)
        assert (result.code, result.out) == (code, "")
        assert word in result.err
    result = cli.inside("sim", "bcts", "--dataset", "a b")
    assert result.code == 2
    assert "dataset" in result.err


def test_a_taken_name_is_told_once(cli: Cli) -> None:
    assert cli("sim", "bcts", "--games", "10", "--dataset", "taken", "-f").code == 0
    result = cli.inside("sim", "bcts", "--dataset", "taken")
    assert result.code == 1
    assert result.err == (
        "error: there is a dataset taken already. Choose another name, or remove it\n"
    )


def test_who_leaves_a_simulation_is_told_how_to_come_back(cli: Cli, trainer: Trainer) -> None:
    def found() -> Run | None:
        runs = [run for run in trainer.list_runs() if run.simulation.dataset == "left"]
        return runs[0] if runs else None

    with cli.started("sim", "bcts", "--games", "1000000000", "--dataset", "left", "-f") as process:
        run = eventually(found, "the run")
        assert process.stderr is not None
        while "placements" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 130
    assert out == ""
    assert f"{run.id} goes on; come back with: " in err
    result = cli("stop", run.id)
    assert result.code == 0
    watched = cli("watch", run.id)
    assert watched.code == 0
    assert "stopped: stopped on request" in watched.err
    assert "dataset left: " in watched.err


def test_on_a_terminal_its_progress_is_one_line(cli: Cli, tmp_path: Path) -> None:
    if os.name != "posix":
        pytest.skip("needs a pseudo terminal")
    from support.terminal import terminal

    arguments = ("sim", "bcts", "--games", "300", "--dataset", "seen", "--follow")
    with terminal(
        "mltetris_cli", *arguments, folder=tmp_path, environment=cli.environment
    ) as screen:
        assert screen.wait() == 0
        text = screen.text
    assert "lines a game" in text
    assert "waiting for the board" not in text
    assert "dataset seen: 3,000 placements in 300 games" in text


def test_simulations_are_listed_and_shown(cli: Cli, trainer: Trainer) -> None:
    run_id = cli("sim", "bcts", "--games", "30", "--dataset", "shown").out.strip()
    in_state(trainer, run_id, "succeeded")
    table = cli.inside("ps", "--kind", "simulation").out
    (row,) = [line for line in table.splitlines() if line.startswith(run_id)]
    assert row.split()[1:5] == ["succeeded", "45.5", "200", "300"]
    assert "bcts plays for shown" in row
    details = cli.inside("show", run_id).out
    for label, text in (
        ("goal", "30 games"),
        ("player", "bcts"),
        ("dataset", "shown: 300 placements in 30 games"),
    ):
        assert any(line.startswith(label) and text in line for line in details.splitlines()), (
            details
        )
    assert "showcase" not in details
    told = cli.inside("show", run_id, "-o", "json").json
    assert told["simulation_result"]["games"] == 30


def test_a_benchmark_is_shown_with_its_players() -> None:
    from mltetris_cli.live.words import goal_words, is_paced
    from mltetris_cli.runs_view import details, table

    run = Run(
        id="bench-abc123",
        kind=run_pb2.RUN_KIND_BENCHMARK,
        state=run_pb2.RUN_STATE_RUNNING,
        benchmark=run_pb2.BenchmarkSpec(
            players=[
                run_pb2.Player(slot="bcts"),
                run_pb2.Player(checkpoint=run_pb2.RunCheckpoint(run="train-7k2m9q")),
            ],
            games=20,
        ),
        benchmark_result=benchmark_pb2.BenchmarkResult(
            players=[benchmark_pb2.PlayerResult(name="bcts", games=3, best_lines=77)]
        ),
    )
    assert goal_words(run) == "20 games each, 2 players"
    assert not is_paced(run)
    console = Console(width=120, record=True, no_color=True)
    with console.capture() as capture:
        console.print(details(run))
        console.print(table([run]))
    text = capture.get()
    assert "bcts, train-7k2m9q:best" in text
    assert "showcase" not in text
    assert "77" in text


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo terminal")
def test_a_simulation_is_watched_on_a_terminal_with_its_board(
    cli: Cli, trainer: Trainer, tmp_path: Path
) -> None:
    from support.terminal import terminal

    run = trainer.start_simulation(player="bcts", games=10**9, dataset="watched")
    environment = cli.environment
    with terminal(
        "mltetris_cli", "watch", run.id, folder=tmp_path, environment=environment
    ) as screen:
        screen.wait_for("goal: 1,000,000,000 games")
        screen.wait_for("space pause · q leave")
        screen.wait_for("at full speed")
        screen.press("m+v")  # nothing of it can be changed
        screen.press(" ")
        screen.wait_for("paused: space goes on")
        assert trainer.get_run(run.id).control == run.control
        screen.press("q")
        assert screen.wait() == 0
    trainer.stop_run(run.id)

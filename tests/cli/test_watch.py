"""Watching: as JSON lines, as text, and live on a terminal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import mltetris_client
import pytest
from mltetris_api.v1 import run_pb2
from mltetris_client import Trainer
from support.cli import Cli
from support.server import ServerProcess
from support.small import eventually, in_state, small_service

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and terminals of POSIX")


@pytest.fixture
def run(trainer: Trainer) -> str:
    started = trainer.start_training()
    in_state(trainer, started.id, "running")
    return started.id


def test_json_lines_are_whole(cli: Cli, trainer: Trainer, run: str) -> None:
    with cli.started("watch", run, "-o", "json", "--boards") as process:
        assert process.stdout is not None
        kinds: set[str] = set()
        sequences = []
        for text in process.stdout:
            line = json.loads(text)
            kinds.add(line["type"])
            if line["type"] == "metrics":
                sequences.append(line["sequence"])
            if line["type"] == "board":
                assert (len(line["cells"]), len(line["cells"][0])) == (20, 10)
            if {"run", "metrics", "episode", "board"} <= kinds and len(sequences) > 5:
                break
        trainer.stop_run(run)
        rest = [json.loads(text) for text in process.stdout]
        process.wait(timeout=30)
    sequences += [line["sequence"] for line in rest if line["type"] == "metrics"]
    assert sequences == list(range(1, len(sequences) + 1))
    assert [line["state"] for line in rest if line["type"] == "run"][-1] == "stopped"
    assert process.returncode == 0


def test_lines_without_a_terminal(cli: Cli, trainer: Trainer, run: str) -> None:
    with cli.started("watch") as process:
        assert process.stderr is not None
        assert any("placements" in line for line in process.stderr)
        trainer.stop_run(run)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert out == ""
    assert f"{run} stopped: stopped on request" in err


def test_ctrl_c_detaches_and_says_how_to_come_back(cli: Cli, trainer: Trainer, run: str) -> None:
    for output in ("table", "json"):
        with cli.started("watch", run, "-o", output) as process:
            assert process.stderr is not None and process.stdout is not None
            (process.stdout if output == "json" else process.stderr).readline()
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=30)
        assert process.returncode == 130
        assert f"mltetris watch {run}" in err
        assert trainer.get_run(run).state == run_pb2.RUN_STATE_RUNNING
    trainer.stop_run(run)


def test_a_failed_run(tmp_path: Path) -> None:
    with small_service(tmp_path / "data", habits="fail") as server:
        result = Cli(tmp_path, server.address)("train", "--follow")
        assert result.code == 1
        assert "no luck today" in result.err.splitlines()[-1]
        assert "mltetris show train-" in result.err.splitlines()[-1]
        shown = Cli(tmp_path, server.address).good("show").out
        assert "no luck today" in shown


def test_a_run_that_is_deleted_or_over(cli: Cli, trainer: Trainer, run: str) -> None:
    trainer.stop_run(run)
    result = cli("watch", run)
    assert result.code == 0 and "stopped" in result.err, result
    result = cli("watch", run, "-o", "json")
    assert result.code == 0
    assert {line["type"] for line in result.lines} == {"run", "metrics"}


def test_a_reader_that_goes_away(cli: Cli, trainer: Trainer, run: str) -> None:
    """`mltetris watch -o json | head -1` ends, and quietly."""
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "mltetris_cli", "watch", run, "-o", "json"],
        env=cli.environment,
        stdin=subprocess.DEVNULL,
        stdout=writing,
        stderr=subprocess.PIPE,
    )
    os.close(writing)
    os.read(reading, 1)
    os.close(reading)
    _, err = process.communicate(timeout=30)
    assert err == b""
    trainer.stop_run(run)


def test_the_live_view_and_its_keys(cli: Cli, trainer: Trainer, run: str) -> None:
    from support.terminal import terminal

    def state() -> int:
        return trainer.get_run(run).state

    with terminal(
        "mltetris_cli", "watch", run, folder=cli.folder, environment=cli.environment
    ) as shown:
        shown.wait_for(run)
        shown.wait_for("LINES A GAME")
        shown.wait_for("q leave")
        shown.press(" ")
        eventually(lambda: state() == run_pb2.RUN_STATE_PAUSED, "space to pause")
        shown.wait_for("paused")
        shown.press("\x1b[A")  # an arrow key is none of ours
        shown.press(" ")
        eventually(lambda: state() == run_pb2.RUN_STATE_RUNNING, "space to go on")
        shown.press("+")
        eventually(
            lambda: trainer.get_run(run).control.placements_per_second == 15, "+ to be faster"
        )
        shown.press("<")
        eventually(
            lambda: trainer.get_run(run).control.max_training_rate == 50_000, "< to slow it down"
        )
        shown.press("f")
        eventually(
            lambda: trainer.get_run(run).control.max_training_rate == 0, "f to be full speed"
        )
        shown.press("m")
        eventually(
            lambda: trainer.get_run(run).control.mode == run_pb2.RUN_MODE_HEADLESS, "m to work"
        )
        shown.press("v")
        eventually(
            lambda: trainer.get_run(run).control.view == run_pb2.RUN_VIEW_TRAINING, "v to work"
        )
        shown.press("s")
        shown.wait_for("saved as slot save-")
        shown.press("q")
        assert shown.wait() == 0
        assert "\x1b[?1049l" in shown.raw  # the terminal has its old screen back
        assert "\x1b[?25h" in shown.raw  # and its cursor
        shown.wait_for(f"watch {run}")
    assert state() == run_pb2.RUN_STATE_RUNNING
    trainer.stop_run(run)
    for slot in trainer.list_slots():
        if not slot.reference:
            trainer.delete_slot(slot.name, force=True)


def test_ctrl_c_on_a_terminal(cli: Cli, trainer: Trainer, run: str) -> None:
    from support.terminal import terminal

    with terminal(
        "mltetris_cli", "watch", run, folder=cli.folder, environment=cli.environment
    ) as shown:
        shown.wait_for("q leave")
        shown.press("\x03")
        assert shown.wait() == 130
        assert "\x1b[?25h" in shown.raw
        shown.wait_for("goes on; come back with")
    trainer.stop_run(run)


def test_the_view_survives_a_restart_of_the_server(tmp_path: Path) -> None:
    from support.terminal import terminal

    with small_service(tmp_path / "data", "--grace", "20") as server:
        cli = Cli(tmp_path, server.address)
        with mltetris_client.connect(server.address) as trainer:
            run = trainer.start_training().id
            in_state(trainer, run, "running")
            with terminal(
                "mltetris_cli", "watch", run, folder=tmp_path, environment=cli.environment
            ) as shown:
                shown.wait_for("q leave")
                server.kill()
                shown.wait_for("no connection, trying again")
                server.start()
                in_state(trainer, run, "running")
                trainer.stop_run(run)
                assert shown.wait() == 0


def test_closing_the_terminal_ends_up(tmp_path: Path) -> None:
    """The window of `mltetris up` is closed: nothing stays behind."""
    from support.left_behind import left_behind
    from support.terminal import terminal

    data = tmp_path / "data"
    cli = Cli(tmp_path)
    with terminal(
        *("support.small_cli", "up", "--listen", "127.0.0.1:0", "--data-dir", str(data)),
        folder=tmp_path,
        environment=cli.environment,
    ) as shown:
        shown.wait_for("q stop")
        shown.wait_for("running")
        assert left_behind(data)
        shown.hang_up()
        shown.process.wait(timeout=30)
        eventually(lambda: not left_behind(data), "every process to be gone")


@pytest.mark.parametrize("module", ["mltetris_cli", "support.small_cli"])
def test_the_module_runs(module: str, server: ServerProcess) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", module, "ps", "--server", server.address],
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0 and "no runs" in ended.stdout

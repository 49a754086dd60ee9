"""The whole way with a real worker: learnt, kept, played, trained further."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import mltetris_client
import pytest
from mltetris_api.v1 import run_pb2
from support.cli import Cli
from support.left_behind import left_behind
from support.server import ServerProcess
from support.small import eventually


def test_up_learns_and_what_it_learnt_is_used(alone: Cli) -> None:
    data = alone.folder / "data"
    result = alone(
        *("up", "--listen", "127.0.0.1:0", "--data-dir", data, "--seed", "1", "-o", "json"),
        timeout=170,
    )
    assert result.code == 0, result
    summary = result.lines[-1]
    assert summary["state"] == "succeeded" and summary["reason"] == "goal reached"
    assert summary["mean_lines"] >= 1000 and summary["best_lines"] >= summary["mean_lines"]
    assert summary["placements"] > 0 and 0 < summary["seconds"] <= 180
    eventually(lambda: not left_behind(data), "every process to be gone")

    with ServerProcess(data) as server:
        cli = Cli(alone.folder, server.address)
        slot = summary["slot"]
        listed = cli.good("slots", "ls", "-o", "json").json
        (own,) = (s for s in listed if not s["reference"])
        assert (own["name"], own["resumable"]) == (slot, True)
        assert own["evaluation"]["mean_lines"] == summary["mean_lines"]
        assert f"{summary['mean_lines']:,.0f}" in cli.good("ps").out
        assert "hidden_units" in cli.good("show").out

        exported = Path(cli.good("slots", "export", slot).out.strip())
        assert (alone.folder / exported).stat().st_size == _size(cli, slot, exported)
        assert cli.good("slots", "import", exported, "again").out.startswith("imported again")

        demo = cli("demo", slot, "again", "--speed", "1000", "--games", "0", "-o", "json")
        run = demo.json["id"]
        with mltetris_client.connect(server.address) as trainer:
            with trainer.stream_board(run) as boards:
                seen = next(iter(boards))
                while len(seen.frames) < 2 or not all(f.lines > 3 for f in seen.frames):
                    seen = next(iter(boards))
            assert [frame.player for frame in seen.frames] == [slot, "again"]
            # The same pieces and the same weights: the same game.
            assert cli.good("stop", run).out.startswith(run)

            before = trainer.get_slot(slot).placements
            more = cli.good(
                *("train", "--from-slot", slot, "--max-placements", "20000", "-o", "json")
            ).json["id"]
            assert cli("watch", more).code == 0
            ended = trainer.get_run(more)
            assert ended.reason == run_pb2.RUN_REASON_BUDGET_SPENT
            assert ended.metrics.placements >= before + 20_000


def _size(cli: Cli, slot: str, path: Path) -> int:
    cli.good("slots", "export", slot, path, "--overwrite")
    return (cli.folder / path).stat().st_size


@pytest.mark.skipif(os.name != "posix", reason="a terminal of POSIX")
def test_up_on_a_terminal_begins_slowly_and_plays_at_the_end(tmp_path: Path) -> None:
    from support.terminal import terminal

    data = tmp_path / "data"
    cli = Cli(tmp_path)
    with terminal(
        *("mltetris_cli", "up", "--listen", "127.0.0.1:0", "--data-dir", str(data), "--seed", "1"),
        folder=tmp_path,
        environment=cli.environment,
    ) as shown:
        shown.wait_for("slowly at first: it learns from 200 placements/s")
        shown.wait_for("showcase at 8/s")
        shown.press("f")
        shown.wait_for("Goal reached! This is how it plays")
        shown.wait_for("played by up-")
        shown.press("q")
        assert shown.wait() == 0
        text = shown.text
        assert "Goal reached: " in text and "Try next" in text
    eventually(lambda: not left_behind(data), "every process to be gone")


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_ctrl_c_keeps_what_was_learnt_so_far(alone: Cli) -> None:
    data = alone.folder / "data"
    with alone.started(
        *("up", "--listen", "127.0.0.1:0", "--data-dir", data, "--target-lines", "1e6"),
        *("-o", "json"),
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if json.loads(line)["placements"] > 0:
                break
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    summary = json.loads(out.splitlines()[-1])
    assert summary["state"] == "stopped"
    assert (data / "slots" / summary["slot"] / "policy.safetensors").exists()
    eventually(lambda: not left_behind(data), "every process to be gone")

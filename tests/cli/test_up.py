"""`mltetris up` and `serve` from start to end, with small workers; no process stays behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import mltetris_client
import pytest
from support.cli import Cli
from support.left_behind import left_behind
from support.small import eventually

posix = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """A data directory that nobody uses any more at the end."""
    yield tmp_path / "data"
    eventually(lambda: not left_behind(tmp_path / "data"), "every process to be gone")


Line = dict[str, object]


def lines_until(
    process: subprocess.Popen[str], wanted: Callable[[dict[str, object]], bool]
) -> None:
    """Reads JSON lines until one is as wanted."""
    assert process.stdout is not None
    for line in process.stdout:
        if wanted(json.loads(line)):
            return
    raise AssertionError(f"it ended: {process.stderr.read() if process.stderr else ''}")


def running(line: Line) -> bool:
    return line["state"] == "running"


def test_until_the_goal(small: Cli, data: Path) -> None:
    small.environment["MLTETRIS_SMALL_WORKER"] = "quick"
    result = small("up", "--listen", "127.0.0.1:0", "--data-dir", data, "-o", "json")
    assert result.code == 0, result
    *progress, summary = result.lines
    assert progress and {line["type"] for line in progress} == {"progress"}
    assert summary["type"] == "summary"
    assert (summary["state"], summary["reason"]) == ("succeeded", "goal reached")
    for key in ("run", "state", "placements", "seconds", "mean_lines", "best_lines", "slot"):
        assert key in summary
    assert summary["run"] == progress[0]["run"]


def test_lines_for_people(small: Cli, data: Path) -> None:
    small.environment["MLTETRIS_SMALL_WORKER"] = "quick"
    result = small("up", "--listen", "127.0.0.1:0", "--data-dir", data)
    assert result.code == 0, result
    assert "Goal reached" in result.out and "Try next" in result.out
    assert str(data) in result.out
    assert "placements" in result.err
    assert "\x1b" not in result.out + result.err


def test_a_failed_run_is_told(small: Cli, data: Path) -> None:
    small.environment["MLTETRIS_SMALL_WORKER"] = "fail"
    result = small("up", "--listen", "127.0.0.1:0", "--data-dir", data, "-o", "json")
    assert result.code == 1, result
    assert result.lines[-1]["state"] == "failed"
    last = result.err.splitlines()[-1]
    assert last.startswith("error: ") and "no luck today" in last and "worker.log" in last


@posix
def test_one_ctrl_c_keeps_the_model(small: Cli, data: Path) -> None:
    with small.started(
        "up", "--listen", "127.0.0.1:0", "--data-dir", data, "-o", "json"
    ) as process:
        lines_until(process, running)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    summary = json.loads(out.splitlines()[-1])
    assert process.returncode == 130, err
    assert (summary["type"], summary["state"]) == ("summary", "stopped")
    assert (data / "slots" / summary["slot"] / "manifest.json").exists()


@posix
def test_two_ctrl_c_end_at_once(small: Cli, data: Path) -> None:
    small.environment["MLTETRIS_SMALL_WORKER"] = "deaf"  # stopping alone would take long
    with small.started(
        "up", "--listen", "127.0.0.1:0", "--data-dir", data, "-o", "json"
    ) as process:
        lines_until(process, running)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        for line in process.stderr:
            if "stopping" in line:
                break
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "summary" not in out


@posix
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGKILL"])
def test_however_it_ends_nothing_stays(small: Cli, data: Path, name: str) -> None:
    number = getattr(signal, name)
    with small.started(
        "up", "--listen", "127.0.0.1:0", "--data-dir", data, "-o", "json"
    ) as process:
        lines_until(process, running)
        assert left_behind(data)
        process.send_signal(number)
        process.communicate(timeout=30)
        eventually(lambda: not left_behind(data), "every process to be gone")
    assert process.returncode == (-number if name == "SIGKILL" else 128 + number)
    # In order: the run was stopped by the server's end and not lost.
    with small.started(
        "serve", "--listen", "127.0.0.1:0", "--data-dir", data, "-o", "json"
    ) as process:
        assert process.stdout is not None
        address = json.loads(process.stdout.readline())["address"]
        with mltetris_client.connect(address) as trainer:
            (run,) = trainer.list_runs()
            assert mltetris_client.is_final(run)
            assert [info for info in run.checkpoints if info.placements]
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == 0


@posix
def test_keep_goes_on_serving(small: Cli, data: Path) -> None:
    small.environment["MLTETRIS_SMALL_WORKER"] = "quick"
    with small.started(
        "up", "--listen", "127.0.0.1:0", "--data-dir", data, "--keep", "-o", "json"
    ) as process:
        lines_until(process, lambda line: line["type"] == "summary")
        assert process.stderr is not None
        address = next(line.split()[2] for line in process.stderr if line.startswith("serving on "))
        with mltetris_client.connect(address) as trainer:
            assert trainer.list_runs()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == 0


def test_a_taken_default_port_is_avoided(small: Cli, data: Path) -> None:
    small.environment["MLTETRIS_SMALL_WORKER"] = "quick"
    with socket.socket() as taken:
        try:
            taken.bind(("127.0.0.1", 50051))
            taken.listen()
        except OSError:
            pass  # somebody else has it: as good
        result = small("up", "--data-dir", data)
    assert result.code == 0, result
    assert "port 50051 is taken" in result.err


def test_a_server_that_dies_is_told(small: Cli, data: Path) -> None:
    with small.started(
        "up", "--listen", "127.0.0.1:0", "--data-dir", data, "-o", "json"
    ) as process:
        lines_until(process, running)
        (server,) = [
            int(line.split(":")[0])
            for line in left_behind(data)
            if "support.small_service" in line and "guard" not in line
        ]
        os.kill(server, signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    last = err.splitlines()[-1]
    assert last.startswith("error: ") and "server ended" in last, err


def test_without_the_server_packages(alone: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "torch" else real(name)
    )
    for command in ("up", "serve"):
        result = alone.inside(command)
        assert result.code == 1, result
        assert "torch" in result.err and 'pip install "mltetris[server]"' in result.err


def test_serve_says_when_it_is_ready(small: Cli, data: Path) -> None:
    with small.started("serve", "--listen", "127.0.0.1:0", "--data-dir", data) as process:
        assert process.stderr is not None
        ready = next(line for line in process.stderr if line.startswith("serving on "))
        assert str(data) in ready
        with mltetris_client.connect(ready.split()[2].rstrip(",")) as trainer:
            trainer.get_server_info()
        if sys.platform != "win32":
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)
            assert process.returncode == 0

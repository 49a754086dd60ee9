"""The worker's small programs: what they refuse, and that compiling ahead is enough."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.duration_pb2 import Duration
from mltetris_api.v1.run_pb2 import Budget, DemoSpec, EvaluationSpec, TrainingSpec
from mltetris_server.worker.settings import ADDRESS_VARIABLE, RUN_VARIABLE, SECRET_VARIABLE
from worker.conftest import Serve, StartWorker
from worker.models import keep_model


def run_module(
    module: str, *, stdin: bytes = b"", **environment: str
) -> subprocess.CompletedProcess[bytes]:
    names = {ADDRESS_VARIABLE, RUN_VARIABLE, SECRET_VARIABLE}
    clean = {name: value for name, value in os.environ.items() if name not in names}
    return subprocess.run(
        [sys.executable, "-m", module],
        input=stdin,
        env=clean | environment,
        capture_output=True,
        check=False,
    )


def test_a_worker_started_by_hand_says_that_it_is_none() -> None:
    result = run_module("mltetris_server.worker")
    assert result.returncode == 2
    (line,) = result.stderr.decode().splitlines()
    assert line.startswith("error: MLTETRIS_WORKER_ADDRESS is not set")


def test_what_is_no_bundle_is_refused_in_one_line() -> None:
    result = run_module("mltetris_server.worker.export", stdin=b"no zip at all")
    assert result.returncode == 1
    assert result.stdout == b""
    (line,) = result.stderr.decode().splitlines()
    assert line.startswith("error: ")


def test_compiling_ahead_needs_a_folder() -> None:
    nowhere = str(Path(__file__) / "below-a-file")
    result = run_module("mltetris_server.worker.warm", NUMBA_CACHE_DIR=nowhere)
    assert result.returncode == 1
    assert "error: there is no folder" in result.stderr.decode()


@pytest.mark.slow
def test_after_compiling_ahead_no_run_compiles(
    serve: Serve, start_worker: StartWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    result = run_module("mltetris_server.worker.warm", NUMBA_CACHE_DIR=str(cache))
    assert result.returncode == 0, result.stderr
    compiled = sorted(cache.rglob("*.nbc"))
    assert compiled
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(cache))
    evaluation = EvaluationSpec(period=Duration(nanos=100_000_000))
    training = serve(
        training=TrainingSpec(budget=Budget(max_placements=50_000), evaluation=evaluation)
    )
    demo = serve(demo=DemoSpec(slots=["one"], games=1))
    keep_model(demo, "one", 1)
    demo.welcome.control.placements_per_second = 1_000
    for server in (training, demo):
        server.welcome.watch.max_fps = 30
        server.welcome.watch.include_values = True
        start_worker(server)
        server.await_events("finished")
        assert server.events("frames")
    assert sorted(cache.rglob("*.nbc")) == compiled

"""Trainings whose worker is killed, and what the next one makes of what is left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mltetris_client
import pytest
from mltetris_api.v1 import run_pb2, trainer_pb2
from mltetris_client import Trainer
from mltetris_client.names import AlgorithmName
from support.server import ServerProcess


def until(trainer: Trainer, run: str, condition: Callable[[run_pb2.Run], bool]) -> run_pb2.Run:
    with trainer.watch_runs(run) as events:
        for event in events:
            if event.HasField("run") and condition(event.run):
                return event.run
    raise AssertionError("the stream of runs ended")


def start(trainer: Trainer, **options: Any) -> run_pb2.Run:
    spec = mltetris_client.specs.training(seed=1, mode="headless", **options)
    request = trainer_pb2.StartRunRequest(training=spec)
    request.restart_policy.max_restarts = 3
    request.restart_policy.backoff.FromMilliseconds(10)
    return trainer._link.trainer.StartRun(request, timeout=30).run


@pytest.mark.parametrize("algorithm", ["td", "dqn", "ppo", "cem"])
def test_it_learns_on_from_its_newest_checkpoint(tmp_path: Path, algorithm: AlgorithmName) -> None:
    with (
        ServerProcess(tmp_path / "data") as server,
        mltetris_client.connect(server.address) as trainer,
    ):
        run = start(
            trainer,
            algorithm=algorithm,
            checkpoint_period=0.1,
            evaluation_games=2,
            evaluation_max_lines=50,
            max_training_rate=20_000,
        )
        if algorithm != "cem":
            until(trainer, run.id, lambda run: run.state == run_pb2.RUN_STATE_RUNNING)
            trainer.update_run(run.id, learning_rate=0.000123)
        until(trainer, run.id, lambda run: len(run.checkpoints) == 2)
        (worker,) = server.workers()
        worker.kill()
        again = until(
            trainer,
            run.id,
            lambda run: run.restarts == 1 and run.state == run_pb2.RUN_STATE_RUNNING,
        )
        later = until(
            trainer, run.id, lambda run: run.metrics.sequence > again.metrics.sequence + 3
        )
        best = {info.kind: info for info in later.checkpoints}[run_pb2.CHECKPOINT_KIND_BEST]
        stopped = trainer.stop_run(run.id)
        history = list(trainer.stream_metrics(run.id))
    assert stopped.state == run_pb2.RUN_STATE_STOPPED
    assert [point.sequence for point in history] == list(range(1, len(history) + 1))
    told = [
        k for k, point in enumerate(history) for change in point.changes if "restarted" in change
    ]
    assert len(told) == 1
    before, after = history[: told[0]], history[told[0] :]
    (words,) = [change for change in after[0].changes if "restarted" in change]
    source = int(words.split()[2].replace(",", ""))
    assert 0 < source <= before[-1].placements + 20_000
    assert after[0].placements >= source
    assert after[-1].placements > source
    elapsed = [point.elapsed.ToNanoseconds() for point in history]
    assert elapsed == sorted(elapsed)
    if algorithm != "cem":
        assert after[-1].learning_rate == pytest.approx(0.000123)
    means = [p.evaluation.mean_lines for p in history if p.HasField("evaluation")]
    assert best.evaluation.mean_lines <= max(means)


def test_its_budget_is_of_the_whole_run(tmp_path: Path) -> None:
    with (
        ServerProcess(tmp_path / "data") as server,
        mltetris_client.connect(server.address) as trainer,
    ):
        first = start(trainer, max_placements=50_000)
        source = until(trainer, first.id, lambda run: run.state == run_pb2.RUN_STATE_SUCCEEDED)
        run = start(
            trainer,
            from_run=f"{first.id}:final",
            max_placements=60_000,
            max_training_rate=30_000,
            checkpoint_period=0.1,
        )
        going = until(trainer, run.id, lambda run: any(i.kind == 2 for i in run.checkpoints))
        assert going.first_placements == source.metrics.placements
        (worker,) = server.workers()
        worker.kill()
        done = until(trainer, run.id, lambda run: run.state in (6, 7, 8))
    assert done.state == run_pb2.RUN_STATE_SUCCEEDED
    assert done.restarts == 1
    made = done.metrics.placements - source.metrics.placements
    assert 60_000 <= made < 70_000


def test_a_run_without_a_checkpoint_begins_again(tmp_path: Path) -> None:
    with (
        ServerProcess(tmp_path / "data") as server,
        mltetris_client.connect(server.address) as trainer,
    ):
        run = start(
            trainer, checkpoint_period=3600, evaluation_period=3600, max_training_rate=10_000
        )
        before = until(trainer, run.id, lambda run: run.metrics.placements > 5_000)
        (worker,) = server.workers()
        worker.kill()
        again = until(trainer, run.id, lambda run: run.restarts == 1 and run.state == 3)
        later = until(trainer, run.id, lambda run: run.metrics.sequence > again.metrics.sequence)
        assert later.metrics.placements < before.metrics.placements
        trainer.stop_run(run.id)

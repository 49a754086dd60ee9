"""A training that was stopped, or lost its server and its worker, learns on as if it had not been.

The same training is done twice by real servers: once in one go, and once in three pieces, cut by
StopRun and by the death of everything. What they leave is the same, bit for bit; and every metric
point that either has stored lies on the one curve that the learner draws when it learns by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mltetris_client
import psutil
import pytest
from mltetris_api.v1 import run_pb2
from mltetris_api.worker.v1.worker_pb2 import Welcome
from mltetris_client import Trainer
from mltetris_client.names import AlgorithmName
from mltetris_server.learning.checkpoint import dump
from mltetris_server.worker.training import prepare
from stable_baselines3.common.callbacks import BaseCallback
from support.server import ServerProcess
from support.small import until

PATIENCE_S = 120.0
SEED = 7
PIECE = {"td": 150_000, "dqn": 10_000, "ppo": 8_000, "cem": 150_000}
"""Placements between two cuts, at least."""
STATE = ("policy.safetensors", "training.safetensors")

Facts = tuple[int, float | None, float | None, float | None, float | None]


class Curve(BaseCallback):
    """What a learner can say of itself at each of its turns, by its placements."""

    def __init__(self, last: int) -> None:
        super().__init__()
        self.points: dict[int, Facts] = {}
        self._last = last

    def _on_step(self) -> bool:
        agent: Any = self.model
        metrics = agent.metrics
        self.points[agent.num_timesteps] = (
            metrics.episodes,
            metrics.mean_reward,
            metrics.mean_lines,
            agent.exploration,
            agent.current_learning_rate,
        )
        return bool(agent.num_timesteps < self._last)


def facts(point: run_pb2.MetricPoint) -> Facts:
    def of(name: str) -> float | None:
        return getattr(point, name) if point.HasField(name) else None

    return (
        point.episodes,
        of("mean_reward"),
        of("mean_lines"),
        of("exploration"),
        of("learning_rate"),
    )


def options(algorithm: AlgorithmName) -> dict[str, Any]:
    """As quick as it gets; evaluations short enough to be finished at the end, whatever else."""
    return {
        "algorithm": algorithm,
        "mode": "headless",
        "training_height": 8,
        "evaluation_games": 3,
        "evaluation_max_lines": 30,
        "checkpoint_period": 0.1,
    }


@dataclass
class Done:
    """What a training has come to."""

    run: run_pb2.Run
    points: list[run_pb2.MetricPoint]
    files: dict[str, bytes]


def result(server: ServerProcess, trainer: Trainer, run: run_pb2.Run) -> Done:
    versions = sorted((server.data_dir / "runs" / run.id / "final").iterdir())
    files = {name: (versions[-1] / name).read_bytes() for name in STATE}
    return Done(run, list(trainer.stream_metrics(run.id)), files)


def succeeded(run: run_pb2.Run) -> bool:
    assert run.state not in (run_pb2.RUN_STATE_FAILED, run_pb2.RUN_STATE_STOPPED), run
    return run.state == run_pb2.RUN_STATE_SUCCEEDED


def in_pieces(server: ServerProcess, trainer: Trainer, algorithm: AlgorithmName) -> list[Done]:
    """A training, cut by StopRun, gone on with, cut by the death of everything, and finished."""
    piece, asked = PIECE[algorithm], options(algorithm)
    first = trainer.start_training(seed=SEED, **asked)
    until(trainer, first.id, lambda run: run.metrics.placements > piece)
    stopped = result(server, trainer, trainer.stop_run(first.id))
    second = trainer.start_training(
        from_run=f"{first.id}:final", restarts=3, restart_backoff=0.01, **asked
    )
    begun = stopped.run.metrics.placements
    kept = until(
        trainer,
        second.id,
        lambda run: any(
            info.kind == run_pb2.CHECKPOINT_KIND_LATEST and info.placements > begun + piece
            for info in run.checkpoints
        ),
    )
    workers = server.workers()
    assert server.process is not None
    server.process.kill()
    for worker in workers:
        worker.kill()
    server.kill()
    psutil.wait_procs(workers, timeout=PATIENCE_S)
    server.start()
    again = until(
        trainer,
        second.id,
        lambda run: (
            run.restarts == 1
            and run.state == run_pb2.RUN_STATE_RUNNING
            and run.metrics.sequence > kept.metrics.sequence
        ),
    )
    budget = run_pb2.Budget(max_placements=again.metrics.placements - begun + piece)
    trainer.update_run(second.id, budget=budget)
    return [stopped, result(server, trainer, until(trainer, second.id, succeeded))]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "algorithm",
    ["td", *(pytest.param(name, marks=pytest.mark.slow) for name in ("dqn", "ppo", "cem"))],
)
def test_a_training_in_pieces_is_the_same_training(
    tmp_path: Path, algorithm: AlgorithmName
) -> None:
    with (
        ServerProcess(tmp_path / "data") as server,
        mltetris_client.connect(server.address) as trainer,
    ):
        stopped, finished = in_pieces(server, trainer, algorithm)
        placements = finished.run.training.budget.max_placements + stopped.run.metrics.placements
        whole = trainer.start_training(seed=SEED, max_placements=placements, **options(algorithm))
        one_go = result(server, trainer, until(trainer, whole.id, succeeded))
    assert one_go.run.metrics.placements == finished.run.metrics.placements >= placements
    assert finished.files == one_go.files, "everything a learner is: weights, games, memory, counts"
    assert finished.run.training.seed == SEED
    last, same = finished.points[-1], one_go.points[-1]
    assert facts(last) == facts(same)
    for point in (last, same):
        point.evaluation.ClearField("standard_error")
    finals = [
        {info.kind: info for info in done.run.checkpoints}[run_pb2.CHECKPOINT_KIND_FINAL]
        for done in (finished, one_go)
    ]
    # Where the last examination was finished in its time, on the same games with the same weights.
    if all(info.HasField("evaluation") for info in finals):
        assert finals[0].evaluation == finals[1].evaluation

    curve = Curve(placements)
    _, agent = prepare(Welcome(training=stopped.run.training, control=stopped.run.control), None)
    agent.learn(10**15, curve, reset_num_timesteps=False)
    assert dump(agent)[1] == one_go.files
    compared = 0
    for done in (stopped, finished, one_go):
        for point in done.points:
            if point.placements in curve.points:
                assert facts(point) == curve.points[point.placements]
                compared += 1
            else:
                # Before the first turn there is nothing to compare with.
                assert point.placements == 0, point
        best = [point.best_lines for point in done.points if point.HasField("best_lines")]
        assert best == sorted(best), "also after the worker was lost"
    assert compared >= 10
    print(f"{algorithm}: {placements:,} placements in three pieces, {compared} points compared")

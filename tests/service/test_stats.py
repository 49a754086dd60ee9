"""The dashboard's totals over the wire."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import mltetris_client
import pytest
from mltetris_api.v1 import run_pb2
from mltetris_client import Trainer
from mltetris_server.storage.disk_use import disk_use
from support.server import ServerProcess
from support.small import in_state, small_service


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with small_service(tmp_path / "data", "--max-runs", "1", habits="quick") as server:
        yield server


def test_an_empty_server_has_the_totals_of_one(server: ServerProcess) -> None:
    with mltetris_client.connect(server.address) as trainer:
        stats = trainer.get_stats()
    assert list(stats.runs) == []
    assert (stats.placements, stats.games, stats.metric_points) == (0, 0, 0)
    assert (stats.slots, stats.datasets, stats.active_slot) == (0, 0, "")
    assert not stats.HasField("best_slot")
    assert stats.disk.total_bytes >= stats.disk.history_bytes > 0
    assert 0 < stats.uptime.ToNanoseconds() < 60e9
    assert stats.start_time.seconds <= time.time() < stats.start_time.seconds + 60


def test_totals_are_of_everything_ever_played_also_after_a_restart(server: ServerProcess) -> None:
    with mltetris_client.connect(server.address) as trainer:
        made = [_ended(trainer) for _ in range(3)]
        placements = sum(run.metrics.placements for run in made)
        games = sum(run.metrics.episodes for run in made)
        points = sum(run.metrics.sequence for run in made)
        trainer.save_slot("mine", slot="bcts")
        trainer.activate_slot("mine")
        stats = trainer.get_stats()
        assert [(c.kind, c.state, c.count) for c in stats.runs] == [
            (run_pb2.RUN_KIND_TRAINING, run_pb2.RUN_STATE_SUCCEEDED, 3)
        ]
        assert (stats.placements, stats.games, stats.metric_points) == (placements, games, points)
        assert (stats.slots, stats.active_slot) == (1, "mine")
        assert stats.best_slot.name == ("mine" if stats.best_slot.evaluation.games else "")
        trainer.delete_run(made[1].id)
    server.restart()
    with mltetris_client.connect(server.address) as trainer:
        stats = trainer.get_stats()
        assert (stats.placements, stats.games) == (placements, games)
        assert stats.metric_points == points - made[1].metrics.sequence
        last = _ended(trainer)
        assert trainer.get_stats().placements == placements + last.metrics.placements
        disk = stats.disk
        parts = disk.history_bytes + disk.runs_bytes + disk.slots_bytes + disk.datasets_bytes
        assert disk.total_bytes >= parts > 0
        assert min(disk.history_bytes, disk.slots_bytes) > 0


def _ended(trainer: Trainer) -> run_pb2.Run:
    return in_state(trainer, trainer.start_training().id, "succeeded")


def test_a_viewer_may_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = small_service(tmp_path / "data")
    server.environment["MLTETRIS_OPERATOR_TOKEN"] = "o" * 32
    server.environment["MLTETRIS_VIEWER_TOKEN"] = "v" * 32
    monkeypatch.setenv("MLTETRIS_TOKEN", "v" * 32)
    with server, mltetris_client.connect(server.address) as trainer:
        assert trainer.get_stats().disk.total_bytes


def test_what_is_used_on_disk(tmp_path: Path) -> None:
    for name, size in (
        ("mltetris.db", 100),
        ("mltetris.db-wal", 20),
        ("reserve", 3),
        ("runs/a/latest/policy", 4000),
        ("slots/b/policy", 50_000),
        ("datasets/c/data/main.hdf5", 600_000),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))
    (tmp_path / "slots" / "link").symlink_to(tmp_path / "mltetris.db")
    use = disk_use(tmp_path)
    assert use.history_bytes == 120
    assert (use.runs_bytes, use.slots_bytes, use.datasets_bytes) == (4000, 50_000, 600_000)
    assert use.total_bytes == 654_123

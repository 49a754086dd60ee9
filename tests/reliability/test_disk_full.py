"""A disk that fills up while runs write to it, and has room again later."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import mltetris_client
import pytest
from mltetris_api.v1 import run_pb2
from mltetris_api.v1.run_pb2 import RunReason
from mltetris_client import MlTetrisError
from mltetris_server.storage.space import RESERVE_BYTES, Reserve
from support.server import ServerProcess
from support.small import until
from support.small_disk import fill, small_disk

PATIENCE_S = 60.0
RUNNING, PAUSED = run_pb2.RUN_STATE_RUNNING, run_pb2.RUN_STATE_PAUSED


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", 40) as folder:
        yield folder


def held(run: run_pb2.Run) -> bool:
    return run.state == PAUSED and run.reason == RunReason.RUN_REASON_DISK_FULL


def test_runs_are_paused_and_go_on_when_there_is_room(disk: Path) -> None:
    data = disk / "data"
    with ServerProcess(data) as server, mltetris_client.connect(server.address) as trainer:
        run = trainer.start_training(
            seed=1,
            mode="headless",
            max_training_rate=20_000,
            checkpoint_period=0.2,
            evaluation_games=2,
            evaluation_max_lines=50,
        )
        other = trainer.start_training(seed=2, mode="headless", max_training_rate=20_000)
        for going in (run, other):
            until(trainer, going.id, lambda run: run.metrics.sequence > 3)
        trainer.pause_run(other.id)
        until(trainer, run.id, lambda run: len(run.checkpoints) == 2)
        with trainer.watch_runs() as events:
            stream = iter(events)
            next(event for event in stream if event.caught_up)
            filler = fill(disk)
            until(trainer, run.id, held)
            notices = (event.notice.text for event in stream if event.HasField("notice"))
            assert any("disk is full" in text for text in notices)
            # What the reserve gave, too.
            fill(disk)
            with pytest.raises(MlTetrisError, match="free some space") as caught:
                trainer.save_slot("mine", run=run.id)
            assert caught.value.code == grpc.StatusCode.RESOURCE_EXHAUSTED
            # Looking goes on, and so does whoever paused a run himself.
            assert trainer.get_run(other.id).reason == RunReason.RUN_REASON_UNSPECIFIED
            assert len(trainer.list_runs()) == 2
            filler.unlink()
            again = until(trainer, run.id, lambda run: run.state == RUNNING)
            assert any("space on the server's disk again" in text for text in notices)
        assert trainer.get_run(other.id).state == PAUSED
        until(trainer, run.id, lambda run: run.metrics.sequence > again.metrics.sequence + 3)
        saved = trainer.save_slot("mine", run=run.id, checkpoint="latest")
        assert saved.placements > 0
        trainer.export_slot("mine", disk / "mine.slot.zip")
        trainer.stop_run(run.id)
        points = [point.sequence for point in trainer.stream_metrics(run.id)]
        assert points == list(range(1, len(points) + 1))
    with server, mltetris_client.connect(server.address) as trainer:
        assert {made.id for made in trainer.list_runs()} == {run.id, other.id}
        assert trainer.get_slot("mine").placements == saved.placements


def test_a_caller_who_pauses_a_held_run_keeps_it_paused(disk: Path) -> None:
    with ServerProcess(disk / "data") as server, mltetris_client.connect(server.address) as trainer:
        run = trainer.start_training(
            seed=1, mode="headless", max_training_rate=20_000, checkpoint_period=0.2
        )
        until(trainer, run.id, lambda run: run.metrics.sequence > 3)
        filler = fill(disk)
        until(trainer, run.id, held)
        paused = trainer.pause_run(run.id)
        assert paused.reason == RunReason.RUN_REASON_UNSPECIFIED
        filler.unlink()
        reserve = Reserve(disk / "data")
        end = time.monotonic() + PATIENCE_S
        while not reserve.held:
            assert time.monotonic() < end
            time.sleep(0.05)
        assert trainer.get_run(run.id).state == PAUSED
        trainer.resume_run(run.id)
        until(trainer, run.id, lambda run: run.metrics.sequence > paused.metrics.sequence)


def test_a_server_that_ends_on_a_full_disk_goes_on_later(disk: Path) -> None:
    with ServerProcess(disk / "data") as server, mltetris_client.connect(server.address) as trainer:
        run = trainer.start_training(
            seed=1, mode="headless", max_training_rate=20_000, checkpoint_period=0.2
        )
        until(trainer, run.id, lambda run: run.metrics.sequence > 3)
        filler = fill(disk)
        until(trainer, run.id, held)
        server.kill()
        server.start()
        assert held(until(trainer, run.id, lambda run: True))
        filler.unlink()
        before = until(trainer, run.id, lambda run: run.state == RUNNING)
        until(trainer, run.id, lambda run: run.metrics.sequence > before.metrics.sequence)


def test_a_reserve_is_taken_where_it_can_be_afforded(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 3 * RESERVE_BYTES // 2**20) as folder:
        reserve = Reserve(folder)
        assert reserve.hold()
        assert reserve.held
        filler = fill(folder)
        assert reserve.hold(), "it is there already"
        assert reserve.give_up()
        assert not reserve.give_up()
        (folder / "state").write_bytes(bytes(RESERVE_BYTES // 2))
        assert not reserve.hold(), "what was given up is not taken back at once"
        filler.unlink()
        assert reserve.hold()

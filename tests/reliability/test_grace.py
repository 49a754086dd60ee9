"""Workers whose server stays away for longer than they wait."""

from __future__ import annotations

from pathlib import Path

import mltetris_client
import psutil
import pytest
from mltetris_api.v1 import run_pb2
from mltetris_api.v1.run_pb2 import RunReason
from mltetris_client import Trainer
from support.server import ServerProcess
from support.small import until

PATIENCE_S = 60.0
LATEST = run_pb2.CHECKPOINT_KIND_LATEST


def leave(server: ServerProcess, trainer: Trainer, restarts: int) -> run_pb2.Run:
    """A run whose server was killed and whose worker has left: as it was last seen."""
    run = trainer.start_training(
        seed=1,
        mode="headless",
        max_training_rate=20_000,
        checkpoint_period=3600,
        restarts=restarts,
        restart_backoff=0.01,
    )
    seen = until(trainer, run.id, lambda run: run.metrics.sequence > 3)
    workers = server.workers()
    server.kill()
    gone, alive = psutil.wait_procs(workers, timeout=PATIENCE_S)
    assert len(gone) == 1
    assert not alive
    return seen


def spooled(server: ServerProcess, run: str) -> Path:
    return server.data_dir / "runs" / run / "spool" / "latest.checkpoint"


@pytest.mark.parametrize("restarts", [0, 1])
def test_they_keep_a_last_checkpoint_and_the_next_server_takes_it_in(
    tmp_path: Path, restarts: int
) -> None:
    with (
        ServerProcess(tmp_path / "data", "--grace", "1") as server,
        mltetris_client.connect(server.address) as trainer,
    ):
        run = leave(server, trainer, restarts)
        assert spooled(server, run.id).exists()
        server.start()
        if restarts:
            again = until(trainer, run.id, lambda run: run.state == run_pb2.RUN_STATE_RUNNING)
            assert again.restarts == 1
            later = until(
                trainer, run.id, lambda run: run.metrics.sequence > again.metrics.sequence
            )
            trainer.stop_run(run.id)
            history = list(trainer.stream_metrics(run.id))
            assert [point.sequence for point in history] == list(range(1, len(history) + 1))
            (words,) = [w for p in history for w in p.changes if "restarted" in w]
            assert words != "restarted from 0 placements"
        else:
            later = until(trainer, run.id, lambda run: run.state == run_pb2.RUN_STATE_FAILED)
            assert later.reason == RunReason.RUN_REASON_SERVER_RESTARTED
        kept = {info.kind: info for info in later.checkpoints}[LATEST]
        assert kept.placements > run.metrics.placements
        assert not spooled(server, run.id).parent.exists()
        slot = trainer.save_slot("mine", run=run.id, checkpoint="latest")
        assert slot.placements >= kept.placements


def test_a_damaged_one_is_passed_over(tmp_path: Path) -> None:
    with (
        ServerProcess(tmp_path / "data", "--grace", "1") as server,
        mltetris_client.connect(server.address) as trainer,
    ):
        run = leave(server, trainer, 0)
        path = spooled(server, run.id)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        server.start()
        failed = until(trainer, run.id, lambda run: run.state == run_pb2.RUN_STATE_FAILED)
        assert LATEST not in {info.kind for info in failed.checkpoints}
        assert "spooled checkpoint is damaged" in server.log_path.read_text()

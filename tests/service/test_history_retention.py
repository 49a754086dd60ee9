"""A server that keeps little: its file stays small, and whoever watches misses nothing live."""

from __future__ import annotations

from pathlib import Path

import mltetris_client
import pytest
from mltetris_client import Trainer
from support.server import ServerProcess
from support.small import eventually, small_service

KEPT = 1000


def stored(trainer: Trainer) -> int:
    return trainer.get_stats().metric_points


@pytest.mark.slow
def test_a_watcher_who_comes_back_after_a_thinning_goes_on(tmp_path: Path) -> None:
    """Half a minute of 50 points a second."""
    flags = ("--max-runs", "1", "--keep-points-per-run", str(KEPT))
    with (
        small_service(tmp_path / "data", *flags) as server,
        mltetris_client.connect(server.address) as trainer,
    ):
        run = trainer.start_training().id
        watcher = iter(trainer.stream_metrics(run))
        seen = [next(watcher).sequence for _ in range(200)]

        def thinned() -> bool:
            last = trainer.get_run(run).metrics.sequence
            return last > 1200 and stored(trainer) < last

        for _ in range(4):
            if thinned():
                break
            try:
                eventually(thinned, "points to be thinned")
            except AssertionError:
                continue
        assert thinned()
        # Who was there from the beginning, and was slow.
        seen += [next(watcher).sequence for _ in range(400)]
        assert seen == sorted(set(seen))
        # Who comes back, and who comes late.
        for after in (0, 150, seen[-1]):
            again = [
                point.sequence
                for point in trainer.stream_metrics(run, after_sequence=after).history()
            ]
            assert again == sorted(set(again))
            assert again[0] > after
            newest = again[-400:]
            assert newest == list(range(newest[0], newest[0] + len(newest)))
        points = trainer.get_metric_history(run).points
        assert points[0].sequence == 1
        trainer.stop_run(run)
        ended = [point.sequence for point in trainer.stream_metrics(run)]
        assert ended[-1] == trainer.get_run(run).metrics.sequence


@pytest.mark.parametrize("flag", ["points-per-run", "points", "episodes-per-run"])
@pytest.mark.parametrize("value", ["0", "-1", "much", "1e4"])
def test_a_limit_that_is_none_is_refused(tmp_path: Path, flag: str, value: str) -> None:
    server = ServerProcess(tmp_path / "data", f"--keep-{flag}", value)
    try:
        with pytest.raises(RuntimeError, match="is not a number from"):
            server.start()
    finally:
        server.close()

"""From StartRun to a mean of 1,000 lines, everything in it: a new process, its imports, learning,
examining; compiled code is in the cache, as after every set-up, or not yet."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import mltetris_client
from support.server import ServerProcess

GOAL = 1_000


def seconds_to_goal(seed: int, *, compiled: bool = True) -> float:
    """Seconds on the wall from asking for a training to its goal, on a server that is up.

    `compiled`: whether there is compiled code in the cache; else the run begins with making it.
    """
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as cache:
        server = ServerProcess(Path(folder))
        if not compiled:
            server.environment["NUMBA_CACHE_DIR"] = cache
        with server:
            return _train(server.address, seed)


def _train(address: str, seed: int) -> float:
    with mltetris_client.connect(address) as trainer:
        begin = time.perf_counter()
        run = trainer.start_training(seed=seed, target_lines=GOAL, mode="headless")
        for point in trainer.stream_metrics(run.id):
            if point.evaluation.mean_lines >= GOAL:
                return time.perf_counter() - begin
    raise RuntimeError(f"{run.id} ended without reaching its goal")

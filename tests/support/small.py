"""Servers with small workers for tests of clients, and waiting for what they do."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from mltetris_api.v1 import run_pb2
from mltetris_client import Run, Trainer, name_of

from support.server import ServerProcess

_Value = TypeVar("_Value")
TESTS = Path(__file__).resolve().parents[1]
PATIENCE_S = 30.0


def small_service(
    data_dir: Path, *arguments: str, habits: str = "", module: str = "support.small_service"
) -> ServerProcess:
    """A server whose workers have the given habits; see `support.small_worker`."""
    server = ServerProcess(data_dir, *arguments, module=module)
    path = server.environment.get("PYTHONPATH", "")
    server.environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(TESTS), path)))
    server.environment["MLTETRIS_SMALL_WORKER"] = habits
    return server


def eventually(look: Callable[[], _Value | None], what: str) -> _Value:
    """Looks until there is something true to see, and returns it."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited {PATIENCE_S:.0f} s for {what}")


def until(
    trainer: Trainer, run: str, condition: Callable[[Run], bool], patience_s: float = 120.0
) -> Run:
    """Waits until a run is as `condition` wants it and returns it."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        now = trainer.get_run(run)
        if condition(now):
            return now
        time.sleep(0.02)
    raise AssertionError(f"it never came to that: {trainer.get_run(run)}")


def in_state(trainer: Trainer, run: str, *states: str) -> Run:
    """Waits until a run is in one of the states and returns it."""

    def look() -> Run | None:
        found = trainer.get_run(run)
        return found if name_of(run_pb2.RunState, found.state) in states else None

    return eventually(look, f"run {run} to be {' or '.join(states)}")

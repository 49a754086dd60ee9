"""The life of a run: its states and the only ways between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

from mltetris_api.v1 import run_pb2
from mltetris_api.v1.run_pb2 import RunState

from mltetris_server.errors import WrongState

State: TypeAlias = run_pb2.RunState.ValueType

QUEUED: Final = RunState.RUN_STATE_QUEUED
STARTING: Final = RunState.RUN_STATE_STARTING
RUNNING: Final = RunState.RUN_STATE_RUNNING
PAUSED: Final = RunState.RUN_STATE_PAUSED
STOPPING: Final = RunState.RUN_STATE_STOPPING
SUCCEEDED: Final = RunState.RUN_STATE_SUCCEEDED
STOPPED: Final = RunState.RUN_STATE_STOPPED
FAILED: Final = RunState.RUN_STATE_FAILED

TRANSITIONS: Final[Mapping[State, frozenset[State]]] = {
    QUEUED: frozenset({STARTING, STOPPED}),
    # STARTING again: a run that is restarted after its worker was lost.
    STARTING: frozenset({STARTING, RUNNING, PAUSED, STOPPED, FAILED}),
    RUNNING: frozenset({STARTING, PAUSED, STOPPING, SUCCEEDED, STOPPED, FAILED}),
    PAUSED: frozenset({STARTING, RUNNING, STOPPING, SUCCEEDED, STOPPED, FAILED}),
    # SUCCEEDED: the goal was reached in the moment somebody said stop.
    STOPPING: frozenset({SUCCEEDED, STOPPED, FAILED}),
    SUCCEEDED: frozenset(),
    STOPPED: frozenset(),
    FAILED: frozenset(),
}
"""From each state to those that may follow it. A final state has none."""

FINAL: Final = frozenset(state for state, following in TRANSITIONS.items() if not following)
"""States a run never leaves."""

LIVE: Final = frozenset(TRANSITIONS) - FINAL - {QUEUED}
"""States in which a run takes one of the server's places."""


def name(state: State) -> str:
    """Returns the state as people read it, e.g. `RUNNING`."""
    return RunState.Name(state).removeprefix("RUN_STATE_")


def check(run: str, old: State, new: State) -> None:
    """Raises WrongState unless run `run` may go from `old` to `new`."""
    if new not in TRANSITIONS[old]:
        raise WrongState(f"run {run} is {name(old)}: it cannot become {name(new)}")

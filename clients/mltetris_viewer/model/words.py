"""Numbers, times and states in words: one wording for the whole window."""

from __future__ import annotations

import math
from collections.abc import Callable

from mltetris_api.v1 import run_pb2

#: How a number is put in words.
Wording = Callable[[float], str]

#: States in which the server takes pause, speed and mode.
STEERABLE_STATES = frozenset({run_pb2.RUN_STATE_RUNNING, run_pb2.RUN_STATE_PAUSED})

_REASONS = {
    run_pb2.RUN_REASON_GOAL_REACHED: "the goal was reached",
    run_pb2.RUN_REASON_BUDGET_SPENT: "the budget is spent",
    run_pb2.RUN_REASON_STOPPED_BY_CALLER: "somebody stopped it",
    run_pb2.RUN_REASON_SERVER_SHUTDOWN: "the server was shut down",
    run_pb2.RUN_REASON_WORKER_DIED: "its worker process died",
    run_pb2.RUN_REASON_WORKER_ERROR: "its worker met an error",
    run_pb2.RUN_REASON_START_FAILED: "its worker did not start",
    run_pb2.RUN_REASON_SERVER_RESTARTED: "its worker did not come back after a server restart",
    run_pb2.RUN_REASON_WORKER_UNRESPONSIVE: "its worker has gone silent",
    run_pb2.RUN_REASON_RESTARTING: "its worker was lost, it goes on",
    run_pb2.RUN_REASON_DISK_FULL: "the server's disk is full",
}


def state(run: run_pb2.Run) -> str:
    """The run's state, e.g. "Running"."""
    return run_pb2.RunState.Name(run.state).removeprefix("RUN_STATE_").capitalize()


def kind(run: run_pb2.Run) -> str:
    """The run's kind, e.g. "Training"."""
    return run_pb2.RunKind.Name(run.kind).removeprefix("RUN_KIND_").capitalize()


def reason(run: run_pb2.Run) -> str:
    """Why the run is in its state, as half a sentence; empty where there is nothing to say."""
    return _REASONS.get(run.reason, "")


def mode(value: run_pb2.RunMode.ValueType) -> str:
    """A mode, e.g. "Visual"."""
    return "Headless" if value == run_pb2.RUN_MODE_HEADLESS else "Visual"


def view(value: run_pb2.RunView.ValueType) -> str:
    """A view, e.g. "Showcase"."""
    return "Training" if value == run_pb2.RUN_VIEW_TRAINING else "Showcase"


def integer(value: float) -> str:
    """A whole number with thousands marked: 1,234."""
    return f"{value:,.0f}"


def compact(value: float, digits: int = 3) -> str:
    """A number in a few digits: 0.03, 7.5, 950, 12.3k, 1.45M, 2B."""
    if not math.isfinite(value):
        return str(value)
    size = abs(value)
    for limit, unit, mark in ((1e3, 1, ""), (1e6, 1e3, "k"), (1e9, 1e6, "M"), (1e12, 1e9, "B")):
        if size < limit * 0.9995:
            return _minus(f"{value / unit:.{digits}g}{mark}")
    return _minus(f"{value / 1e12:.{digits}g}T")


def lines(value: float) -> str:
    """Lines or a score, which may be a mean: 0.35, 48.2, 1,043, 1.45M."""
    if not abs(value) < 1e6:
        return compact(value)
    if abs(value) >= 99.95:
        return _minus(f"{value:,.0f}")
    return _minus(f"{value:.1f}" if abs(value) >= 9.995 else f"{value:.2f}")


def small(value: float) -> str:
    """A rate or a loss: three digits, with an exponent where it is tiny."""
    if value == 0:
        return "0"
    if abs(value) >= 1e-3:
        return _minus(f"{value:.3g}")
    return _minus(f"{value:.1e}").replace("e-0", "e-").replace("e-", "e−")


def seconds(value: float) -> str:
    """A length of time: 42 s, 3:05 min, 2:07 h, 3.2 days."""
    value = max(0.0, value)
    if value < 59.5:
        return f"{value:.0f} s"
    if value < 3599.5:
        whole = round(value)
        return f"{whole // 60}:{whole % 60:02d} min"
    if value < 48 * 3600:
        minutes = round(value / 60)
        return f"{minutes // 60}:{minutes % 60:02d} h"
    return f"{value / 86400:.1f} days"


def _minus(text: str) -> str:
    """A true minus, as wide as a plus."""
    return text.replace("-", "−", 1) if text.startswith("-") else text


def pace(value: float) -> str:
    """Placements a second: 8/s, 0.5/s."""
    return f"{value:.3g}/s"

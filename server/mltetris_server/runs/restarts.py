"""Whether a run whose worker is gone goes on, when, and from where: pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mltetris_api.v1 import run_pb2
from mltetris_api.v1.run_pb2 import RunReason
from mltetris_api.worker.v1 import worker_pb2

from mltetris_server.runs import states

FIRST_WAIT_S: Final = 1.0
"""Before the first restart, where the policy does not say."""
LONGEST_WAIT_S: Final = 60.0
"""What doubling leads to at most."""

_GONE: Final = frozenset(
    {
        RunReason.RUN_REASON_WORKER_DIED,
        RunReason.RUN_REASON_WORKER_UNRESPONSIVE,
        RunReason.RUN_REASON_SERVER_RESTARTED,
        RunReason.RUN_REASON_START_FAILED,
    }
)
"""Ends that may turn out otherwise the next time. What a worker itself calls an error would not."""

_GOING: Final = frozenset({states.STARTING, states.RUNNING, states.PAUSED})


def wait_s(run: run_pb2.Run, reason: RunReason.ValueType) -> float | None:
    """Seconds to wait before `run`, which ended for `reason`, goes on; None: it stays ended."""
    policy = run.restart_policy
    if reason not in _GONE or run.state not in _GOING or run.restarts >= policy.max_restarts:
        return None
    first = FIRST_WAIT_S
    if policy.HasField("backoff"):
        first = policy.backoff.ToNanoseconds() / 1e9
    # Beyond 2**32 the limit holds in any case.
    return min(first * 2.0 ** min(run.restarts, 32), max(first, LONGEST_WAIT_S))


def newest(checkpoints: Sequence[run_pb2.CheckpointInfo]) -> run_pb2.CheckpointInfo | None:
    """Returns the checkpoint that has come the farthest; of equal ones the last written."""
    return max(
        checkpoints,
        key=lambda info: (info.placements, info.create_time.ToNanoseconds()),
        default=None,
    )


def resumption(
    run: run_pb2.Run, checkpoints: Sequence[run_pb2.CheckpointInfo]
) -> worker_pb2.Resumption:
    """Returns where the next worker of `run` goes on.

    Args:
        checkpoints: those of the run that are whole.
    """
    message = worker_pb2.Resumption(
        metric_sequence=run.metrics.sequence,
        first_placements=run.first_placements,
        best_lines=run.metrics.best_lines,
    )
    if run.HasField("last_evaluation"):
        message.last.CopyFrom(run.last_evaluation)
    message.elapsed.CopyFrom(run.metrics.elapsed)
    source = newest(checkpoints)
    if source is not None:
        message.checkpoint = source.kind
    for info in checkpoints:
        if info.kind == run_pb2.CHECKPOINT_KIND_BEST and info.HasField("evaluation"):
            message.best.CopyFrom(info.evaluation)
    return message


def notice(run: run_pb2.Run, wait: float, source: run_pb2.CheckpointInfo | None) -> str:
    """One sentence for watchers: what happened, and what comes."""
    start = f"from {source.placements:,} placements" if source is not None else "from its beginning"
    if run.WhichOneof("spec") != "training":
        start = "from its beginning"
    return (
        f"{run.error.message[:1].upper()}{run.error.message[1:]}; restart {run.restarts} of "
        f"{run.restart_policy.max_restarts} {start} in {wait:g} s."
    )

"""What of a run stands in columns of its own, so that lists find and order runs by it: pure."""

from __future__ import annotations

from typing import Final

from mltetris_api.v1 import run_pb2

NOT_ENDED: Final = 2**62
"""In place of the end's time, in microseconds, of a run that has not ended: after every time."""


def columns(run: run_pb2.Run) -> dict[str, object]:
    """The columns of ``runs`` that say what ``run`` is now, beside the run itself."""
    best = run.best_evaluation.mean_lines if run.HasField("best_evaluation") else None
    return {
        "kind": run.kind,
        "state": run.state,
        "reason": run.reason,
        # Folded: found and ordered with upper and lower case alike.
        "name_key": run.display_name.casefold(),
        "end_time_us": run.end_time.ToMicroseconds() if run.HasField("end_time") else NOT_ENDED,
        "best_lines": best,
        "placements": run.metrics.placements,
        "algorithm": algorithm(run),
        "suite": run.benchmark.suite,
        "restarts": run.restarts,
        "run": run.SerializeToString(),
    }


def algorithm(run: run_pb2.Run) -> int:
    """The algorithm of a training, its default included; 0 of any other run."""
    if not run.HasField("training"):
        return 0
    if run.training.algorithm:
        return run.training.algorithm
    named = run.training.WhichOneof("hyperparameters")
    return run_pb2.Algorithm.Value(f"ALGORITHM_{named.upper()}") if named else 1


def sources(run: run_pb2.Run) -> list[tuple[str, str]]:
    """What ``run`` is made of or makes, each once: "slot", "run" or "dataset", and its name."""
    found = [(source.WhichOneof("source") or "", source) for source in run.sources]
    named = {
        ("run", source.checkpoint.run) if kind == "checkpoint" else (kind, getattr(source, kind))
        for kind, source in found
        if kind
    }
    named |= {
        ("run", player.checkpoint.run) if player.HasField("checkpoint") else ("slot", player.slot)
        for player in _players(run)
    }
    named |= {("dataset", run.training.warm_start.dataset), ("dataset", run.simulation.dataset)}
    return sorted((kind, name) for kind, name in named if name)


def _players(run: run_pb2.Run) -> list[run_pb2.Player]:
    """Every model that ``run`` reads, by what its spec says: an old run has no sources."""
    spec = run.WhichOneof("spec")
    if spec == "training":
        if run.training.HasField("checkpoint"):
            return [run_pb2.Player(checkpoint=run.training.checkpoint)]
        return [run_pb2.Player(slot=run.training.slot)]
    if spec == "demo":
        return [run_pb2.Player(slot=slot) for slot in run.demo.slots]
    if spec == "benchmark":
        return list(run.benchmark.players)
    return [run.simulation.player] if spec == "simulation" else []

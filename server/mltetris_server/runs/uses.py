"""Which models and datasets a run is made of: pure."""

from __future__ import annotations

from collections.abc import Iterator

from mltetris_api.v1 import run_pb2


def players(run: run_pb2.Run) -> Iterator[run_pb2.Player]:
    """Everything that `run` reads a model from: who plays, or what a training goes on from."""
    match run.WhichOneof("spec"):
        case "training" if run.training.HasField("slot"):
            yield run_pb2.Player(slot=run.training.slot)
        case "training" if run.training.HasField("checkpoint"):
            yield run_pb2.Player(checkpoint=run.training.checkpoint)
        case "demo":
            for slot in run.demo.slots:
                yield run_pb2.Player(slot=slot)
        case "benchmark":
            yield from run.benchmark.players
        case "simulation":
            yield run.simulation.player


def uses_slot(run: run_pb2.Run, slot: str) -> bool:
    """Whether `run` reads the slot's model."""
    return any(player.HasField("slot") and player.slot == slot for player in players(run))


def uses_run(run: run_pb2.Run, other: str) -> bool:
    """Whether `run` reads a checkpoint of the run `other`."""
    return any(
        player.HasField("checkpoint") and player.checkpoint.run == other for player in players(run)
    )


def uses_dataset(run: run_pb2.Run, dataset: str) -> bool:
    """Whether `run` learns from the dataset."""
    return run.HasField("training") and run.training.warm_start.dataset == dataset

"""One sentence for people of a slot, a run and a dataset: pure."""

from __future__ import annotations

from mltetris_api.v1 import dataset_pb2, run_pb2, slot_pb2


def slot_summary(slot: slot_pb2.Slot) -> str:
    """E.g. "td on bcts features, 10x20"."""
    features = run_pb2.FeatureSet.Name(slot.features).removeprefix("FEATURE_SET_").lower()
    what = "reference player" if slot.reference else _word(run_pb2.Algorithm.Name(slot.algorithm))
    return f"{what} on {features} features, {_game(slot.game)}"


def run_summary(run: run_pb2.Run) -> str:
    """E.g. "training, succeeded: td on bcts features"."""
    kind = run_pb2.RunKind.Name(run.kind).removeprefix("RUN_KIND_").lower()
    state = run_pb2.RunState.Name(run.state).removeprefix("RUN_STATE_").lower()
    return f"{kind}, {state}" + (f": {run.display_name}" if run.display_name else "")


def dataset_summary(dataset: dataset_pb2.Dataset) -> str:
    """E.g. "1,000 games of bcts, 10x20"."""
    return f"{dataset.games:,} games of {dataset.player}, {_game(dataset.game)}"


def _game(game: run_pb2.GameSpec) -> str:
    return f"{game.width}x{game.height}"


def _word(name: str) -> str:
    return name.removeprefix("ALGORITHM_").lower()

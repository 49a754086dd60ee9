"""What must fit between a training and the dataset that it learns from first."""

from __future__ import annotations

from typing import Final

from mltetris_api.v1 import dataset_pb2, run_pb2, trainer_pb2

from mltetris_server.errors import InvalidArgument
from mltetris_server.runs.specs import ModelFacts, algorithm_of

_SHOWN: Final = {
    run_pb2.OBSERVATION_BCTS: run_pb2.FEATURE_SET_BCTS,
    run_pb2.OBSERVATION_SIMPLE: run_pb2.FEATURE_SET_SIMPLE,
}
"""The features that an observation is, where it is not the board."""
_DATASET: Final = "training.warm_start.dataset"


def source_of(dataset: dataset_pb2.Dataset, sha256: str) -> run_pb2.Source:
    """Returns what a run says of the dataset that it was made of."""
    return run_pb2.Source(dataset=dataset.name, sha256=sha256)


def with_game(
    request: trainer_pb2.StartRunRequest, model: ModelFacts | None, dataset: dataset_pb2.Dataset
) -> trainer_pb2.StartRunRequest:
    """Returns the request for a training that plays what was played, where neither it nor the
    model that it goes on from says what to play."""
    filled = trainer_pb2.StartRunRequest()
    filled.CopyFrom(request)
    game = filled.training.game
    for name in ("width", "height"):
        if not game.HasField(name):
            setattr(game, name, getattr((model or dataset).game, name))
    if model is None:
        game.rule = game.rule or dataset.game.rule
        game.randomizer = game.randomizer or dataset.game.randomizer
    return filled


def check(
    spec: run_pb2.TrainingSpec, model: ModelFacts | None, dataset: dataset_pb2.Dataset
) -> None:
    """Raises InvalidArgument where no training as `spec` has it can learn from `dataset`.

    Args:
        spec: its game filled in.
        model: what it goes on from, if anything.
        dataset: what it is to learn from first.
    """
    if spec.game.width != dataset.game.width:
        raise InvalidArgument.field(
            _DATASET,
            f"the boards of {dataset.name} are {dataset.game.width} wide, those of the training "
            f"{spec.game.width}",
        )
    features = spec.features or (model.features if model else run_pb2.FEATURE_SET_BCTS)
    shown = dataset.observation or run_pb2.OBSERVATION_BCTS
    if shown != run_pb2.OBSERVATION_BOARD and _SHOWN[shown] != features:
        raise InvalidArgument.field(
            _DATASET,
            f"{dataset.name} shows {_word(run_pb2.Observation.Name(shown))}, and the training sees "
            f"{_word(run_pb2.FeatureSet.Name(features))}: take a dataset that shows the board",
        )
    algorithm = algorithm_of(spec, model)
    if spec.warm_start.method == run_pb2.WARM_START_METHOD_REPLAY and algorithm != "td":
        raise InvalidArgument.field(
            "training.warm_start.method",
            f"{algorithm} has no memory that games could be replayed into: only td has; leave it "
            "unset to clone the placements",
        )


def _word(name: str) -> str:
    """`OBSERVATION_BCTS` as people write it: `bcts`."""
    return name.rsplit("_", 1)[1].lower()

"""What a caller asks for, checked beyond the contract's own rules, and what the server fills in.

Learning has its defaults in the worker, which sends the whole spec back once it has begun. Here
only what the server itself goes by is filled in: how the run is shown and paced, and which slots
play.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mltetris_api.v1 import run_pb2, trainer_pb2

from mltetris_server.errors import FieldViolation, InvalidArgument
from mltetris_server.hyperparameters import TRAINABLE, HyperparameterError, Learning
from mltetris_server.player_names import player_name
from mltetris_server.runs import benchmark_specs, simulation_specs
from mltetris_server.runs.recipe import command_of

DEFAULT_WIDTH: Final = 10
DEFAULT_HEIGHT: Final = 20
_TRAINING_PACE: Final = 8.0
_DEMO_PACE: Final = 4.0
_OF_ONE_WIDTH: Final = frozenset({run_pb2.FEATURE_SET_SIMPLE, run_pb2.FEATURE_SET_BOARD})
"""Feature sets with something for each column."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What must fit between a model and the game it is to play."""

    name: str
    """For people: `slot starter`, `run train-7k2m9q's best checkpoint`."""
    algorithm: str
    """`td`, ..., or `reference`."""
    hyperparameters: Mapping[str, object]
    hidden: tuple[int, ...]
    """Units of its network's hidden layers."""
    features: run_pb2.FeatureSet.ValueType
    game: run_pb2.GameSpec
    source: run_pb2.Source
    """Where it is from, and its fingerprint."""


def check(request: trainer_pb2.StartRunRequest) -> None:
    """Raises InvalidArgument where no run can come of `request`, as far as can be told without
    looking at slots, checkpoints and datasets."""
    check_display_name("display_name", request.display_name)
    match request.WhichOneof("spec"):
        case "training":
            _check_training(request.training)
        case "benchmark":
            benchmark_specs.check(request.benchmark)
        case "simulation":
            simulation_specs.check(request.simulation)


def _check_training(spec: run_pb2.TrainingSpec) -> None:
    check_target("training.budget", spec.budget, spec.evaluation)
    given = spec.WhichOneof("hyperparameters")
    if given and spec.algorithm and given != _algorithm_word(spec):
        raise InvalidArgument.field(
            f"training.{given}",
            f"these are {given}'s hyperparameters, and the algorithm is {_algorithm_word(spec)}",
        )
    if spec.WhichOneof("start_from") is None:
        features = spec.features or run_pb2.FEATURE_SET_BCTS
        _configure(spec, given or _algorithm_word(spec) or "td", features, _height(spec), {})


def _configure(
    spec: run_pb2.TrainingSpec,
    algorithm: str,
    features: run_pb2.FeatureSet.ValueType,
    height: int,
    before: Mapping[str, object],
) -> Learning:
    """The hyperparameters as the worker will have them: those given, over `before`.

    Raises:
        InvalidArgument: they are out of range, or do not go together.
    """
    given = {field.name: value for field, value in getattr(spec, algorithm).ListFields()}
    word = _word(run_pb2.FeatureSet.Name(features))
    try:
        return TRAINABLE[algorithm].for_game(height, word, {**before, **given})
    except HyperparameterError as error:
        violations = tuple(
            FieldViolation(
                "training.features" if name == "features" else f"training.{algorithm}.{name}", text
            )
            for name, text in error.violations
        )
        told = "; ".join(f"{violation.field}: {violation.description}" for violation in violations)
        raise InvalidArgument(told, fields=violations) from error


def _height(spec: run_pb2.TrainingSpec, otherwise: int = DEFAULT_HEIGHT) -> int:
    return spec.game.height if spec.game.HasField("height") else otherwise


def _algorithm_word(spec: run_pb2.TrainingSpec) -> str:
    """The algorithm that is asked for by name; empty: none is."""
    return _word(run_pb2.Algorithm.Name(spec.algorithm)) if spec.algorithm else ""


def check_target(path: str, budget: run_pb2.Budget, evaluation: run_pb2.EvaluationSpec) -> None:
    """Raises InvalidArgument where games are cut off before the target of `budget` (at `path`)."""
    if not (budget.HasField("target_mean_lines") and evaluation.HasField("max_lines")):
        return
    if evaluation.max_lines < budget.target_mean_lines:
        raise InvalidArgument.field(
            f"{path}.target_mean_lines",
            f"cannot be reached: evaluation games are cut off at {evaluation.max_lines} lines",
        )


def check_steering(spec: run_pb2.TrainingSpec, names: Collection[str]) -> None:
    """Raises InvalidArgument where the algorithm of `spec` has none of what is to be steered."""
    algorithm = algorithm_of(spec, None)
    config = TRAINABLE[algorithm]
    for name, there in (
        ("learning_rate", config.has_learning_rate),
        ("exploration", config.explores),
    ):
        if name in names and not there:
            text = f"{algorithm} has no {name.replace('_', ' ')} to steer"
            raise InvalidArgument.field(f"update.{name}", text)


def check_display_name(path: str, name: str) -> None:
    """Raises InvalidArgument where `name` would do more to a terminal than be shown."""
    if any(unicodedata.category(character) == "Cc" for character in name):
        raise InvalidArgument.field(path, "must not contain control characters")


def check_player(path: str, model: ModelFacts, width: int) -> None:
    """Raises InvalidArgument where `model`, named at `path`, cannot play on so many columns."""
    if model.features in _OF_ONE_WIDTH and model.game.width != width:
        raise InvalidArgument.field(
            path,
            f"{model.name} sees every column of a board {model.game.width} wide: it cannot play "
            f"one {width} wide",
        )


def algorithm_of(spec: run_pb2.TrainingSpec, model: ModelFacts | None) -> str:
    """The algorithm of a training that goes on from `model`, if from any."""
    asked = _algorithm_word(spec) or spec.WhichOneof("hyperparameters")
    if asked or model is None:
        return asked or "td"
    # A reference player is linear in its features, as the policies of cem are.
    return model.algorithm if model.algorithm in TRAINABLE else "cem"


def check_going_on(spec: run_pb2.TrainingSpec, model: ModelFacts) -> None:
    """Raises InvalidArgument where no training as `spec` has it can go on from `model`."""
    if spec.features not in (run_pb2.FEATURE_SET_UNSPECIFIED, model.features):
        raise InvalidArgument.field(
            "training.features",
            f"{model.name} sees {_word(run_pb2.FeatureSet.Name(model.features))}: "
            "leave features unset to go on with them",
        )
    if spec.game.HasField("width") and spec.game.width != model.game.width:
        raise InvalidArgument.field(
            "training.game.width",
            f"{model.name} plays on {model.game.width} columns: leave the width unset to go on so",
        )
    given, asked = spec.WhichOneof("hyperparameters"), _algorithm_word(spec)
    made_by = model.algorithm if model.algorithm in TRAINABLE else ""
    algorithm = algorithm_of(spec, model)
    if given and not asked and given != made_by:
        maker = f"was made by {made_by}" if made_by else "is a reference player"
        raise InvalidArgument.field(
            "training.algorithm",
            f"{model.name} {maker}, and the hyperparameters are {given}'s: name the algorithm",
        )
    before = dict(model.hyperparameters) if algorithm == made_by else {}
    for name in TRAINABLE[algorithm].fixed:
        message = getattr(spec, algorithm)
        if name in before and message.HasField(name) and getattr(message, name) != before[name]:
            raise InvalidArgument.field(
                f"training.{algorithm}.{name}", f"{model.name} has {before[name]}: it must stay so"
            )
    height = _height(spec, model.game.height)
    config = _configure(spec, algorithm, model.features, height, before)
    if config.hidden(_word(run_pb2.FeatureSet.Name(model.features))) != model.hidden:
        units = ", ".join(str(units) for units in model.hidden) or "no"
        layered = model.hidden and "hidden_units" in TRAINABLE[algorithm].fixed
        raise InvalidArgument.field(
            f"training.{algorithm}.hidden_units" if layered else "training.algorithm",
            f"{model.name}'s network has {units} hidden units: "
            + ("it must stay so" if layered else f"{algorithm} cannot go on with it"),
        )


def check_speed(request: trainer_pb2.SetSpeedRequest) -> None:
    """Raises InvalidArgument unless the request sets a pace at all."""
    if not request.HasField("placements_per_second") and not request.HasField("max_training_rate"):
        raise InvalidArgument.field(
            "placements_per_second", "give placements_per_second, max_training_rate or both"
        )


def make_run(
    request: trainer_pb2.StartRunRequest,
    run_id: str,
    *,
    model: ModelFacts | None = None,
    players: Sequence[run_pb2.Player] = (),
    sources: Sequence[run_pb2.Source] = (),
) -> run_pb2.Run:
    """Returns the QUEUED run that `request` asks for, with the server's defaults filled in.

    Args:
        model: of a training: what it goes on from, if anything.
        players: of any other run: who plays.
        sources: what it is made of.
    """
    run = run_pb2.Run(id=run_id, state=run_pb2.RUN_STATE_QUEUED, sources=sources)
    if request.HasField("restart_policy"):
        run.restart_policy.CopyFrom(request.restart_policy)
    run.create_time.GetCurrentTime()
    control = run.control
    if request.HasField("training"):
        run.kind = run_pb2.RUN_KIND_TRAINING
        training = run.training
        training.CopyFrom(request.training)
        algorithm = algorithm_of(training, model)
        training.algorithm = run_pb2.Algorithm.Value(f"ALGORITHM_{algorithm.upper()}")
        if model is not None:
            # The worker decides so, too; who looks before it is up should see no other.
            training.features = training.features or model.features
            for size in ("width", "height"):
                if not training.game.HasField(size):
                    setattr(training.game, size, getattr(model.game, size))
        training.mode = training.mode or run_pb2.RUN_MODE_VISUAL
        training.view = training.view or run_pb2.RUN_VIEW_SHOWCASE
        if not training.HasField("placements_per_second"):
            training.placements_per_second = _TRAINING_PACE
        if training.HasField("checkpoint"):
            training.checkpoint.kind = training.checkpoint.kind or run_pb2.CHECKPOINT_KIND_BEST
        control.mode, control.view = training.mode, training.view
        control.placements_per_second = training.placements_per_second
        control.max_training_rate = training.max_training_rate
        run.command = command_of(request.training)
    elif request.HasField("benchmark"):
        run.kind = run_pb2.RUN_KIND_BENCHMARK
        run.benchmark.CopyFrom(benchmark_specs.resolved(request.benchmark))
        control.mode, control.view = run_pb2.RUN_MODE_HEADLESS, run_pb2.RUN_VIEW_SHOWCASE
    elif request.HasField("simulation"):
        run.kind = run_pb2.RUN_KIND_SIMULATION
        run.simulation.CopyFrom(simulation_specs.resolved(request.simulation, players[0], run_id))
        control.mode, control.view = run_pb2.RUN_MODE_HEADLESS, run_pb2.RUN_VIEW_SHOWCASE
    else:
        run.kind = run_pb2.RUN_KIND_DEMO
        demo = run.demo
        demo.CopyFrom(request.demo)
        demo.slots[:] = [player.slot for player in players]
        demo.mode = demo.mode or run_pb2.RUN_MODE_VISUAL
        if not demo.HasField("placements_per_second"):
            demo.placements_per_second = _DEMO_PACE
        control.mode, control.view = demo.mode, run_pb2.RUN_VIEW_SHOWCASE
        control.placements_per_second = demo.placements_per_second
    run.display_name = request.display_name or display_name(run)
    return run


def display_name(run: run_pb2.Run) -> str:
    """Returns a name for people, made from the spec: at most 100 characters."""
    match run.WhichOneof("spec"):
        case "demo":
            return " vs ".join(run.demo.slots)[:100]
        case "benchmark":
            return benchmark_specs.display_name(run.benchmark)[:100]
        case "simulation":
            return f"{player_name(run.simulation.player)} plays for {run.simulation.dataset}"[:100]
    spec = run.training
    game = spec.game
    features = _word(run_pb2.FeatureSet.Name(spec.features or run_pb2.FEATURE_SET_BCTS))
    size = f"{game.width or DEFAULT_WIDTH}x{game.height or DEFAULT_HEIGHT}"
    name = f"{_algorithm_word(spec)} on {features} features, {size}"
    if spec.HasField("slot"):
        name += f", from {spec.slot}"
    elif spec.HasField("checkpoint"):
        name += f", from {spec.checkpoint.run}"
    if spec.HasField("warm_start"):
        name += f", after {spec.warm_start.dataset}"
    return name[:100]


def _word(name: str) -> str:
    """`FEATURE_SET_BCTS` as people write it: `bcts`."""
    return name.rsplit("_", 1)[1].lower()

"""From a spec of the contract to what the rooms below understand, every default filled in.

A caller leaves out what it has no opinion on. For a training that goes on from
a model the model decides then, else the defaults of `learning` and `game`. The
resolved spec goes back to the server: it says what is run, and repeats the run.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mltetris_api.v1.run_pb2 import (
    Algorithm,
    Budget,
    DemoSpec,
    EvaluationSpec,
    FeatureSet,
    GameSpec,
    Randomizer,
    Rule,
    RunControl,
    RunMode,
    TrainingSpec,
)

from mltetris_server.game.config import FeatureSet as Features
from mltetris_server.game.config import GameConfig
from mltetris_server.hyperparameters import TRAINABLE, Learning
from mltetris_server.worker.metrics import duration
from mltetris_server.worker.warm_start_plan import plan_warm_start

EVALUATION_GAMES = 20
EVALUATION_PERIOD = 1.0
"""Seconds of training between two evaluations."""
EVALUATION_LEAST_MAX_LINES = 2_500
EVALUATION_MAX_LINES = 100_000
"""Lines after which an evaluation game is cut off where no target says what is enough."""
CHECKPOINT_PERIOD = 15.0
"""Seconds of training between two `latest` checkpoints."""


class SpecError(ValueError):
    """What was asked for cannot be done; says which field, and what to do."""


@dataclass(frozen=True)
class TrainingPlan:
    """A training with everything decided."""

    spec: TrainingSpec
    """The spec with every default filled in."""
    game: GameConfig
    features: Features
    config: Learning
    """The algorithm and its hyperparameters."""
    continues: bool
    """Whether it goes on from a model."""

    @property
    def training_game(self) -> GameConfig:
        """The game of the training's boards: shorter ones than the game's own."""
        return replace(self.game, height=self.config.training_height)

    @property
    def threads(self) -> int:
        """Threads to learn with."""
        return self.spec.threads

    @property
    def evaluation_seed(self) -> int:
        """Seed of the evaluation's pieces: of the spec's, and never a training's own."""
        return derive_seed(self.spec.evaluation.seed, "evaluation")

    @property
    def showcase_seed(self) -> int:
        """Seed of the showcase's pieces."""
        return derive_seed(self.spec.seed, "showcase")


def derive_seed(seed: int, purpose: str) -> int:
    """A seed of 64 bits for one purpose, from another seed."""
    digest = hashlib.sha256(f"{purpose} {seed}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


def draw_seed() -> int:
    """A fresh seed, short enough for people to type."""
    return secrets.randbits(32)


def plan_training(
    asked: TrainingSpec,
    control: RunControl,
    model: Mapping[str, Any] | None = None,
    seed: int | None = None,
) -> TrainingPlan:
    """Decides what a training spec leaves open.

    Args:
        asked: the spec as the caller gave it.
        control: how the run is shown, as the server resolved it.
        model: the `model` part of the manifest it goes on from, if any.
        seed: that of the model, for where none was asked for; None: one is drawn.

    Raises:
        SpecError: the model does not go with what was asked for.
        HyperparameterError: a hyperparameter is out of range.
    """
    model_game = model["game"] if model else {}
    config = plan_game(asked.game, model_game)
    if config.width != model_game.get("width", config.width):
        raise SpecError(
            f"game.width: the model to go on from plays {model_game['width']} columns, "
            f"not {config.width}"
        )
    features = _features(asked.features, model)
    hyperparameters = _hyperparameters(asked, config, features, model)
    if asked.HasField("seed"):
        seed = asked.seed
    elif seed is None:
        seed = draw_seed()
    spec = TrainingSpec()
    spec.CopyFrom(asked)
    spec.game.CopyFrom(game_spec(config))
    name = hyperparameters.algorithm
    spec.algorithm = Algorithm.Value(f"ALGORITHM_{name.upper()}")
    spec.features = FeatureSet.Value(f"FEATURE_SET_{features.upper()}")
    spec.seed = seed
    spec.budget.CopyFrom(asked.budget if asked.HasField("budget") else Budget())
    spec.evaluation.CopyFrom(_evaluation(asked, seed))
    for field, value in hyperparameters.to_dict().items():
        setattr(getattr(spec, name), field, value)
    if not spec.HasField("threads"):
        spec.threads = 1
    if not asked.HasField("checkpoint_period"):
        spec.checkpoint_period.CopyFrom(duration(CHECKPOINT_PERIOD))
    if asked.HasField("warm_start"):
        spec.warm_start.CopyFrom(plan_warm_start(asked.warm_start))
    spec.mode, spec.view = control.mode, control.view
    spec.placements_per_second = control.placements_per_second
    spec.max_training_rate = control.max_training_rate
    return TrainingPlan(spec, config, features, hyperparameters, continues=model is not None)


def plan_demo(asked: DemoSpec, control: RunControl, slot_game: Mapping[str, Any]) -> DemoSpec:
    """The demo's spec with every default filled in; the game is that of the first slot.

    Raises:
        SpecError: the game asked for cannot be.
    """
    spec = DemoSpec()
    spec.CopyFrom(asked)
    spec.game.CopyFrom(game_spec(plan_game(asked.game, slot_game)))
    if not asked.HasField("seed"):
        spec.seed = draw_seed()
    spec.placements_per_second = control.placements_per_second
    spec.mode = control.mode or RunMode.RUN_MODE_VISUAL
    return spec


def enough_lines(budget: Budget) -> int:
    """Lines after which an evaluation game has shown enough, for this budget's target."""
    if not budget.HasField("target_mean_lines"):
        return EVALUATION_MAX_LINES
    return max(EVALUATION_LEAST_MAX_LINES, round(2.5 * budget.target_mean_lines))


def demo_game(spec: DemoSpec) -> GameConfig:
    """The game of a demo whose every default is filled in."""
    return plan_game(spec.game, {})


def plan_game(asked: GameSpec, model_game: Mapping[str, Any]) -> GameConfig:
    """The game to play: as asked, else as the model's, else the default.

    Raises:
        SpecError: there is no such game.
    """
    known = ("width", "height", "rule", "randomizer")
    values: dict[str, Any] = {key: model_game[key] for key in known if key in model_game}
    if asked.HasField("width"):
        values["width"] = asked.width
    if asked.HasField("height"):
        values["height"] = asked.height
    if asked.rule:
        values["rule"] = _word(Rule.Name(asked.rule), "RULE_")
    if asked.randomizer:
        values["randomizer"] = _word(Randomizer.Name(asked.randomizer), "RANDOMIZER_")
    try:
        return GameConfig(**values)
    except ValueError as error:
        raise SpecError(f"game: {error}") from error


def game_spec(config: GameConfig) -> GameSpec:
    """A game as the contract has it."""
    return GameSpec(
        width=config.width,
        height=config.height,
        rule=Rule.Value(f"RULE_{config.rule.upper()}"),
        randomizer=Randomizer.Value(f"RANDOMIZER_{config.randomizer.upper()}"),
    )


def _features(asked: FeatureSet.ValueType, model: Mapping[str, Any] | None) -> Features:
    wanted = Features(_word(FeatureSet.Name(asked), "FEATURE_SET_")) if asked else None
    if model is None:
        return wanted or Features.BCTS
    has = Features(model["features"])
    if wanted not in (None, has):
        raise SpecError(f"features: the model to go on from sees {has}, not {wanted}")
    return has


def _algorithm(asked: TrainingSpec, model: Mapping[str, Any] | None) -> str:
    """The algorithm: as asked, else as the hyperparameters are, else the model's, else td.

    Raises:
        SpecError: the hyperparameters are those of another one.
    """
    given = asked.WhichOneof("hyperparameters")
    wanted = _word(Algorithm.Name(asked.algorithm), "ALGORITHM_") if asked.algorithm else given
    if given not in (None, wanted):
        raise SpecError(f"{given}: the hyperparameters are {given}'s, the algorithm is {wanted}")
    made_by = str(model["algorithm"]) if model else None
    if made_by is not None and made_by not in TRAINABLE:
        # A reference player is linear in its features, as the policies of cem are.
        return wanted or "cem"
    return wanted or made_by or "td"


def _hyperparameters(
    asked: TrainingSpec, game: GameConfig, features: Features, model: Mapping[str, Any] | None
) -> Learning:
    """The algorithm with its hyperparameters: as asked, else the model's, else the defaults."""
    name = _algorithm(asked, model)
    kind = TRAINABLE[name]
    given = {field.name: value for field, value in getattr(asked, name).ListFields()}
    overrides: dict[str, object] = {}
    if model and model["algorithm"] == name:
        overrides = dict(model["hyperparameters"])
    for field in kind.fixed:
        before = overrides.get(field)
        if before is not None and given.get(field, before) != before:
            raise SpecError(
                f"{name}.{field}: the model to go on from has {before}, not {given[field]}"
            )
    return kind.for_game(game.height, features, overrides | given)


def _evaluation(asked: TrainingSpec, seed: int) -> EvaluationSpec:
    spec = EvaluationSpec()
    spec.CopyFrom(asked.evaluation)
    if not spec.HasField("games"):
        spec.games = EVALUATION_GAMES
    if not spec.HasField("period"):
        spec.period.CopyFrom(duration(EVALUATION_PERIOD))
    if not spec.HasField("max_lines"):
        spec.max_lines = enough_lines(asked.budget)
    if not spec.HasField("seed"):
        spec.seed = derive_seed(seed, "evaluations of the run")
    return spec


def _word(name: str, prefix: str) -> str:
    """`RULE_GYMNASIUM` as the other rooms write it: `gymnasium`."""
    return name.removeprefix(prefix).lower()

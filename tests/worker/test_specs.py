"""Specs: defaults filled in, a model's own ways kept, contradictions refused."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
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
    RunView,
    TdParams,
    TrainingSpec,
)
from mltetris_server.game.config import FeatureSet as Features
from mltetris_server.game.config import GameConfig
from mltetris_server.hyperparameters import HyperparameterError, TdConfig
from mltetris_server.worker.specs import SpecError, plan_demo, plan_training

CONTROL = RunControl(
    mode=RunMode.RUN_MODE_HEADLESS, view=RunView.RUN_VIEW_TRAINING, placements_per_second=3
)
MODEL: dict[str, Any] = {
    "algorithm": "td",
    "features": "simple",
    "game": {"width": 8, "height": 16, "rule": "published", "randomizer": "uniform"},
    "hyperparameters": TdConfig(gamma=0.9, hidden_units=16).to_dict(),
    "network": {"inputs": 11, "hidden": [16]},
}


def test_an_empty_spec_gets_every_default() -> None:
    plan = plan_training(TrainingSpec(), CONTROL)
    assert plan.game == GameConfig()
    assert plan.features == Features.BCTS
    assert plan.config == TdConfig()
    assert not plan.continues
    spec = plan.spec
    assert spec.algorithm == Algorithm.ALGORITHM_TD
    assert spec.features == FeatureSet.FEATURE_SET_BCTS
    assert spec.game == GameSpec(
        width=10, height=20, rule=Rule.RULE_GYMNASIUM, randomizer=Randomizer.RANDOMIZER_BAG7
    )
    assert spec.HasField("seed")
    assert spec.td == TdParams(**TdConfig().to_dict())  # type: ignore[arg-type]
    assert len(spec.td.ListFields()) == len(TdParams.DESCRIPTOR.fields)
    assert spec.evaluation.games == 20
    assert spec.evaluation.period == Duration(seconds=1)
    assert spec.evaluation.max_lines == 100_000
    assert spec.checkpoint_period == Duration(seconds=15)
    assert (spec.mode, spec.view, spec.placements_per_second) == (
        RunMode.RUN_MODE_HEADLESS,
        RunView.RUN_VIEW_TRAINING,
        3,
    )


def test_a_resolved_spec_resolves_to_itself() -> None:
    first = plan_training(TrainingSpec(), CONTROL)
    again = plan_training(first.spec, CONTROL)
    assert again == first
    assert again.evaluation_seed == first.evaluation_seed


def test_what_is_given_stays() -> None:
    asked = TrainingSpec(
        seed=0,
        game=GameSpec(width=6, rule=Rule.RULE_PUBLISHED),
        features=FeatureSet.FEATURE_SET_SIMPLE,
        budget=Budget(target_mean_lines=2_000, max_placements=5),
        evaluation=EvaluationSpec(period=Duration(nanos=500_000_000), seed=0),
        td=TdParams(gamma=0.0, boards=8),
        checkpoint_period=Duration(nanos=200_000_000),
    )
    plan = plan_training(asked, CONTROL)
    assert plan.spec.seed == 0
    assert plan.spec.HasField("seed")
    assert plan.game == GameConfig(width=6, rule="published")  # type: ignore[arg-type]
    assert plan.features == Features.SIMPLE
    assert (plan.config.gamma, plan.config.boards, plan.config.td_lambda) == (
        0.0,
        8,
        TdConfig.td_lambda,
    )
    assert plan.spec.evaluation.period == Duration(nanos=500_000_000)
    assert plan.spec.evaluation.seed == 0
    assert plan.spec.evaluation.max_lines == 5_000
    assert plan.spec.budget == asked.budget
    assert plan.spec.checkpoint_period == asked.checkpoint_period


def test_seeds_serve_one_purpose_each() -> None:
    plan = plan_training(TrainingSpec(seed=5, evaluation=EvaluationSpec(seed=5)), CONTROL)
    seeds = {plan.spec.seed, plan.evaluation_seed, plan.showcase_seed}
    assert len(seeds) == 3


def test_training_boards_are_no_higher_than_the_game() -> None:
    assert plan_training(TrainingSpec(game=GameSpec(height=6)), CONTROL).config.training_height == 6
    asked = TrainingSpec(game=GameSpec(height=6), td=TdParams(training_height=8))
    with pytest.raises(HyperparameterError, match="training_height"):
        plan_training(asked, CONTROL)


def test_a_model_decides_what_is_left_open() -> None:
    plan = plan_training(TrainingSpec(td=TdParams(learning_rate=0.5)), CONTROL, MODEL)
    assert plan.continues
    assert plan.game == GameConfig(8, 16, "published", "uniform")  # type: ignore[arg-type]
    assert plan.features == Features.SIMPLE
    assert (plan.config.gamma, plan.config.learning_rate, plan.config.hidden_units) == (
        0.9,
        0.5,
        16,
    )


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        (TrainingSpec(features=FeatureSet.FEATURE_SET_BCTS), "features"),
        (TrainingSpec(game=GameSpec(width=10)), "game.width"),
        (TrainingSpec(td=TdParams(hidden_units=32)), "td.hidden_units"),
    ],
)
def test_what_contradicts_the_model_is_refused(asked: TrainingSpec, complaint: str) -> None:
    with pytest.raises(SpecError, match=complaint):
        plan_training(asked, CONTROL, MODEL)


def test_a_demo_plays_its_first_slots_game() -> None:
    spec = plan_demo(DemoSpec(slots=["a"]), CONTROL, MODEL["game"])
    assert (spec.game.width, spec.game.height) == (8, 16)
    assert spec.HasField("seed")
    assert spec.placements_per_second == 3
    spec = plan_demo(DemoSpec(game=GameSpec(height=20)), CONTROL, MODEL["game"])
    assert (spec.game.width, spec.game.height) == (8, 20)

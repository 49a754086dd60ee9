"""The command a training says of itself is the command that asks for it."""

from __future__ import annotations

import shlex

import mltetris_cli.session
import mltetris_cli.starting
import pytest
from mltetris_api.v1 import run_pb2, trainer_pb2
from mltetris_cli.main import main
from mltetris_server.runs.recipe import command_of, with_seed

SPECS = {
    "nothing": run_pb2.TrainingSpec(),
    "everything": run_pb2.TrainingSpec(
        seed=0,
        checkpoint=run_pb2.RunCheckpoint(run="train-abc"),
        algorithm=run_pb2.ALGORITHM_TD,
        features=run_pb2.FEATURE_SET_SIMPLE,
        game=run_pb2.GameSpec(
            width=8, height=18, rule=run_pb2.RULE_PUBLISHED, randomizer=run_pb2.RANDOMIZER_UNIFORM
        ),
        budget=run_pb2.Budget(
            max_placements=10**6, max_duration={"seconds": 90}, target_mean_lines=1234.5
        ),
        evaluation=run_pb2.EvaluationSpec(
            games=7, period={"nanos": 500_000_000}, max_lines=99, seed=5
        ),
        td=run_pb2.TdParams(boards=32, learning_rate=0.003, death_reward=-3.5, training_height=9),
        checkpoint_period={"seconds": 3},
    ),
    "after a dataset": run_pb2.TrainingSpec(
        warm_start=run_pb2.WarmStart(
            dataset="bcts-games",
            method=run_pb2.WARM_START_METHOD_REPLAY,
            epochs=2,
            max_placements=5000,
            learning_rate=0.02,
        )
    ),
    "from a slot": run_pb2.TrainingSpec(slot="starter", seed=2**64 - 1),
}


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_the_command_line_understands_it(
    spec: run_pb2.TrainingSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[run_pb2.TrainingSpec] = []

    class Trainer:
        def __enter__(self) -> Trainer:
            return self

        def __exit__(self, *error: object) -> None:
            pass

        def start_run(self, spec: run_pb2.TrainingSpec, **options: object) -> run_pb2.Run:
            asked.append(spec)
            return run_pb2.Run(id="train-x")

    monkeypatch.setattr(mltetris_cli.session.Session, "connect", lambda session: Trainer())
    monkeypatch.setattr(mltetris_cli.starting, "announce", lambda *arguments, **options: None)
    words = shlex.split(command_of(spec))
    assert words[:2] == ["mltetris", "train"]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as ended:
        raise SystemExit(main())
    assert ended.value.code in (None, 0)
    expected = run_pb2.TrainingSpec()
    expected.CopyFrom(spec)
    if expected.HasField("checkpoint"):
        expected.checkpoint.kind = run_pb2.CHECKPOINT_KIND_BEST
    assert asked == [expected]


def test_what_is_only_for_watching_is_left_out() -> None:
    spec = run_pb2.TrainingSpec(
        mode=run_pb2.RUN_MODE_HEADLESS, placements_per_second=3, max_training_rate=100
    )
    assert command_of(spec) == "mltetris train"


def test_a_drawn_seed_is_added_and_a_given_one_kept() -> None:
    assert with_seed("mltetris train", 7) == "mltetris train --seed 7"
    assert with_seed("mltetris train --seed 1", 7) == "mltetris train --seed 1"


def test_only_trainings_have_one() -> None:
    from mltetris_server.runs.specs import make_run

    demo = trainer_pb2.StartRunRequest(demo=run_pb2.DemoSpec(slots=["starter"]))
    assert make_run(demo, "demo-x", players=[run_pb2.Player(slot="starter")]).command == ""

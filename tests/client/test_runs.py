"""Every call about runs, against a real server."""

from __future__ import annotations

import threading
from typing import Any

import mltetris_client
import pytest
from mltetris_api.v1 import run_pb2
from mltetris_client import InvalidArgument, Run, Trainer, is_final, is_live, specs
from mltetris_client.names import AlgorithmName
from support.small import in_state

_OTHERS: tuple[AlgorithmName, ...] = ("dqn", "ppo", "cem")


def test_every_rpc_has_a_method() -> None:
    from mltetris_api.v1 import policy_pb2, system_pb2, trainer_pb2

    services = [
        trainer_pb2.DESCRIPTOR.services_by_name["TrainerService"],
        policy_pb2.DESCRIPTOR.services_by_name["PolicyService"],
        system_pb2.DESCRIPTOR.services_by_name["SystemService"],
    ]
    for service in services:
        for method in service.methods:
            words = "".join(f"_{c.lower()}" if c.isupper() else c for c in method.name).strip("_")
            assert callable(getattr(Trainer, words, None)), method.name


@pytest.mark.parametrize("algorithm", ["td", "dqn", "ppo", "cem"])
def test_every_hyperparameter_can_be_given(algorithm: AlgorithmName) -> None:
    fields = getattr(run_pb2.TrainingSpec(), algorithm).DESCRIPTOR.fields_by_name
    values: Any = dict.fromkeys(fields, 1)
    spec = specs.training(algorithm=algorithm, **values)
    assert spec.WhichOneof("hyperparameters") == algorithm
    assert {field.name for field, _ in getattr(spec, algorithm).ListFields()} == set(fields)


def test_a_hyperparameter_of_another_algorithm_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="td_lambda: ppo has no such hyperparameter"):
        specs.training(algorithm="ppo", td_lambda=0.5)
    with pytest.raises(InvalidArgument, match="elite: td has no such hyperparameter"):
        specs.training(elite=3)


def test_every_field_of_a_training_can_be_given() -> None:
    spec = specs.training(
        width=8,
        max_placements=5,
        evaluation_games=3,
        gamma=0.5,
        algorithm="td",
        features="simple",
        seed=1,
        from_slot="x",
        checkpoint_period=1.5,
        mode="visual",
        view="training",
        placements_per_second=3,
        max_training_rate=500,
        threads=2,
        dataset="games",
    )
    others = [
        specs.training(algorithm=algorithm, training_height=8, from_run="train-abc123")
        for algorithm in _OTHERS
    ]
    given = {field.name for made in [spec, *others] for field, _ in made.ListFields()}
    assert given == set(run_pb2.TrainingSpec.DESCRIPTOR.fields_by_name)


def test_every_field_of_a_warm_start_can_be_given() -> None:
    spec = specs.training(
        dataset="games",
        dataset_method="replay",
        dataset_epochs=2,
        dataset_placements=500,
        dataset_learning_rate=0.5,
    )
    given = {field.name for field, _ in spec.warm_start.ListFields()}
    assert given == set(run_pb2.WarmStart.DESCRIPTOR.fields_by_name)
    with pytest.raises(InvalidArgument, match="name the dataset"):
        specs.training(dataset_epochs=2)
    with pytest.raises(InvalidArgument, match="cloning, replay"):
        specs.training(dataset="games", dataset_method="copying")  # type: ignore[typeddict-item]


def test_a_training_from_plain_arguments() -> None:
    spec = specs.training(
        seed=0,
        width=8,
        rule="published",
        target_lines=1000,
        max_seconds=1.5,
        evaluation_games=3,
        evaluation_period=0.25,
        learning_rate=0.01,
        training_height=12,
        from_run="train-abc123:latest",
        mode="headless",
        view="training",
    )
    assert spec == run_pb2.TrainingSpec(
        seed=0,
        game=run_pb2.GameSpec(width=8, rule=run_pb2.RULE_PUBLISHED),
        budget=run_pb2.Budget(target_mean_lines=1000, max_duration=specs.duration(1.5, field="x")),
        evaluation=run_pb2.EvaluationSpec(games=3, period=specs.duration(0.25, field="x")),
        td=run_pb2.TdParams(learning_rate=0.01, training_height=12),
        checkpoint=run_pb2.RunCheckpoint(run="train-abc123", kind=run_pb2.CHECKPOINT_KIND_LATEST),
        mode=run_pb2.RUN_MODE_HEADLESS,
        view=run_pb2.RUN_VIEW_TRAINING,
    )
    assert spec.HasField("seed")
    assert specs.training() == run_pb2.TrainingSpec()


def test_the_life_of_a_run(trainer: Trainer) -> None:
    run = trainer.start_training(display_name="mine", seed=3, max_seconds=600)
    assert run.display_name == "mine"
    run = in_state(trainer, run.id, "running")
    assert is_live(run) and not is_final(run)
    assert trainer.pause_run(run.id).state == run_pb2.RUN_STATE_PAUSED
    assert trainer.resume_run(run.id).state == run_pb2.RUN_STATE_RUNNING
    assert trainer.set_speed(run.id, 30).control.placements_per_second == 30
    control = trainer.set_speed(run.id, max_training_rate=500).control
    assert (control.placements_per_second, control.max_training_rate) == (30, 500)
    assert trainer.set_speed(run.id, max_training_rate=0).control.max_training_rate == 0
    changed = trainer.set_mode(run.id, mode="headless", view="training")
    assert changed.control.mode == run_pb2.RUN_MODE_HEADLESS
    assert changed.control.view == run_pb2.RUN_VIEW_TRAINING
    assert trainer.set_mode(run.id, view="showcase").control.mode == run_pb2.RUN_MODE_HEADLESS
    assert [found.id for found in trainer.list_runs(states=["running"])][:1] == [run.id]
    ended = trainer.stop_run(run.id)
    assert ended.state == run_pb2.RUN_STATE_STOPPED
    assert is_final(ended)
    trainer.delete_run(run.id)
    assert run.id not in [found.id for found in trainer.list_runs()]


def test_updates_touch_only_what_is_given(trainer: Trainer) -> None:
    run = trainer.start_training(display_name="before", max_seconds=600, target_lines=5)
    in_state(trainer, run.id, "running")
    after = trainer.update_run(run.id, display_name="after", learning_rate=0.5)
    assert after.display_name == "after"
    assert after.training.budget.target_mean_lines == 5
    after = trainer.update_run(run.id, budget=specs.budget(target_lines=7))
    assert after.display_name == "after"
    assert after.training.budget == run_pb2.Budget(target_mean_lines=7)
    after = trainer.update_run(run.id, reset=["budget", "learning_rate"])
    assert not after.training.budget.HasField("target_mean_lines")
    with pytest.raises(mltetris_client.InvalidArgument, match="not both"):
        trainer.update_run(run.id, learning_rate=0.1, reset=["learning_rate"])
    with pytest.raises(mltetris_client.InvalidArgument):
        trainer.update_run(run.id)
    trainer.stop_run(run.id)


def test_a_request_id_starts_one_run(trainer: Trainer) -> None:
    first = trainer.start_training(request_id="once", max_seconds=600)
    again = trainer.start_training(request_id="once", max_seconds=600)
    assert first.id == again.id
    trainer.stop_run(first.id)


def test_lists_are_whole_over_pages(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    started = [trainer.start_training().id for _ in range(5)]
    for run in started:
        trainer.stop_run(run)
    monkeypatch.setattr("mltetris_client.trainer._PAGE", 2)
    listed = [run.id for run in trainer.list_runs(kinds=["training"])]
    assert listed[:5] == started[::-1]
    assert [run.id for run in trainer.list_runs(limit=3)] == listed[:3]
    with pytest.raises(mltetris_client.InvalidArgument, match="queued"):
        trainer.list_runs(states=["sleeping"])  # type: ignore[list-item]


def test_one_trainer_serves_many_threads(trainer: Trainer) -> None:
    runs: list[Run] = []
    failures: list[BaseException] = []

    def work() -> None:
        try:
            run = trainer.start_training()
            with trainer.stream_metrics(run.id) as points:
                for point in points:
                    if point.sequence == 5:
                        break
            runs.append(trainer.stop_run(run.id))
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    assert len({run.id for run in runs}) == 4


def test_server_info(trainer: Trainer) -> None:
    info = trainer.get_server_info()
    assert info.version and info.max_runs == 8
    trainer.wait_ready(timeout=5)

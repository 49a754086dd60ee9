"""Benchmarks from the SDK: specs of plain words, suites and scores."""

from __future__ import annotations

import mltetris_client
import pytest
from mltetris_api.v1 import run_pb2
from mltetris_client import InvalidArgument, NotFound, Trainer, specs


def test_every_field_of_a_benchmark_can_be_given() -> None:
    spec = specs.benchmark(
        ["mine", "train-a:final", "train-b:best"],
        suite="standard-10x20-bag",
        width=8,
        height=12,
        rule="published",
        randomizer="uniform",
        games=3,
        seed=0,
        max_lines=7,
        threads=2,
    )
    assert {field.name for field, _ in spec.ListFields()} == set(
        run_pb2.BenchmarkSpec.DESCRIPTOR.fields_by_name
    )
    assert spec.players[0].slot == "mine"
    assert spec.players[1].checkpoint.run == "train-a"
    assert spec.players[1].checkpoint.kind == run_pb2.CHECKPOINT_KIND_FINAL
    assert spec.players[2].checkpoint.kind == run_pb2.CHECKPOINT_KIND_BEST
    assert spec.HasField("seed")
    assert not specs.benchmark(["mine"]).HasField("game")


@pytest.mark.parametrize(
    ("players", "options", "field"),
    [
        (["a", "b:worst"], {}, "benchmark.players[1]"),
        (["a"], {"seed": -1}, "benchmark.seed"),
        (["a"], {"games": "many"}, "benchmark.games"),
        (["a"], {"slots": 3}, "slots"),
    ],
)
def test_what_does_not_fit_is_named(
    players: list[str], options: dict[str, object], field: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        specs.benchmark(players, **options)  # type: ignore[arg-type]
    assert [violation.field for violation in caught.value.fields] == [field]


def test_suites_are_told_and_there_are_no_scores_yet(trainer: Trainer) -> None:
    suites = trainer.list_benchmark_suites()
    assert suites[0].name == "standard-10x20-bag"
    assert isinstance(suites[0], mltetris_client.BenchmarkSuite)
    assert trainer.list_benchmark_scores(suite=suites[0].name, player="x", limit=3) == []
    with pytest.raises(InvalidArgument):
        trainer.list_benchmark_scores(suite="nonesuch")
    with pytest.raises(InvalidArgument):
        trainer.list_slots(suite="nonesuch")
    names = [slot.name for slot in trainer.list_slots(suite=suites[0].name)]
    assert names == sorted(names), "without scores by name"
    with pytest.raises(NotFound):
        trainer.start_benchmark(["nobody"], games=1)

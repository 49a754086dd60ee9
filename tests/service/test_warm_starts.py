"""Trainings that learn from a dataset first: what the server lets through, and what it says of it.

The server is real; its workers play no real games."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from mltetris_api.v1 import run_pb2
from mltetris_server.storage import DatasetStore
from service.test_datasets import refused
from support.datasets import store_dataset
from support.small_server import SmallServer, small_server

BOARD, SIMPLE = run_pb2.OBSERVATION_BOARD, run_pb2.OBSERVATION_SIMPLE
INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
DATASET, METHOD = "training.warm_start.dataset", "training.warm_start.method"


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[SmallServer]:
    store = DatasetStore(tmp_path / "datasets")
    narrow = run_pb2.GameSpec(
        width=8, height=9, rule=run_pb2.RULE_PUBLISHED, randomizer=run_pb2.RANDOMIZER_UNIFORM
    )
    store_dataset(store, "games")
    store_dataset(store, "boards", observation=BOARD)
    store_dataset(store, "simples", observation=SIMPLE)
    store_dataset(store, "narrow", observation=BOARD, game=narrow)
    async with small_server(tmp_path) as server:
        yield server


async def start(server: SmallServer, dataset: str, **fields: Any) -> run_pb2.Run:
    warm_start = run_pb2.WarmStart(dataset=dataset, method=fields.pop("method", 0))
    return await server.start(run_pb2.TrainingSpec(seed=1, warm_start=warm_start, **fields))


async def test_the_dataset_is_a_source_and_says_what_is_played(
    server: SmallServer, tmp_path: Path
) -> None:
    run = await start(server, "narrow")
    _, sha256 = DatasetStore(tmp_path / "datasets").read("narrow")
    assert list(run.sources) == [run_pb2.Source(dataset="narrow", sha256=sha256)]
    game = run.training.game
    assert (game.width, game.height) == (8, 9)
    assert (game.rule, game.randomizer) == (run_pb2.RULE_PUBLISHED, run_pb2.RANDOMIZER_UNIFORM)
    assert "--dataset narrow" in run.command
    # What is asked for holds, but for the width.
    asked = run_pb2.GameSpec(height=20, rule=run_pb2.RULE_GYMNASIUM)
    game = (await start(server, "narrow", game=asked)).training.game
    assert (game.width, game.height, game.rule) == (8, 20, run_pb2.RULE_GYMNASIUM)
    assert game.randomizer == run_pb2.RANDOMIZER_UNIFORM


async def test_a_model_and_a_dataset_go_together(server: SmallServer) -> None:
    run = await start(server, "boards", slot="dt10", algorithm=run_pb2.ALGORITHM_CEM)
    assert [source.WhichOneof("source") for source in run.sources] == ["slot", "dataset"]
    assert run.training.features == run_pb2.FEATURE_SET_DT
    with refused(INVALID, "shows bcts, and the training sees dt", DATASET):
        await start(server, "games", slot="dt10", algorithm=run_pb2.ALGORITHM_CEM)
    with refused(INVALID, "8 wide, those of the training 10", DATASET):
        await start(server, "narrow", slot="dt10", algorithm=run_pb2.ALGORITHM_CEM)


@pytest.mark.parametrize(
    ("dataset", "features"),
    [
        ("games", run_pb2.FEATURE_SET_UNSPECIFIED),
        ("games", run_pb2.FEATURE_SET_BCTS),
        ("simples", run_pb2.FEATURE_SET_SIMPLE),
        ("boards", run_pb2.FEATURE_SET_SIMPLE),
        ("boards", run_pb2.FEATURE_SET_BCTS),
        ("boards", run_pb2.FEATURE_SET_DT),
        ("boards", run_pb2.FEATURE_SET_BOARD),
    ],
)
async def test_whoever_is_shown_enough_may_learn(
    server: SmallServer, dataset: str, features: run_pb2.FeatureSet.ValueType
) -> None:
    run = await start(server, dataset, features=features)
    assert run.training.warm_start.dataset == dataset


async def test_what_cannot_be_learnt_from_is_refused(server: SmallServer) -> None:
    with refused(NOT_FOUND, "nothing-there"):
        await start(server, "nothing-there")
    with refused(INVALID, field=DATASET):
        await start(server, "../games")
    with refused(INVALID, "8 wide, those of the training 10", DATASET):
        await start(server, "narrow", game=run_pb2.GameSpec(width=10))
    for dataset, features in (
        ("games", run_pb2.FEATURE_SET_SIMPLE),
        ("games", run_pb2.FEATURE_SET_DT),
        ("games", run_pb2.FEATURE_SET_BOARD),
        ("simples", run_pb2.FEATURE_SET_BCTS),
    ):
        with refused(INVALID, "take a dataset that shows the board", DATASET):
            await start(server, dataset, features=features)
    # The height is the dataset's: what is too high for it is told.
    with refused(INVALID, "at most the game's height, 9", "training.td.training_height"):
        await start(server, "narrow", td=run_pb2.TdParams(training_height=10))


@pytest.mark.parametrize("algorithm", ["DQN", "PPO", "CEM"])
async def test_only_td_has_a_memory_for_games(server: SmallServer, algorithm: str) -> None:
    chosen = run_pb2.Algorithm.Value(f"ALGORITHM_{algorithm}")
    replay = run_pb2.WARM_START_METHOD_REPLAY
    with refused(INVALID, "only td has", METHOD):
        await start(server, "games", algorithm=chosen, method=replay)
    await start(server, "games", algorithm=chosen)
    await start(server, "games", method=replay)

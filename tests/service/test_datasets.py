"""Simulations and their datasets over gRPC: a real server, whose workers play no real games."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import mltetris_client
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from mltetris_api.v1 import dataset_pb2, run_pb2, trainer_pb2
from mltetris_api.worker.v1 import worker_pb2, worker_pb2_grpc
from mltetris_server.storage import DatasetStore
from support.checkpoints import flip_bit
from support.datasets import dataset_files, header_of, put_requests, store_dataset
from support.server import CHANNEL_OPTIONS
from support.small import eventually, small_service
from support.small_server import SmallServer, living_workers, small_server

SUCCEEDED = run_pb2.RUN_STATE_SUCCEEDED
STOPPED = run_pb2.RUN_STATE_STOPPED
RUNNING = run_pb2.RUN_STATE_RUNNING


@contextlib.contextmanager
def refused(code: grpc.StatusCode, text: str = "", field: str = "") -> Iterator[None]:
    """The calls within are refused with this code, words and field."""
    with pytest.raises(grpc.RpcError) as caught:
        yield
    error: Any = caught.value
    assert error.code() == code, error
    assert text in error.details()
    if field:
        fields = []
        for detail in rpc_status.from_call(error).details:
            bad = error_details_pb2.BadRequest()
            if detail.Unpack(bad):
                fields += [violation.field for violation in bad.field_violations]
        assert fields == [field]


async def simulate(server: SmallServer, **spec: Any) -> run_pb2.Run:
    """Starts a simulation."""
    spec.setdefault("player", run_pb2.Player(slot="bcts"))
    request = trainer_pb2.StartRunRequest(simulation=run_pb2.SimulationSpec(**spec))
    return (await server.trainer.StartRun(request)).run


async def export(server: SmallServer, name: str) -> tuple[dataset_pb2.Dataset, bytes]:
    """A dataset as ExportDataset sends it: what it is, and the bytes of its files."""
    call = server.trainer.ExportDataset(trainer_pb2.ExportDatasetRequest(name=name))
    header, content = dataset_pb2.Dataset(), b""
    async for part in call:
        if part.HasField("header"):
            header = part.header
        else:
            assert 0 < len(part.chunk) <= 65536
            content += part.chunk
    return header, content


async def listed(server: SmallServer) -> list[str]:
    response = await server.trainer.ListDatasets(trainer_pb2.ListDatasetsRequest())
    return [dataset.name for dataset in response.datasets]


async def test_a_simulation_makes_a_dataset_that_is_listed_exported_and_deleted(
    tmp_path: Path,
) -> None:
    async with small_server(tmp_path) as server:
        run = await simulate(server, games=50, dataset="games", exploration=0.25)
        assert run.id.startswith("sim-")
        assert await listed(server) == []
        run = await server.until_state(run.id, SUCCEEDED)
        assert run.simulation.dataset == "games"
        result = run.simulation_result
        assert (result.dataset, result.stored) == ("games", True)
        assert (result.games, result.placements, result.mean_lines) == (50, 500, 45.5)

        request = trainer_pb2.GetDatasetRequest(name="games")
        dataset = (await server.trainer.GetDataset(request)).dataset
        assert (dataset.name, dataset.run) == ("games", run.id)
        assert dataset.minari_id == "mltetris/games-v0"
        assert (dataset.games, dataset.exploration, dataset.seed) == (50, 0.25, 42)
        header, content = await export(server, "games")
        assert header == dataset
        assert content == b"".join(dataset_files(5).values())
        assert await listed(server) == ["games"]

        # Run and dataset do not need each other.
        await server.trainer.DeleteRun(trainer_pb2.DeleteRunRequest(run=run.id))
        assert await listed(server) == ["games"]
        deletion = trainer_pb2.DeleteDatasetRequest(name="games")
        await server.trainer.DeleteDataset(deletion)
        assert await listed(server) == []
        for attempt in (
            lambda: server.trainer.GetDataset(request),
            lambda: server.trainer.DeleteDataset(deletion),
            lambda: export(server, "games"),
        ):
            with refused(grpc.StatusCode.NOT_FOUND, "there is no dataset games"):
                await attempt()


async def test_a_simulation_that_is_stopped_keeps_what_was_played(tmp_path: Path) -> None:
    async with small_server(tmp_path) as server:
        run = await simulate(server, games=1_000_000)
        await server.until(run.id, lambda run: run.metrics.sequence >= 3)
        stopped = (await server.trainer.StopRun(trainer_pb2.StopRunRequest(run=run.id))).run
        assert stopped.state == STOPPED
        assert stopped.simulation_result.stored
        assert stopped.simulation_result.games >= 30
        name = stopped.simulation.dataset
        assert name == f"bcts-{run.id.removeprefix('sim-')}"
        assert await listed(server) == [name]


async def test_what_cannot_be_simulated_is_refused_with_its_field(tmp_path: Path) -> None:
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    async with small_server(tmp_path, max_runs=1) as server:
        for field, spec in (
            ("simulation.games", {"games": 0}),
            ("simulation.games", {"games": 10**9 + 1}),
            ("simulation.placements", {"placements": 0}),
            ("simulation.boards", {"boards": 0}),
            ("simulation.threads", {"threads": 65}),
            ("simulation.exploration", {"exploration": 1.5}),
            ("simulation.exploration", {"exploration": float("nan")}),
            ("simulation.observation", {"observation": 9}),
            ("simulation.dataset", {"dataset": "../x"}),
            ("simulation.dataset", {"dataset": "con"}),
            ("simulation.game.width", {"game": run_pb2.GameSpec(width=3)}),
            ("simulation.player.slot", {"player": run_pb2.Player(slot="../x")}),
            ("simulation.player.source", {"player": run_pb2.Player()}),
        ):
            with refused(invalid, field=field):
                await simulate(server, **spec)
        with refused(grpc.StatusCode.NOT_FOUND, "there is no slot nobody"):
            await simulate(server, player=run_pb2.Player(slot="nobody"))
        nowhere = run_pb2.RunCheckpoint(run="train-nothere")
        with refused(grpc.StatusCode.NOT_FOUND):
            await simulate(server, player=run_pb2.Player(checkpoint=nowhere))
        with refused(grpc.StatusCode.FAILED_PRECONDITION, "there is no active slot"):
            await server.trainer.StartRun(
                trainer_pb2.StartRunRequest(simulation=run_pb2.SimulationSpec())
            )
        assert not (await server.trainer.ListRuns(trainer_pb2.ListRunsRequest())).runs


async def test_a_name_that_a_dataset_or_an_unfinished_simulation_has_is_taken(
    tmp_path: Path,
) -> None:
    taken = grpc.StatusCode.ALREADY_EXISTS
    async with small_server(tmp_path, max_runs=1) as server:
        going = await simulate(server, games=10**9, dataset="going")
        queued = await simulate(server, games=10, dataset="waiting")
        for name in ("going", "waiting", "GOING", "Waiting"):
            with refused(taken, "is making a dataset"):
                await simulate(server, dataset=name)
        with refused(grpc.StatusCode.FAILED_PRECONDITION, queued.id):
            await server.trainer.DeleteDataset(trainer_pb2.DeleteDatasetRequest(name="waiting"))
        await server.until_state(going.id, RUNNING)
        await server.trainer.StopRun(trainer_pb2.StopRunRequest(run=going.id))
        await server.until_state(queued.id, SUCCEEDED)
        for name in ("waiting", "WAITING"):
            with refused(taken, "there is a dataset waiting already"):
                await simulate(server, dataset=name)


async def test_a_dataset_that_an_unfinished_training_learns_from_stays(tmp_path: Path) -> None:
    store_dataset(DatasetStore(tmp_path / "datasets"), "lessons")
    deletion = trainer_pb2.DeleteDatasetRequest(name="lessons")
    async with small_server(tmp_path) as server:
        spec = run_pb2.TrainingSpec(warm_start=run_pb2.WarmStart(dataset="lessons"))
        run = await server.running(training=spec)
        with refused(grpc.StatusCode.FAILED_PRECONDITION, f"in use by {run.id}"):
            await server.trainer.DeleteDataset(deletion)
        await server.trainer.StopRun(trainer_pb2.StopRunRequest(run=run.id))
        await server.trainer.DeleteDataset(deletion)


async def test_damage_is_found_before_the_last_byte_of_a_file_has_gone(tmp_path: Path) -> None:
    store_dataset(DatasetStore(tmp_path / "datasets"), "one")
    path = tmp_path / "datasets" / "one" / "data" / "main_data.hdf5"
    async with small_server(tmp_path) as server:
        header, _ = await export(server, "one")
        flip_bit(path, 5)
        call = server.trainer.ExportDataset(trainer_pb2.ExportDatasetRequest(name="one"))
        come = 0
        with refused(grpc.StatusCode.DATA_LOSS, "datasets/one/data/main_data.hdf5 is damaged"):
            async for part in call:
                come += len(part.chunk)
        assert come == header.files[0].size_bytes
        path.unlink()
        for attempt in (
            lambda: export(server, "one"),
            lambda: server.trainer.GetDataset(trainer_pb2.GetDatasetRequest(name="one")),
        ):
            with refused(grpc.StatusCode.DATA_LOSS, "main_data.hdf5 is missing"):
                await attempt()
        assert await listed(server) == []


async def test_an_export_goes_on_while_its_dataset_is_deleted(tmp_path: Path) -> None:
    files = dataset_files(3)
    # More than is on its way in gRPC's buffers.
    files["data/main_data.hdf5"] = bytes(range(256)) * (24 << 12)
    store = DatasetStore(tmp_path / "datasets")
    writer = store.receive("large", header_of(files), "sim-abc123")
    for data in files.values():
        writer.write(data)
    store.put(writer)
    async with small_server(tmp_path) as server:
        call = server.trainer.ExportDataset(trainer_pb2.ExportDatasetRequest(name="large"))
        stream: AsyncIterator[trainer_pb2.ExportDatasetResponse] = aiter(call)
        assert (await anext(stream)).header.name == "large"
        await server.trainer.DeleteDataset(trainer_pb2.DeleteDatasetRequest(name="large"))
        assert await listed(server) == []
        content = bytearray()
        async for part in stream:
            content += part.chunk
        assert bytes(content) == b"".join(files.values())


class Impostor:
    """Speaks for the worker of a run that waits to be stopped."""

    def __init__(self, stub: worker_pb2_grpc.WorkerServiceAsyncStub, metadata: Any) -> None:
        self.stub = stub
        self.metadata = metadata

    async def put(
        self, requests: Iterator[worker_pb2.PutDatasetRequest]
    ) -> worker_pb2.PutDatasetResponse:
        async def sent() -> AsyncIterator[worker_pb2.PutDatasetRequest]:
            for request in requests:
                yield request

        return await self.stub.PutDataset(sent(), metadata=self.metadata)

    async def trajectories(self) -> list[worker_pb2.GetTrajectoriesResponse]:
        call = self.stub.GetTrajectories(
            worker_pb2.GetTrajectoriesRequest(), metadata=self.metadata
        )
        return [part async for part in call]


@contextlib.asynccontextmanager
async def impostor(run: run_pb2.Run) -> AsyncIterator[Impostor]:
    """The worker of `run` as far as the server can tell."""
    for worker in living_workers():
        environment = worker.environ()
        if environment["MLTETRIS_WORKER_RUN"] == run.id:
            break
    else:
        raise AssertionError("the run has no worker")
    secret = environment["MLTETRIS_WORKER_SECRET"]
    address = environment["MLTETRIS_WORKER_ADDRESS"]
    async with grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        metadata = (("mltetris-run", run.id), ("mltetris-secret", secret))
        yield Impostor(worker_pb2_grpc.WorkerServiceStub(channel), metadata)


async def test_a_worker_stores_its_own_dataset_whole_or_not_at_all(tmp_path: Path) -> None:
    invalid, files = grpc.StatusCode.INVALID_ARGUMENT, dataset_files(4)
    whole = list(put_requests(files))
    async with small_server(tmp_path) as server:
        run = await simulate(server, games=10**9, dataset="mine")
        await server.until_state(run.id, RUNNING)
        async with impostor(run) as worker:
            for field, requests in (
                ("header", []),
                ("header", whole[1:]),
                ("header", [whole[0], *whole]),
                ("header.name", put_requests(files, name="other")),
                ("header.games", put_requests(files, games=0)),
                ("header.player_sha256", put_requests(files, player_sha256="x")),
                ("header.game.width", put_requests(files, game=run_pb2.GameSpec(width=99))),
                ("header.files[0].name", put_requests({"../../escaped": b"x", **files})),
                ("header.files", put_requests({"data/metadata.json": b"x"})),
                ("header", put_requests(files, player="x" * 70_000)),
                ("chunk", whole[:-1]),
                ("chunk", [*whole, whole[-1]]),
            ):
                with refused(invalid, field=field):
                    await worker.put(iter(requests))
                assert await listed(server) == []
                assert list((tmp_path / "datasets").iterdir()) == []
            damaged = worker_pb2.PutDatasetRequest(chunk=b"?" * len(whole[1].chunk))
            with refused(grpc.StatusCode.DATA_LOSS, "was damaged on its way"):
                await worker.put(iter([whole[0], damaged, *whole[2:]]))
            huge = put_requests(files)
            header = next(huge)
            header.header.files[0].size_bytes = 1 << 60
            with refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "free some space"):
                await worker.put(iter([header, *huge]))
            assert list((tmp_path / "datasets").iterdir()) == []

            # What is sent once more after a broken line takes the place of what came before.
            for seed in (4, 5):
                stored = (await worker.put(put_requests(dataset_files(seed)))).dataset
                assert (stored.name, stored.run) == ("mine", run.id)
                assert (await export(server, "mine"))[1] == b"".join(dataset_files(seed).values())
            assert (await server.run(run.id)).simulation_result.stored
            with refused(grpc.StatusCode.PERMISSION_DENIED, "not told to learn"):
                await worker.trajectories()


async def test_a_training_stores_no_dataset_and_reads_its_own_only(tmp_path: Path) -> None:
    store = DatasetStore(tmp_path / "datasets")
    store_dataset(store, "lessons", seed=8)
    store_dataset(store, "others", seed=9)
    async with small_server(tmp_path) as server:
        plain = await server.running()
        spec = run_pb2.TrainingSpec(warm_start=run_pb2.WarmStart(dataset="lessons"))
        learning = await server.running(training=spec)
        async with impostor(plain) as worker:
            with refused(grpc.StatusCode.PERMISSION_DENIED, "is no simulation"):
                await worker.put(put_requests(dataset_files()))
            with refused(grpc.StatusCode.PERMISSION_DENIED, "not told to learn"):
                await worker.trajectories()
        async with impostor(learning) as worker:
            header, *chunks = await worker.trajectories()
            name = "trajectories.safetensors"
            assert [file.name for file in header.header.files] == [name]
            assert header.header.name == "lessons"
            assert b"".join(part.chunk for part in chunks) == dataset_files(8)[name]
            flip_bit(tmp_path / "datasets" / "lessons" / name)
            with refused(grpc.StatusCode.DATA_LOSS, f"datasets/lessons/{name} is damaged"):
                await worker.trajectories()
        assert await listed(server) == ["others", "lessons"]


async def test_a_slow_upload_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLTETRIS_SMALL_WORKER", "slow-upload")
    async with small_server(tmp_path) as server:
        run = await simulate(server, games=10, dataset="slow")
        uploads = tmp_path / "datasets"
        await asyncio.to_thread(eventually, lambda: list(uploads.glob(".tmp-*")), "an upload")
        other = await server.start()
        await server.until(other.id, lambda run: run.metrics.sequence >= 3)
        assert await listed(server) == []
        # All of this came to pass in the middle of it.
        assert not (await server.run(run.id)).simulation_result.stored
        await server.until_state(run.id, SUCCEEDED)
        assert await listed(server) == ["slow"]


async def test_a_simulation_that_stops_is_waited_for_while_it_sends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLTETRIS_SMALL_WORKER", "slow-upload")
    async with small_server(tmp_path, stop_s=0.5) as server:
        run = await simulate(server, games=10**9, dataset="late")
        await server.until(run.id, lambda run: run.metrics.sequence >= 1)
        with contextlib.suppress(grpc.RpcError):  # it takes longer than the caller is to wait
            await server.trainer.StopRun(trainer_pb2.StopRunRequest(run=run.id))
        ended = await server.until(run.id, lambda run: run.HasField("end_time"))
        assert ended.state == STOPPED
        assert ended.simulation_result.stored
        assert await listed(server) == ["late"]


def test_a_server_killed_while_a_dataset_comes_has_it_whole_or_not_at_all(
    tmp_path: Path,
) -> None:
    with small_service(tmp_path / "data", "--grace", "20", habits="slow-upload") as server:
        datasets = tmp_path / "data" / "datasets"
        with mltetris_client.connect(server.address) as trainer:
            run = trainer.start_simulation(player="bcts", games=10, dataset="games")
            eventually(lambda: list(datasets.glob(".tmp-*/data/main_data.hdf5")), "an upload")
            server.kill()
            assert not (datasets / "games").exists()
            server.start()
        with mltetris_client.connect(server.address) as trainer:
            # The worker has come back, and sends it once more.
            eventually(lambda: trainer.get_run(run.id).simulation_result.stored, "the dataset")
            assert [dataset.name for dataset in trainer.list_datasets()] == ["games"]
            trainer.export_dataset("games", tmp_path / "root")
            assert [path.name for path in datasets.iterdir()] == ["games"]
            eventually(lambda: trainer.get_run(run.id).HasField("end_time"), "the end")
            assert trainer.get_run(run.id).state == SUCCEEDED


def test_a_dataset_that_was_stored_when_the_server_died_is_noted_by_the_next(
    tmp_path: Path,
) -> None:
    with small_service(tmp_path / "data", "--grace", "1") as server:
        with mltetris_client.connect(server.address) as trainer:
            run = trainer.start_simulation(player="bcts", games=10**9, dataset="games")
            eventually(lambda: trainer.get_run(run.id).metrics.sequence, "a game")
        server.kill()
        # As if it had been killed between the last byte of the dataset and the note of it.
        store_dataset(DatasetStore(tmp_path / "data" / "datasets"), "games", run=run.id)
        for worker in server.workers():
            worker.kill()
        server.start()
        with mltetris_client.connect(server.address) as trainer:
            found = trainer.get_run(run.id)
            assert found.simulation_result.stored
            assert found.simulation_result.games == trainer.get_dataset("games").games

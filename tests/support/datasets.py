"""Small datasets for tests: not to be learnt from, but whole."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from mltetris_api.v1 import dataset_pb2, run_pb2
from mltetris_api.worker.v1 import worker_pb2
from mltetris_server.storage import DatasetStore

RUN = "sim-abc123"


def dataset_files(seed: int = 1, size: int = 3000) -> dict[str, bytes]:
    """The files of a dataset by name, in the order they are sent; seeds give different bytes."""
    return {
        "data/metadata.json": f'{{"seed": {seed}}}'.encode(),
        "data/main_data.hdf5": bytes((seed + i) % 251 for i in range(size)),
        "trajectories.safetensors": bytes((seed * i) % 256 for i in range(size // 2)),
    }


def header_of(files: Mapping[str, bytes], **changes: Any) -> dataset_pb2.Dataset:
    """What a worker says of a dataset before it sends it."""
    header = dataset_pb2.Dataset(
        player="bcts",
        player_sha256="ab" * 32,
        game=run_pb2.GameSpec(
            width=10,
            height=20,
            rule=run_pb2.RULE_GYMNASIUM,
            randomizer=run_pb2.RANDOMIZER_BAG7,
        ),
        observation=run_pb2.OBSERVATION_BCTS,
        games=10,
        cut_off_games=1,
        placements=1234,
        mean_lines=45.5,
        best_lines=200,
        exploration=0.1,
        seed=7,
        files=[
            dataset_pb2.DatasetFile(
                name=name, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest()
            )
            for name, data in files.items()
        ],
    )
    for name, value in changes.items():
        header.ClearField(name)  # type: ignore[arg-type]
        header.MergeFrom(dataset_pb2.Dataset(**{name: value}))
    return header


def put_requests(
    files: Mapping[str, bytes], chunk_bytes: int = 1000, **changes: Any
) -> Iterator[worker_pb2.PutDatasetRequest]:
    """What PutDataset is sent for these files."""
    yield worker_pb2.PutDatasetRequest(header=header_of(files, **changes))
    content = b"".join(files.values())
    for start in range(0, len(content), chunk_bytes):
        yield worker_pb2.PutDatasetRequest(chunk=content[start : start + chunk_bytes])


def store_dataset(
    store: DatasetStore, name: str, seed: int = 1, *, run: str = RUN, **changes: Any
) -> dataset_pb2.Dataset:
    """Stores a dataset as a server does when a worker sends it."""
    files = dataset_files(seed)
    writer = store.receive(name, header_of(files, **changes), run)
    try:
        for data in files.values():
            for start in range(0, len(data), 700):
                writer.write(data[start : start + 700])
        return store.put(writer)
    finally:
        writer.discard()


def read_dataset(store: DatasetStore, name: str) -> dict[str, bytes]:
    """Every byte of a dataset, checked."""
    from mltetris_server.storage.datasets import read_checked

    _, opened = store.open(name)
    content = {}
    for handle, file in opened:
        with handle:
            content[file.name] = b"".join(read_checked(handle, file.name, file, 512))
    return content

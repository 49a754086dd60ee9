"""A dataset on its way to the server: in chunks, from the disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import grpc
from mltetris_api.v1.dataset_pb2 import Dataset
from mltetris_api.worker.v1.worker_pb2 import PutDatasetRequest

from mltetris_server.worker.link import Link
from mltetris_server.worker.transfer import CALL_SECONDS, CHUNK_BYTES, Attempts

_SLOWEST = 4 * 1024 * 1024
"""Bytes a second that are waited for at least."""


def put_dataset(link: Link, header: Dataset, folder: Path) -> Dataset:
    """Stores a dataset with the server; waits through breaks of the line.

    Args:
        link: the line to the server.
        header: what the dataset is, its files with sizes and SHA-256 included.
        folder: where they lie; only a chunk is in memory at a time.

    Returns:
        The dataset as the server has it.

    Raises:
        ServerGone: the server went away for good.
        TransferError: the server does not take it.
        OSError: a file cannot be read.
    """
    files = [folder / file.name for file in header.files]
    patience = CALL_SECONDS + sum(file.size_bytes for file in header.files) / _SLOWEST
    attempts = Attempts(link)
    while True:
        link.await_attached()
        try:
            response = link.stub.PutDataset(
                _requests(header, files), metadata=link.settings.metadata, timeout=patience
            )
        except grpc.RpcError as error:
            attempts.failed(error)
            continue
        return response.dataset


def _requests(header: Dataset, files: Sequence[Path]) -> Iterator[PutDatasetRequest]:
    yield PutDatasetRequest(header=header)
    for path in files:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield PutDatasetRequest(chunk=chunk)

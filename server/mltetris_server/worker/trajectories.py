"""A dataset's trajectories on their way from the server, in chunks."""

from __future__ import annotations

import hashlib
from pathlib import Path

import grpc
from mltetris_api.v1.dataset_pb2 import Dataset, DatasetFile
from mltetris_api.worker.v1.worker_pb2 import GetTrajectoriesRequest

from mltetris_server.worker.link import Link
from mltetris_server.worker.transfer import Attempts, TransferError

READ_SECONDS = 600.0
"""How long one attempt may take: a large dataset is gigabytes."""


def get_trajectories(link: Link, path: Path) -> Dataset:
    """Reads the trajectories that the run is to learn from into a file; waits through breaks.

    Args:
        link: the line to the server.
        path: of the file to write.

    Returns:
        What the server says of the dataset.

    Raises:
        ServerGone: the server went away for good.
        TransferError: the server has no such dataset, or what came is not what the header says.
        OSError: the file cannot be written.
    """
    attempts = Attempts(link)
    while True:
        link.await_attached()
        try:
            return _read(link, path)
        except grpc.RpcError as error:
            attempts.failed(error)


def _read(link: Link, path: Path) -> Dataset:
    header: Dataset | None = None
    digest, size = hashlib.sha256(), 0
    with path.open("wb") as out:
        for response in link.stub.GetTrajectories(
            GetTrajectoriesRequest(), metadata=link.settings.metadata, timeout=READ_SECONDS
        ):
            if response.WhichOneof("part") == "header":
                header = response.header
                continue
            size += len(response.chunk)
            if size > _file(header).size_bytes:
                raise _damaged("it is longer than its header says")
            digest.update(response.chunk)
            out.write(response.chunk)
    file = _file(header)
    if size != file.size_bytes:
        raise _damaged(f"{size} bytes came instead of {file.size_bytes}")
    if digest.hexdigest() != file.sha256:
        raise _damaged(f"{file.name} does not have its SHA-256")
    assert header is not None
    return header


def _file(header: Dataset | None) -> DatasetFile:
    if header is None or len(header.files) != 1:
        raise _damaged("its header does not tell of one file")
    return header.files[0]


def _damaged(what: str) -> TransferError:
    return TransferError(grpc.StatusCode.DATA_LOSS, f"the dataset is damaged: {what}")

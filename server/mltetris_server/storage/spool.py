"""What workers left when their server was gone for good: checkpoints to take in."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from google.protobuf.message import DecodeError
from mltetris_api.worker.v1 import worker_pb2

from mltetris_server import errors
from mltetris_server.storage import durable
from mltetris_server.storage.places import shown

FOLDER: Final = "spool"
"""In the folder of a run."""
FILE_NAME: Final = "latest.checkpoint"
MOST_BYTES: Final = 512 * 1024 * 1024


def read(folder: Path) -> worker_pb2.SpooledCheckpoint | None:
    """Returns the checkpoint in a run's ``folder``, every byte checked, or None: there is none.

    Raises:
        DataLoss: it is damaged; the message names the file.
        Unavailable: it cannot be read.
    """
    path = folder / FOLDER / FILE_NAME
    name = shown(path)
    try:
        if path.stat().st_size > MOST_BYTES:
            raise errors.DataLoss(f"{name} is damaged: it has more than {MOST_BYTES} bytes")
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise errors.Unavailable(f"cannot read {name}: {error.strerror}") from error
    message = worker_pb2.SpooledCheckpoint()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise errors.DataLoss(f"{name} is damaged: it is no checkpoint") from error
    announced = message.header.files
    if not announced or len(announced) != len(message.files):
        raise errors.DataLoss(f"{name} is damaged: files are missing")
    for file, content in zip(announced, message.files, strict=True):
        if hashlib.sha256(content).hexdigest() != file.sha256:
            raise errors.DataLoss(f"{name} is damaged: {file.name} has another SHA-256")
    return message


def remove(folder: Path) -> None:
    """Removes what a worker left in a run's ``folder``, if there is anything."""
    path = folder / FOLDER
    if path.is_dir():
        durable.discard(path)

"""What workers left when their server was gone for good: checkpoints to take in."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final

from google.protobuf.message import DecodeError
from mltetris_api.worker.v1 import worker_pb2

from mltetris_server import errors
from mltetris_server.storage import checkpoints, durable
from mltetris_server.storage.places import shown

FOLDER: Final = "spool"
"""In the folder of a run."""
FILE_NAME: Final = "latest.checkpoint"
MOST_BYTES: Final = 512 * 1024 * 1024


def read(folder: Path) -> worker_pb2.SpooledCheckpoint | None:
    """Returns the checkpoint in a run's ``folder``, every byte checked, or None: there is none.

    Raises:
        DataLoss: it is damaged or cannot be read; the message names the file.
    """
    path = folder / FOLDER / FILE_NAME
    name = shown(path)
    checkpoints.refuse_link(path.parent)
    if not os.path.lexists(path):
        return None
    data = checkpoints.read_file(path, MOST_BYTES)
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
    if os.path.lexists(path):
        durable.discard(path)

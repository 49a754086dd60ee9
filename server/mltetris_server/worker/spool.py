"""The last checkpoint of a worker whose server is gone for good: a file that the next one takes in.

It is the one thing a worker ever writes to a disk, and only when there is nobody left to give it
to. Its launcher says where; a worker that has no such place keeps nothing.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from mltetris_api.worker.v1.worker_pb2 import SpooledCheckpoint

from mltetris_server.worker.transfer import LATEST, Checkpoint, header_of

_log = logging.getLogger(__name__)

FILE_NAME = "latest.checkpoint"


def spool(folder: Path, checkpoint: Checkpoint) -> Path | None:
    """Writes a checkpoint, whole or not at all; returns the file, or None where that failed.

    Whoever calls is about to end: why it failed goes to the log.
    """
    message = SpooledCheckpoint(
        header=header_of(LATEST, checkpoint), files=checkpoint.files.values()
    )
    path = folder / FILE_NAME
    temporary = folder / f".tmp-{FILE_NAME}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(message.SerializeToString())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync(folder)
        _sync(folder.parent)
    except OSError as error:
        _log.error("the last checkpoint could not be kept: %s", error)
        return None
    _log.info("the last checkpoint is in %s, at %d placements", path, checkpoint.placements)
    return path


def _sync(folder: Path) -> None:
    """Waits until the folder's entries are on the device, where folders can be opened."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

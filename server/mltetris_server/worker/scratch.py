"""A folder for what a run writes before its server gets it: removed in any case.

Beside the worker's log where its launcher gave it a place: the server removes what is there when a
worker dies, and so does the run's next worker. Elsewhere in the system's folder for temporary
files, where the next worker of any run removes what dead ones left.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

LEAST_FREE = 64 * 1024 * 1024
"""Bytes that stay free on the disk."""
_PREFIX = "mltetris-worker-"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class NoRoomError(Exception):
    """There is no room on the disk for what the run writes."""


@contextlib.contextmanager
def scratch_folder(place: Path | None) -> Iterator[Path]:
    """An empty folder, for as long as it is used.

    Args:
        place: a folder of the run's own; None: there is none.

    Raises:
        OSError: it cannot be made.
    """
    if place is not None:
        folder = place / "scratch"
        _remove(folder)
        folder.mkdir(parents=True)
    else:
        _remove_of_the_dead(Path(tempfile.gettempdir()))
        folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
    try:
        yield folder
    finally:
        _remove(folder)
        if place is not None:
            # Unless something else is in it.
            with contextlib.suppress(OSError):
                place.rmdir()


@contextlib.contextmanager
def refusing_full_disk(folder: Path) -> Iterator[None]:
    """Makes a clear error of one that a full disk has caused.

    Raises:
        NoRoomError: there was no room for what was to be written to the folder.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM or shutil.disk_usage(folder).free < 1024 * 1024:
            raise _no_room(folder) from error
        raise


def require_room(folder: Path, more: int = 0) -> None:
    """Raises NoRoomError where less than LEAST_FREE and `more` bytes are free on the folder's
    disk."""
    if shutil.disk_usage(folder).free < LEAST_FREE + more:
        raise _no_room(folder)


def _no_room(folder: Path) -> NoRoomError:
    return NoRoomError(
        f"there is no room left on the disk of {folder}, where the dataset is written before it is "
        "stored: it takes its size twice for a moment, and 64 MiB stay free"
    )


def _remove(folder: Path) -> None:
    # What cannot be removed is the next worker's.
    shutil.rmtree(folder, ignore_errors=True)


def _remove_of_the_dead(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*-*"):
        pid = folder.name.removeprefix(_PREFIX).split("-")[0]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            _remove(folder)

"""Writing files so that a crash, a kill or a power cut leaves them whole or absent.

The order is everywhere the same: write beside the destination, flush to the device, rename over
it, flush the folder. Windows cannot flush a folder and refuses to rename what another program
(a virus scanner, an indexer) has open for a moment; both are handled here and nowhere else.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from mltetris_server import errors
from mltetris_server.storage.places import shown

_log = structlog.get_logger(__name__)

TEMPORARY = ".tmp-"
"""What every unfinished file and folder begins with; safe to remove when nobody is writing."""

_RENAME_PATIENCE = 2.0  # seconds; scanners let go of a file within a fraction of that


_ADVICE = {
    errno.ENOSPC: "; free some space",
    errno.EDQUOT: "; free some space",
    errno.EACCES: "; check its permissions",
    errno.EPERM: "; check its permissions",
    errno.EROFS: "; choose a place that can be written",
}


@contextmanager
def writing(path: Path | str) -> Iterator[None]:
    """Turn the system's refusal to write (read-only, no permission) into Unavailable.

    The message names ``path`` from the data directory on; a text stands in it as it is. Raises
    DiskFull, which is one, where there is no room.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        advice = _ADVICE.get(error.errno or 0, "")
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        kind = errors.DiskFull if full else errors.Unavailable
        where = path if isinstance(path, str) else shown(path)
        raise kind(f"cannot write {where}: {reason}{advice}") from error


def temporary_path(beside: Path) -> Path:
    """A free path in the same folder as ``beside``, for something unfinished."""
    return beside.with_name(f"{TEMPORARY}{uuid.uuid4().hex}")


def write_durably(path: Path, data: bytes) -> None:
    """Write a new file and wait until the device has it; its folder is not yet flushed."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace_file(path: Path, data: bytes) -> None:
    """Put ``data`` in the place of the file: readers see the old bytes or the new ones."""
    temporary = temporary_path(path)
    try:
        write_durably(temporary, data)
        _patiently(lambda: temporary.replace(path))
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def rename(source: Path, destination: Path) -> None:
    """Rename a file or folder to a free path in the same folder, durably."""
    _patiently(lambda: source.rename(destination))
    sync_folder(destination.parent)


def remove_folder(path: Path) -> None:
    """Remove a folder at once: it is renamed out of sight first, so that no half of it remains."""
    doomed = temporary_path(path)
    rename(path, doomed)
    discard(doomed)


def discard(path: Path) -> None:
    """Remove a folder or file that counts for nothing any more, if the system lets go of it.

    What it holds on to (Windows does while somebody reads) is said in the log and no failure: the
    work was done before, and the next ``remove_leftovers`` tries again.
    """
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    except OSError as error:
        _log.warning("leftover stays for now", path=str(path), error=str(error))


def remove_leftovers(folder: Path) -> None:
    """Remove what killed writes left in ``folder``. Only for the one owner, while it is idle."""
    for path in folder.glob(f"{TEMPORARY}*"):
        discard(path)


def make_folder(path: Path) -> None:
    """Make a folder and those above it where they are missing, durably."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        sync_folder(folder.parent)


def sync_folder(path: Path) -> None:
    """Wait until the folder's own entries are on the device."""
    if sys.platform == "win32":
        # A folder cannot be opened there; NTFS journals renames itself.
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _patiently(action: Callable[[], object]) -> None:
    """Do it; on Windows again for a while where somebody else has the file open."""
    deadline = time.monotonic() + (_RENAME_PATIENCE if sys.platform == "win32" else 0)
    pause = 0.01
    while True:
        try:
            action()
            return
        except PermissionError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(pause)
            pause = min(2 * pause, 0.2)

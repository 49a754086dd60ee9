"""The worker's log: lines on standard error, which its launcher keeps in a file.

Everything the process prints goes there, native code's last words included, so the file itself is
kept small and not only what `logging` writes: a thread looks at it every second, and one that has
grown beyond 8 MiB becomes `worker.log.1`, in place of what was there, while standard output and
standard error go on in a new one. Files are opened for appending: nobody overwrites anybody.

A log that cannot be written is never a reason to end: what does not fit on a full disk is dropped,
whoever printed it.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import logging
import os
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

LOG_VARIABLE = "MLTETRIS_WORKER_LOG"
"""Names the file that standard error goes to, where it is one that may be rotated."""
MOST_BYTES = 8 * 1024 * 1024
"""Size at which the file is begun anew; the one before has at most twice as many."""
LOOK_SECONDS = 1.0
"""Between two looks at the file's size."""
_STREAMS = (1, 2)


def configure(run: str) -> None:
    """Writes one line a message: UTC time, level, the run, where it comes from, the message."""
    sys.stdout, sys.stderr = (_forgiving(stream) for stream in _STREAMS)
    handler = logging.StreamHandler(sys.stderr)
    formatter = logging.Formatter(
        f"%(asctime)s.%(msecs)03dZ %(levelname)-7s {run} %(name)s: %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
    )
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    # What a crash of native code leaves behind is the end of this log; with all threads, its
    # beginning would not be in what is shown of it.
    faulthandler.enable(2, all_threads=False)
    path = os.environ.get(LOG_VARIABLE)
    if path:
        threading.Thread(target=_keep_small, args=(Path(path),), name="log", daemon=True).start()


def flush() -> None:
    """Writes out what is still in memory, where that is possible."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()


class _Forgiving(io.RawIOBase):
    """A file descriptor to write to, whether it takes it or not."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        return self._descriptor

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer) -> int:
        with contextlib.suppress(OSError):
            return os.write(self._descriptor, data)
        return memoryview(data).nbytes


def _forgiving(descriptor: int) -> io.TextIOWrapper:
    raw = io.BufferedWriter(_Forgiving(descriptor))
    return io.TextIOWrapper(raw, "utf-8", errors="backslashreplace", line_buffering=True)


def keep_small(path: Path, most_bytes: int = MOST_BYTES) -> bool:
    """Begins the log anew where it is larger than `most_bytes`; returns whether it did.

    Args:
        path: the file that standard output and standard error go to; if it is another one by now,
            nothing is done.

    Raises:
        OSError: the disk refuses; the streams go where they went before.
    """
    there = os.fstat(2)
    if there.st_size <= most_bytes or not os.path.samestat(there, path.stat()):
        return False
    older, newer = path.with_name(f"{path.name}.1"), path.with_name(f"{path.name}.new")
    descriptor = os.open(newer, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        path.replace(older)
        newer.replace(path)
        for stream in _STREAMS:
            os.dup2(descriptor, stream)
    finally:
        os.close(descriptor)
    if older.stat().st_size > 2 * most_bytes:
        _cut(older, most_bytes)
    return True


def _keep_small(path: Path) -> None:
    while True:
        with contextlib.suppress(OSError):
            keep_small(path)
        time.sleep(LOOK_SECONDS)


def _cut(path: Path, size: int) -> None:
    """Leaves the last `size` bytes of a file: more was printed than there was time to look."""
    shorter = path.with_name(f"{path.name}.new")
    try:
        with path.open("rb") as source, shorter.open("wb") as target:
            source.seek(-size, os.SEEK_END)
            shutil.copyfileobj(source, target)
        shorter.replace(path)
    except OSError:
        # Small is more important than complete.
        path.unlink(missing_ok=True)
        shorter.unlink(missing_ok=True)
        raise

"""What workers print: a file each, bounded, and never a reason not to run.

The worker keeps its file below 8 MiB itself (`worker/logs.py`): what is older goes to
`worker.log.1` beside it, in place of what was there. So a run's output takes 24 MiB at most.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, Final

import structlog

_log = structlog.get_logger(__name__)

_TAIL_BYTES: Final = 4000


def older(log: Path) -> Path:
    """Where what is older than `log` lies."""
    return log.with_name(f"{log.name}.1")


def open_log(log: Path) -> IO[bytes] | None:
    """Opens a worker's log to go on with; None where the disk does not let us: it runs without."""
    try:
        # Appending: whoever else writes to it (the run's worker before, a child) destroys nothing.
        return log.open("ab")
    except OSError as error:
        _log.warning("a worker's log cannot be written", error=str(error))
        return None


def tail(log: Path) -> str:
    """The end of what was printed, at most 4,000 bytes of it, over the last rotation if need be."""
    end = _end(log, _TAIL_BYTES)
    if len(end) < _TAIL_BYTES:
        end = _end(older(log), _TAIL_BYTES - len(end)) + end
    return end.decode("utf-8", errors="replace").strip()


def _end(log: Path, count: int) -> bytes:
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - count))
            return file.read(count)
    except OSError:
        # Not there, or not readable: the run's end is told all the same.
        return b""

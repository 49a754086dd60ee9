"""What the data directory takes on disk."""

from __future__ import annotations

import os
from pathlib import Path

from mltetris_api.v1 import system_pb2


def disk_use(root: Path) -> system_pb2.DiskUse:
    """Bytes of everything under ``root``, and of its parts. What vanishes meanwhile has none."""
    use = system_pb2.DiskUse(
        runs_bytes=_bytes_under(root / "runs"),
        slots_bytes=_bytes_under(root / "slots"),
        datasets_bytes=_bytes_under(root / "datasets"),
    )
    with os.scandir(root) as entries:
        files = [entry for entry in entries if entry.is_file(follow_symlinks=False)]
    # The write-ahead log and its index are part of it.
    history = (file for file in files if file.name.startswith("mltetris.db"))
    use.history_bytes = sum(map(_size, history))
    use.total_bytes = sum(map(_size, files)) + use.runs_bytes + use.slots_bytes + use.datasets_bytes
    return use


def _bytes_under(folder: str | Path) -> int:
    total = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    total += _bytes_under(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    total += _size(entry)
    except FileNotFoundError:
        return total
    return total


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return 0

"""The data directory and the lock that gives it one owner."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from filelock import FileLock, Timeout

from mltetris_server import errors
from mltetris_server.storage import durable


class DataDir:
    """An open data directory. Exactly one process has it open at a time.

    ``database`` is the history's file; ``slots``, ``runs`` and ``datasets`` are folders that
    exist. Close it, or use it as a context manager; a process that dies lets go of it by dying.
    """

    def __init__(self, root: Path, lock: FileLock) -> None:
        self.root = root
        self.database = root / "mltetris.db"
        self.slots = root / "slots"
        self.runs = root / "runs"
        self.datasets = root / "datasets"
        self._lock = lock
        self._owner = root / "owner.json"

    @classmethod
    def open(cls, path: Path) -> DataDir:
        """Take the directory, made where it is missing.

        Raises DataDirInUse where another process has it, InvalidArgument where ``path`` is a
        file, and Unavailable where it cannot be made or written.
        """
        root = path.expanduser().absolute()
        if root.exists() and not root.is_dir():
            raise errors.InvalidArgument.field("data-dir", f"{root} is no directory")
        with durable.writing(str(root)):
            durable.make_folder(root)
            # fallback_to_soft: a lock that outlives its process would lock people out after a
            # crash, so a file system without locks is refused instead.
            lock = FileLock(root / "lock", timeout=0, thread_local=False, fallback_to_soft=False)
            try:
                lock.acquire()
            except Timeout:
                raise errors.DataDirInUse(_in_use(root)) from None
        data_dir = cls(root, lock)
        try:
            with durable.writing(str(root)):
                for folder in (data_dir.slots, data_dir.runs, data_dir.datasets):
                    folder.mkdir(exist_ok=True)
                durable.remove_leftovers(root)
                owner = {"pid": os.getpid(), "since": datetime.now(UTC).isoformat()}
                durable.replace_file(data_dir._owner, json.dumps(owner).encode())
        except BaseException:
            lock.release()
            raise
        return data_dir

    def close(self) -> None:
        """Let go of the directory. Closing twice is allowed."""
        if self._lock.is_locked:
            self._owner.unlink(missing_ok=True)
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _in_use(root: Path) -> str:
    """Who has the directory, as far as can be told, and what to do."""
    try:
        pid = json.loads((root / "owner.json").read_bytes())["pid"]
        who = f"process {int(pid)}"
    except (OSError, ValueError, TypeError, KeyError):
        # The owner has the lock but has not written its name yet, or is just leaving.
        who = "another process"
    return (
        f"the data directory {root} is in use by {who}: "
        "stop that server, or choose another directory with --data-dir"
    )

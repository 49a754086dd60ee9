"""A reserve on the data directory's disk: what is given up first when there is no room left."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

import structlog

from mltetris_server.storage import durable

_log = structlog.get_logger(__name__)

RESERVE_BYTES: Final = 8 * 1024 * 1024
"""Room for some thousands of states and metric points: what a server has to say until it has
paused everybody."""


class Reserve:
    """A file that only takes up space. With it gone, small writes find room on a full disk.

    Args:
        folder: the data directory.
        size: bytes.
    """

    def __init__(self, folder: Path, size: int = RESERVE_BYTES) -> None:
        self._path = folder / "reserve"
        self._folder = folder
        self._size = size

    @property
    def held(self) -> bool:
        """Whether it is there in full."""
        try:
            return self._path.stat().st_size == self._size
        except FileNotFoundError:
            return False

    @property
    def affordable(self) -> bool:
        """Whether there is room for it and as much again."""
        return shutil.disk_usage(self._folder).free >= 2 * self._size

    def hold(self) -> bool:
        """Takes the space where it can be afforded; returns whether it is held."""
        if self.held:
            return True
        try:
            if not self.affordable:
                return False
            # Written, not left sparse: a hole takes no space.
            durable.write_durably(self._path, bytes(self._size))
        except OSError as error:
            _log.warning("no reserve on the disk", error=str(error))
            self.give_up()
            return False
        return True

    def give_up(self) -> bool:
        """Lets go of the space; returns whether there was any."""
        try:
            self._path.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            _log.warning("the reserve cannot be given up", error=str(error))
            return False
        if os.name == "posix":
            durable.sync_folder(self._folder)
        return True

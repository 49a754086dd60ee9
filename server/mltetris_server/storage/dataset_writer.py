"""A dataset on its way in: its files are written as their bytes come, in bounded memory."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from pathlib import Path
from typing import BinaryIO, Final

from mltetris_api.v1 import dataset_pb2

from mltetris_server import errors
from mltetris_server.storage import dataset_record, durable
from mltetris_server.storage.space import RESERVE_BYTES

_SPARED_BYTES: Final = 2 * RESERVE_BYTES
"""What a dataset must leave free on the disk, for everything else that is written meanwhile."""


class DatasetWriter:
    """Takes the bytes of a dataset's files, in the order of ``dataset.files``.

    ``folder`` is where it is going to be. Until ``close`` it lies beside that, under a name of
    something unfinished. ``dataset`` must have passed ``dataset_record.check_content``.

    Raises DiskFull at once where the disk has no room for all of it.
    """

    def __init__(self, folder: Path, dataset: dataset_pb2.Dataset) -> None:
        self.dataset = dataset
        self.folder = folder
        self.unfinished = durable.temporary_path(folder)
        self._files = list(dataset.files)
        self._next = 0
        self._file: BinaryIO | None = None
        self._left = 0
        self._digest = hashlib.sha256()
        with durable.writing(folder):
            _check_room(folder.parent, sum(file.size_bytes for file in self._files))
            self.unfinished.mkdir()
            try:
                for name in {Path(file.name).parent for file in self._files} - {Path()}:
                    (self.unfinished / name).mkdir()
            except BaseException:
                self.discard()
                raise

    def write(self, data: bytes) -> None:
        """Write the next bytes, of one file or of several.

        Raises InvalidArgument where there are more than announced, DataLoss where a file's SHA-256
        is not the announced one, and DiskFull or Unavailable where the disk refuses.
        """
        rest = memoryview(data)
        with durable.writing(self.folder):
            while rest:
                if self._file is None:
                    self._begin()
                assert self._file is not None
                part, rest = rest[: self._left], rest[self._left :]
                self._file.write(part)
                self._digest.update(part)
                self._left -= len(part)
                if not self._left:
                    self._end()

    def close(self, description: bytes) -> None:
        """Write the description; afterwards everything is on the device, under the unfinished name.

        Raises InvalidArgument where bytes are missing, and as ``write`` does.
        """
        if self._file is not None or self._next < len(self._files):
            missing = self._left + sum(file.size_bytes for file in self._files[self._next :])
            raise errors.InvalidArgument.field(
                "chunk", f"{missing} bytes of those that the header announces are missing"
            )
        with durable.writing(self.folder):
            for part in {Path(file.name).parent for file in self._files} - {Path()}:
                durable.sync_folder(self.unfinished / part)
            durable.write_durably(
                self.unfinished / dataset_record.DIGEST_FILE,
                dataset_record.digest_line(description),
            )
            durable.write_durably(self.unfinished / dataset_record.FILE_NAME, description)
            durable.sync_folder(self.unfinished)

    def discard(self) -> None:
        """Remove what was written. After the dataset has been put in its place there is nothing."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                # It wants to write the rest first, for which there may be no room.
                self._file.close()
            self._file = None
        if os.path.lexists(self.unfinished):
            durable.discard(self.unfinished)

    def _begin(self) -> None:
        if self._next == len(self._files):
            raise errors.InvalidArgument.field("chunk", "more bytes came than the header announces")
        announced = self._files[self._next]
        self._next += 1
        self._file = (self.unfinished / announced.name).open("wb")
        self._left = announced.size_bytes
        self._digest = hashlib.sha256()

    def _end(self) -> None:
        assert self._file is not None
        announced = self._files[self._next - 1]
        if self._digest.hexdigest() != announced.sha256:
            raise errors.DataLoss(f"{announced.name} was damaged on its way")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._file = None


def _check_room(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if size + _SPARED_BYTES > free:
        raise errors.DiskFull(
            f"the dataset has {size} bytes, and the server's disk {free} free, of which "
            f"{_SPARED_BYTES} are spared: free some space"
        )

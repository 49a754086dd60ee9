"""Datasets on the server's disk, for those who are not to block."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

from mltetris_api.v1 import dataset_pb2

from mltetris_server.errors import InvalidArgument
from mltetris_server.runs.threads import Thread
from mltetris_server.storage import dataset_record
from mltetris_server.storage.datasets import DatasetStore, read_checked

_READ_BYTES: Final = 1024 * 1024
"""Bytes that are read at a time."""


class Datasets:
    """Datasets by name. Everything happens in order on the one thread `disk`, a piece at a time:
    transfers share it with each other and with all the rest."""

    def __init__(self, store: DatasetStore, disk: Thread) -> None:
        self._store = store
        self._disk = disk

    async def page(self, page_size: int, page_token: str) -> tuple[list[dataset_pb2.Dataset], str]:
        """Returns a page of datasets, newest first, and the token of the next one."""
        return await self._disk(self._store.list_page, page_size, page_token)

    async def count(self) -> int:
        """Returns how many there are, damaged ones included."""
        return len(await self._disk(self._store.names))

    async def get(self, name: str) -> dataset_pb2.Dataset:
        """Returns one dataset. Raises NotFound and DataLoss."""
        return await self._disk(self._store.get, name)

    async def described(self, name: str) -> tuple[dataset_pb2.Dataset, str]:
        """Returns one dataset, and the SHA-256 of its description. Raises NotFound and DataLoss."""
        return await self._disk(self._store.read, name)

    async def of_run(self, name: str, run_id: str) -> dataset_pb2.Dataset | None:
        """Returns the dataset of that name if there is one that the run has made."""
        return await self._disk(self._store.of_run, name, run_id)

    async def check_free(self, name: str, field: str) -> None:
        """Raises AlreadyExists where the name is taken, InvalidArgument of `field` where none may
        have it."""
        await self._disk(self._store.check_free, name, field=field)

    async def delete(self, name: str) -> None:
        """Removes a dataset. Raises NotFound."""
        await self._disk(self._store.delete, name)

    async def receive(
        self, name: str, run_id: str, header: dataset_pb2.Dataset, chunks: AsyncIterator[bytes]
    ) -> dataset_pb2.Dataset:
        """Stores the dataset that the run has made, whole or not at all, and returns it.

        One of the same run and name that is there already is replaced.

        Raises:
            InvalidArgument: `header` is not acceptable, or the chunks do not fit it.
            DataLoss: a file was damaged on its way.
            DiskFull: there is no room for it.
        """
        try:
            dataset_record.check_content(header)
        except dataset_record.DescriptionError as error:
            raise InvalidArgument.field(f"header.{error.field}", error.reason) from None
        writer = await self._disk(self._store.receive, name, header, run_id)
        try:
            async for chunk in chunks:
                await self._disk(writer.write, chunk)
            return await self._disk(self._store.put, writer)
        finally:
            await self._disk(writer.discard)

    async def send(
        self, name: str, chunk_bytes: int, only: str = ""
    ) -> AsyncGenerator[dataset_pb2.Dataset | bytes, None]:
        """Yields a dataset, with the files that follow, and then their bytes.

        Every byte is checked; the last ones of a file come only when all of it are right. A dataset
        that is deleted meanwhile is sent to its end.

        Args:
            chunk_bytes: of a chunk at most; each is of one file.
            only: the one file to send; empty: all.

        Raises:
            NotFound: there is no such dataset.
            DataLoss: it is damaged.
        """
        dataset, opened = await self._disk(self._store.open, name, only)
        with contextlib.ExitStack() as stack:
            for handle, _ in opened:
                stack.callback(handle.close)
            del dataset.files[:]
            dataset.files.extend(file for _, file in opened)
            yield dataset
            for handle, file in opened:
                path = f"datasets/{name}/{file.name}"
                pieces = read_checked(handle, path, file, _READ_BYTES)
                while piece := await self._disk(next, pieces, b""):
                    for start in range(0, len(piece), chunk_bytes):
                        yield piece[start : start + chunk_bytes]

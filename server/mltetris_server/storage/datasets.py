"""Datasets: games that simulations have played, ``datasets/NAME/`` each.

A dataset is a folder with the files of a Minari dataset, one of trajectories for trainings, and
``dataset.json`` (``dataset_record``), which says what every byte of them must be. It appears by one
rename and never changes. One that its own run sends once more is first set aside as ``.old-NAME``,
which comes back where the process dies before the new one stands in its place.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import structlog
from mltetris_api.v1 import dataset_pb2

from mltetris_server import errors
from mltetris_server.storage import checkpoints, dataset_record, durable, names, paging
from mltetris_server.storage.dataset_writer import DatasetWriter
from mltetris_server.storage.places import shown

_log = structlog.get_logger(__name__)

_ASIDE = ".old-"
# With a dot, so that it cannot be the name of a dataset.


class DatasetStore:
    """Keeps datasets in the folder ``root`` (``DataDir.datasets``). One owner, one thread.

    Methods raise InvalidArgument for a name no dataset may have, NotFound for one that no dataset
    has, DataLoss where a file is damaged, and Unavailable where the disk refuses; a failed call
    changes nothing.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._warned: set[str] = set()
        with durable.writing(str(root)):
            root.mkdir(parents=True, exist_ok=True)
            self._recover()

    def names(self) -> list[str]:
        """The names of all datasets, damaged ones included, in alphabetical order."""
        return sorted(
            path.name
            for path in self._root.iterdir()
            if names.is_slot_name(path.name) and (path.is_dir() or path.is_symlink())
        )

    def list_page(
        self, page_size: int = 0, page_token: str = ""
    ) -> tuple[list[dataset_pb2.Dataset], str]:
        """A page of datasets, newest first, and the token of the next one, empty on the last.

        A damaged one is left out, with a warning in the log. Only descriptions are read.
        """
        length = paging.page_length(page_size)
        after = paging.read_token(page_token, "datasets", (int, str)) if page_token else None
        found = []
        for name in self.names():
            try:
                found.append(dataset_record.read(self._root / name)[0])
            except errors.DataLoss as error:
                if name not in self._warned:
                    _log.warning("dataset damaged", dataset=name, error=str(error))
                    self._warned.add(name)
        found.sort(key=_newest_first)
        if after is not None:
            position = (int(after[0]), str(after[1]))
            found = [dataset for dataset in found if _newest_first(dataset) > position]
        page = found[:length]
        if len(found) <= length:
            return page, ""
        return page, paging.make_token("datasets", list(_newest_first(page[-1])))

    def get(self, name: str) -> dataset_pb2.Dataset:
        """One dataset: its description is checked, and the sizes of its files."""
        return self.read(name)[0]

    def read(self, name: str) -> tuple[dataset_pb2.Dataset, str]:
        """One dataset as ``get`` has it, and the SHA-256 of its description."""
        return dataset_record.read(self._folder(name))

    def check_free(self, name: str, *, field: str = "name", run_id: str = "") -> None:
        """Raise AlreadyExists where the name, or one that Windows takes for it, is taken.

        Args:
            field: the name's place in a request, for InvalidArgument where no dataset may have it.
            run_id: a run whose own dataset of that name does not count.
        """
        names.check_dataset_name(name, field=field)
        existing = self.names()
        if other := names.same_but_for_case(name, existing):
            raise errors.AlreadyExists(
                f"there is a dataset {other} already, and not every system tells it from {name}. "
                "Choose another name"
            )
        if name in existing and not (run_id and self._run_of(name) == run_id):
            raise errors.AlreadyExists(
                f"there is a dataset {name} already. Choose another name, or remove it"
            )

    def of_run(self, name: str, run_id: str) -> dataset_pb2.Dataset | None:
        """The dataset of that name, if there is one and the run has made it; else None."""
        if name not in self.names() or self._run_of(name) != run_id:
            return None
        return self.get(name)

    def receive(self, name: str, dataset: dataset_pb2.Dataset, run_id: str) -> DatasetWriter:
        """A writer for the dataset that the run has made; ``put`` is to follow, or its ``discard``.

        Raises AlreadyExists where the name is another's, and DiskFull where there is no room.
        """
        self.check_free(name, run_id=run_id)
        full = dataset_record.described(name, dataset, run_id, dataset_record.now())
        return DatasetWriter(self._root / name, full)

    def put(self, writer: DatasetWriter) -> dataset_pb2.Dataset:
        """Put a dataset whose every byte has come in its place, and return it."""
        dataset = writer.dataset
        dataset.create_time.FromDatetime(dataset_record.now())
        writer.close(dataset_record.to_bytes(dataset))
        # Once more: a call may have come in between.
        self.check_free(dataset.name, run_id=dataset.run)
        folder = self._root / dataset.name
        with durable.writing(folder):
            aside = self._clear_aside(dataset.name)
            replaced = os.path.lexists(folder)
            if replaced:
                durable.rename(folder, aside)
            try:
                durable.rename(writer.unfinished, folder)
            except BaseException:
                if replaced:
                    durable.rename(aside, folder)
                raise
            if replaced:
                durable.remove_folder(aside)
        self._warned.discard(dataset.name)
        return dataset

    def open(
        self, name: str, only: str = ""
    ) -> tuple[dataset_pb2.Dataset, list[tuple[BinaryIO, dataset_pb2.DatasetFile]]]:
        """One dataset, and its files (or ``only`` this one) opened for ``read_checked``.

        What is open can be read to its end, whatever becomes of the dataset; close it.
        """
        dataset = self.get(name)
        opened: list[tuple[BinaryIO, dataset_pb2.DatasetFile]] = []
        try:
            for file in dataset.files:
                if only in ("", file.name):
                    opened.append((checkpoints.open_file(self._root / name / file.name), file))
        except BaseException:
            for handle, _ in opened:
                handle.close()
            raise
        return dataset, opened

    def delete(self, name: str) -> None:
        """Remove a dataset, damaged or not."""
        folder = self._folder(name)
        with durable.writing(folder):
            self._clear_aside(name)
            durable.remove_folder(folder)
        self._warned.discard(name)

    def _folder(self, name: str) -> Path:
        """The folder of a dataset that exists under exactly this name."""
        names.check_dataset_name(name)
        if name not in self.names():
            raise errors.NotFound(f"there is no dataset {name}")
        return self._root / name

    def _run_of(self, name: str) -> str:
        """The run that made the dataset; empty where its description is damaged."""
        try:
            return self.get(name).run
        except errors.DataLoss as error:
            _log.warning("dataset damaged", dataset=name, error=str(error))
            return ""

    def _clear_aside(self, name: str) -> Path:
        """Where a dataset is set aside, with nothing there: else it would come back."""
        aside = self._root / f"{_ASIDE}{name}"
        if os.path.lexists(aside):
            durable.remove_folder(aside)
        return aside

    def _recover(self) -> None:
        """Finish or take back what a killed process left. Only on opening."""
        for aside in self._root.glob(f"{_ASIDE}*"):
            folder = self._root / aside.name.removeprefix(_ASIDE)
            if os.path.lexists(folder):
                durable.remove_folder(aside)
            else:
                durable.rename(aside, folder)
                _log.warning("dataset restored after an interrupted replacement", name=folder.name)
        durable.remove_leftovers(self._root)


def read_checked(
    handle: BinaryIO, path: str, file: dataset_pb2.DatasetFile, size: int
) -> Iterator[bytes]:
    """The bytes of an open file, ``size`` at a time, checked against its SHA-256.

    The last piece is given out only when all are known to be right. Raises DataLoss that names
    ``path``.
    """
    digest = hashlib.sha256()
    left = file.size_bytes
    while left:
        try:
            data = handle.read(min(size, left))
        except OSError as error:
            raise checkpoints.unreadable(Path(path), error) from None
        left -= len(data)
        digest.update(data)
        if not data or (not left and digest.hexdigest() != file.sha256):
            raise errors.DataLoss(f"{shown(Path(path))} is damaged: its SHA-256 is another")
        yield data


def _newest_first(dataset: dataset_pb2.Dataset) -> tuple[int, str]:
    """The sort key of a dataset; ties are broken by name, so that it is unique."""
    return -dataset.create_time.ToNanoseconds(), dataset.name

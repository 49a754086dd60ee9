"""Datasets as folders: written whole or not at all, and checked."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from mltetris_api.v1 import dataset_pb2, trainer_pb2, trainer_pb2_grpc

from mltetris_client._calls import translated
from mltetris_client.errors import AlreadyExists, DataLoss, InvalidArgument
from mltetris_client.transfer import give_default_mode

ROOT_VARIABLE: Final = "MINARI_DATASETS_PATH"
"""The environment variable by which Minari is told where datasets are."""
NAMESPACE: Final = "mltetris"

_FILES: Final = frozenset({"data/metadata.json", "data/main_data.hdf5", "trajectories.safetensors"})
"""What may be written, whatever names a server sends."""
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")

Progress = Callable[[int, int], None]


def default_root() -> Path:
    """Where Minari looks for datasets."""
    named = os.environ.get(ROOT_VARIABLE)
    return Path(named) if named else Path.home() / ".minari" / "datasets"


def folder_of(name: str, root: Path) -> Path:
    """Where a dataset lies below a root.

    Raises:
        InvalidArgument: no dataset may have that name.
    """
    if not _NAME.fullmatch(name):
        raise InvalidArgument.field("name", "1 to 64 of A-Z a-z 0-9 _ -")
    return root / NAMESPACE / f"{name}-v0"


def download_dataset(
    stub: trainer_pb2_grpc.TrainerServiceStub,
    name: str,
    root: Path,
    *,
    overwrite: bool,
    progress: Progress | None,
    address: str,
) -> Path:
    """Receives a dataset below ``root`` and returns its folder.

    Raises:
        AlreadyExists: the folder is there and ``overwrite`` is False.
        DataLoss: what arrived is not what was sent; nothing was written.
        OSError: it cannot be written.
        MlTetrisError: the call failed.
    """
    target = folder_of(name, root)
    if os.path.lexists(target) and not overwrite:
        raise AlreadyExists(
            f"the folder {target} exists", hint="Choose another root, or pass overwrite."
        )
    with translated(address):
        # No limit of time: a dataset may be large, and the channel finds out about dead servers.
        call = stub.ExportDataset(trainer_pb2.ExportDatasetRequest(name=name))
        try:
            first = next(call, None)
            if first is None or first.WhichOneof("part") != "header":
                raise DataLoss("the server sent no header for the export")
            _check(first.header, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            unfinished = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".tmp-{target.name}-"))
            try:
                chunks = (response.chunk for response in call)
                _write(unfinished, first.header, chunks, progress)
                _put(unfinished, target)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
            return target
        finally:
            call.cancel()


def _check(header: dataset_pb2.Dataset, name: str) -> None:
    """Raises DataLoss where the header is not that of this dataset with a dataset's files."""
    if header.name != name:
        raise DataLoss(f"the server sent another dataset than {name}")
    if sorted(file.name for file in header.files) != sorted(_FILES):
        raise DataLoss("the server sent other files than a dataset's")


def _write(
    folder: Path,
    header: dataset_pb2.Dataset,
    chunks: Iterator[bytes],
    progress: Progress | None,
) -> None:
    """Writes the files into ``folder`` and checks size and SHA-256 of each."""
    total = sum(file.size_bytes for file in header.files)
    come = 0
    if progress is not None:
        progress(0, total)
    for announced in header.files:
        path = folder / announced.name
        path.parent.mkdir(exist_ok=True)
        digest = hashlib.sha256()
        left = announced.size_bytes
        with path.open("xb") as file:
            while left > 0:
                chunk = next(chunks, b"")
                left -= len(chunk)
                if not chunk or left < 0:
                    break
                digest.update(chunk)
                file.write(chunk)
                come += len(chunk)
                if progress is not None:
                    progress(come, total)
            if left or digest.hexdigest() != announced.sha256:
                raise DataLoss(f"{announced.name} arrived damaged", hint="Export it again.")
            file.flush()
            os.fsync(file.fileno())
    if next(chunks, None) is not None:
        raise DataLoss("more arrived than the export has", hint="Export it again.")


def _put(unfinished: Path, target: Path) -> None:
    """Puts a whole folder in its place; what stands there goes only once it is there."""
    give_default_mode(unfinished, 0o777)
    if not os.path.lexists(target):
        unfinished.rename(target)
        return
    aside = unfinished.with_name(f"{unfinished.name}-old")
    target.rename(aside)
    try:
        unfinished.rename(target)
    except BaseException:
        aside.rename(target)
        raise
    if aside.is_dir() and not aside.is_symlink():
        shutil.rmtree(aside, ignore_errors=True)
    else:
        aside.unlink(missing_ok=True)

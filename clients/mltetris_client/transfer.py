"""Slots as files: written whole or not at all, and checked on both ways."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from mltetris_api.v1 import slot_pb2, trainer_pb2, trainer_pb2_grpc

from mltetris_client._calls import translated
from mltetris_client.errors import AlreadyExists, DataLoss, InvalidArgument, MlTetrisError

IMPORT_CHUNK_BYTES = 256 * 1024
LARGEST_IMPORT_BYTES = 256 * 1024 * 1024
BUNDLE_SUFFIX = ".slot.zip"
SB3_SUFFIX = ".sb3.zip"


def download(
    stub: trainer_pb2_grpc.TrainerServiceStub,
    request: trainer_pb2.ExportSlotRequest,
    path: Path | None,
    *,
    overwrite: bool,
    timeout: float,
    address: str,
) -> Path:
    """Receives a slot into a file and returns its path.

    ``path`` is a file, a folder (the server then names the file), or None for the working folder.

    Raises:
        AlreadyExists: there is such a file and ``overwrite`` is False.
        DataLoss: what arrived is not what was sent; nothing was written.
        OSError: the file cannot be written.
        MlTetrisError: the call failed.
    """
    with translated(address):
        call = stub.ExportSlot(request, timeout=timeout)
        try:
            first = next(call, None)
            if first is None or first.WhichOneof("part") != "header":
                raise DataLoss("the server sent no header for the export")
            target = _target(path, first.header, request.name)
            if target.exists() and not overwrite:
                raise AlreadyExists(
                    f"the file {target} exists", hint="Choose another path, or pass overwrite."
                )
            chunks = (response.chunk for response in call)
            _write_checked(target, chunks, first.header)
            return target
        finally:
            call.cancel()


def upload(
    stub: trainer_pb2_grpc.TrainerServiceStub,
    path: Path,
    name: str,
    *,
    overwrite: bool,
    timeout: float,
    address: str,
) -> slot_pb2.Slot:
    """Sends a SLOT bundle or a stable-baselines3 .zip and returns the new slot.

    Raises:
        InvalidArgument: the file is empty or larger than 256 MiB.
        OSError: the file cannot be read.
        MlTetrisError: the call failed, and there is no such slot.
    """
    with path.open("rb") as file:
        size, digest = _measure(file)
        if not 1 <= size <= LARGEST_IMPORT_BYTES:
            raise InvalidArgument.field(
                "header.size_bytes", f"{path} has {size} bytes; a slot has 1 byte to 256 MiB"
            )
        header = trainer_pb2.ImportHeader(
            name=name, size_bytes=size, sha256=digest, overwrite=overwrite
        )
        failure: list[OSError] = []
        try:
            with translated(address):
                response = stub.ImportSlot(_requests(file, header, failure), timeout=timeout)
        except MlTetrisError:
            if failure:  # gRPC reports a failing request iterator as an unknown error
                raise failure[0] from None
            raise
        return response.slot


def default_slot_name(path: Path) -> str:
    """The slot's name that a file's name suggests: ``x.slot.zip`` and ``x.sb3.zip`` are ``x``."""
    name = path.name
    for suffix in (BUNDLE_SUFFIX, SB3_SUFFIX, ".zip"):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return path.stem


def _target(path: Path | None, header: trainer_pb2.ExportHeader, slot: str) -> Path:
    """The file to write. The server may name it, but not say in which folder."""
    if path is not None and not path.is_dir():
        return path
    offered = header.file_name
    plain = offered not in {"", ".", ".."} and not any(c in offered for c in '/\\:*?"<>|\0')
    return (path or Path()) / (offered if plain else f"{slot}.zip")


def _write_checked(target: Path, chunks: Iterator[bytes], header: trainer_pb2.ExportHeader) -> None:
    """Writes beside the target, checks size and SHA-256, then moves it into place."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".tmp-{target.name}-")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            digest = hashlib.sha256()
            size = 0
            for chunk in chunks:
                size += len(chunk)
                if size > header.size_bytes:
                    break
                digest.update(chunk)
                file.write(chunk)
            if size != header.size_bytes or digest.hexdigest() != header.sha256:
                raise DataLoss(
                    f"the export arrived damaged ({size} of {header.size_bytes} bytes)",
                    hint="Export it again.",
                )
            file.flush()
            os.fsync(file.fileno())
        give_default_mode(temporary, 0o666)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def give_default_mode(path: Path, most: int) -> None:
    """Temporary files and folders are made private; an export is one like any other."""
    if os.name == "posix":
        mask = os.umask(0)
        os.umask(mask)
        path.chmod(most & ~mask)


def _measure(file: BinaryIO) -> tuple[int, str]:
    """Size and SHA-256 of an open file, which is then back at its start."""
    digest = hashlib.sha256()
    size = 0
    while chunk := file.read(IMPORT_CHUNK_BYTES):
        size += len(chunk)
        digest.update(chunk)
    file.seek(0)
    return size, digest.hexdigest()


def _requests(
    file: BinaryIO, header: trainer_pb2.ImportHeader, failure: list[OSError]
) -> Iterator[trainer_pb2.ImportSlotRequest]:
    yield trainer_pb2.ImportSlotRequest(header=header)
    try:
        while chunk := file.read(IMPORT_CHUNK_BYTES):
            yield trainer_pb2.ImportSlotRequest(chunk=chunk)
    except OSError as error:
        failure.append(error)
        raise

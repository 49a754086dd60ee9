"""One checkpoint in one folder: ``manifest.json`` and the files it lists.

A folder with a manifest is whole, for the manifest is written last. The manifest says what every
byte of the others must be, and ``manifest.sha256`` what its own must be, so that damage is found
before anything is loaded.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from mltetris_api.v1 import run_pb2

from mltetris_server import errors
from mltetris_server.storage import durable, tensors
from mltetris_server.storage import manifest as manifests
from mltetris_server.storage.manifest import FileEntry, Json, Manifest, ManifestError
from mltetris_server.storage.places import shown

_NO_LINKS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
DIGEST_FILE = "manifest.sha256"
"""The manifest's SHA-256, as ``sha256sum -c`` reads it."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A whole model in memory: its manifest, the manifest's bytes and the files by name."""

    manifest: Manifest
    manifest_bytes: bytes
    files: Mapping[str, bytes]

    @classmethod
    def create(
        cls,
        *,
        model: Mapping[str, Json] | str,
        files: Mapping[str, bytes],
        placements: int,
        evaluation: run_pb2.Evaluation | None = None,
        source: run_pb2.RunCheckpoint | None = None,
        command: str | None = None,
        create_time: datetime | None = None,
    ) -> Checkpoint:
        """A checkpoint of these parts, made now.

        ``model`` may be JSON text, as CheckpointHeader.model_json carries it. ``files`` must hold
        ``policy.safetensors``; with ``training.safetensors`` a training can go on from it exactly.
        Raises InvalidArgument where a part is not acceptable.
        """
        try:
            if isinstance(model, str):
                model = manifests.parse_json(model.encode(), limit=manifests.MAX_MANIFEST_BYTES)
            manifest = Manifest(
                model=model,
                placements=placements,
                evaluation=evaluation,
                source=source,
                create_time=create_time or datetime.now(UTC),
                command=command,
                files={name: FileEntry.of(data) for name, data in sorted(files.items())},
            )
            data = manifest.to_bytes()
        except ManifestError as error:
            raise errors.InvalidArgument.field("checkpoint", str(error)) from None
        for name, content in files.items():
            try:
                tensors.check(content)
            except ManifestError as error:
                raise errors.InvalidArgument.field("checkpoint", f"{name}: {error}") from None
        return cls(manifests.parse(data), data, dict(files))

    @property
    def sha256(self) -> str:
        """The model's fingerprint: SHA-256 of the manifest, hex."""
        return hashlib.sha256(self.manifest_bytes).hexdigest()

    @property
    def size_bytes(self) -> int:
        """Bytes on disk."""
        return self.manifest.size_bytes + len(self.manifest_bytes)

    def weights_only(self) -> Checkpoint:
        """The same model without what only a training needs."""
        kept = {manifests.POLICY_FILE: self.files[manifests.POLICY_FILE]}
        if kept.keys() == self.files.keys():
            return self
        manifest = self.manifest
        return Checkpoint.create(
            model=manifest.model,
            files=kept,
            placements=manifest.placements,
            evaluation=manifest.evaluation,
            source=manifest.source,
            command=manifest.command,
            create_time=manifest.create_time,
        )


def write(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint into an existing folder that holds none.

    Until the call returns the folder has no manifest, or everything. The folder's own entry in
    its parent is the caller's to flush. Raises Unavailable where the disk refuses.
    """
    digest = f"{checkpoint.sha256}  {manifests.FILE_NAME}\n".encode()
    with durable.writing(folder):
        for name, data in checkpoint.files.items():
            durable.write_durably(folder / name, data)
        durable.write_durably(folder / DIGEST_FILE, digest)
        durable.replace_file(folder / manifests.FILE_NAME, checkpoint.manifest_bytes)


def is_complete(folder: Path) -> bool:
    """Whether a checkpoint was written there to its end; it may have been damaged since."""
    return (folder / manifests.FILE_NAME).is_file()


def read_manifest(folder: Path) -> tuple[Manifest, bytes]:
    """The manifest and its bytes, and a look at the files' sizes; their content is not read.

    Raises DataLoss naming the file that is damaged or missing.
    """
    refuse_link(folder)
    path = folder / manifests.FILE_NAME
    data = read_file(path, manifests.MAX_MANIFEST_BYTES)
    digest = folder / DIGEST_FILE
    # What was unpacked from a bundle by hand has none.
    if (
        os.path.lexists(digest)
        and read_file(digest, 200)[:64] != hashlib.sha256(data).hexdigest().encode()
    ):
        raise errors.DataLoss(f"{shown(path)} is damaged: its SHA-256 is not that in {DIGEST_FILE}")
    try:
        manifest = manifests.parse(data)
    except ManifestError as error:
        raise errors.DataLoss(f"{shown(path)} is damaged: {error}") from None
    for name, entry in manifest.files.items():
        file = folder / name
        size = size_of(file)
        if size != entry.size:
            raise errors.DataLoss(
                f"{shown(file)} is damaged: it has {size} bytes, not {entry.size}"
            )
    return manifest, data


def read(folder: Path) -> Checkpoint:
    """The checkpoint in a folder, every byte checked. Raises DataLoss naming the file."""
    manifest, manifest_bytes = read_manifest(folder)
    contents = {}
    for name, entry in manifest.files.items():
        data = read_file(folder / name, entry.size)
        if FileEntry.of(data) != entry:
            raise errors.DataLoss(
                f"{shown(folder / name)} is damaged: its SHA-256 is not the manifest's"
            )
        contents[name] = data
    return Checkpoint(manifest, manifest_bytes, contents)


def read_file(path: Path, limit: int) -> bytes:
    """The bytes of a plain file that has at most ``limit`` of them. Raises DataLoss.

    A link is not followed, and nothing is waited for: a pipe is no plain file.
    """
    with open_file(path) as file:
        try:
            data = file.read(limit + 1)
        except OSError as error:
            raise unreadable(path, error) from None
    if len(data) > limit:
        raise errors.DataLoss(f"{shown(path)} is damaged: it has more than {limit} bytes")
    return data


def open_file(path: Path) -> BinaryIO:
    """A plain file, opened for reading as ``read_file`` does. Raises DataLoss."""
    refuse_link(path)
    try:
        # Not to be fooled by what is put there at this moment, either.
        return open(path, "rb", opener=_open_plain)
    except OSError as error:
        raise unreadable(path, error) from None


def size_of(path: Path) -> int:
    """Bytes of a file; of a link its own. Raises DataLoss."""
    try:
        return path.lstat().st_size
    except OSError as error:
        raise unreadable(path, error) from None


def refuse_link(path: Path) -> None:
    """Raise DataLoss where a link stands in the place of a file or folder: it may lead anywhere."""
    if path.is_symlink():
        raise errors.DataLoss(
            f"{shown(path)} is a symbolic link, which is not followed: put what it leads to there"
        )


def _open_plain(path: str, flags: int) -> int:
    descriptor = os.open(path, flags | _NO_LINKS)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no plain file")
    return descriptor


def unreadable(path: Path, error: OSError) -> errors.DataLoss:
    """What is raised where the system refuses to read a file."""
    if isinstance(error, FileNotFoundError):
        return errors.DataLoss(f"{shown(path)} is missing")
    return errors.DataLoss(f"{shown(path)} cannot be read: {error.strerror or error}")

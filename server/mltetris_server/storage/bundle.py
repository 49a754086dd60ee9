"""The slot bundle: one model as a zip of ``manifest.json`` and its safetensors files.

What comes in is checked before it is believed: names, sizes, methods, the manifest, every SHA-256
and every tensor's place. Nothing is ever unpacked to a path that the zip names.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

from mltetris_server import errors
from mltetris_server.storage import manifest as manifests
from mltetris_server.storage import names, tensors
from mltetris_server.storage.checkpoints import Checkpoint
from mltetris_server.storage.manifest import FileEntry, ManifestError

MAX_BUNDLE_BYTES = manifests.MAX_CHECKPOINT_BYTES
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
# What zipfile raises for bytes that are no zip, or not any more: BadZipFile is only one of them.
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
)
_FIELD = "bundle"


def pack(checkpoint: Checkpoint) -> bytes:
    """The bundle of a checkpoint; the same checkpoint gives the same bytes.

    Members are stored and not deflated: weights hardly shrink, and the result of deflating
    differs between versions of zlib.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as bundle:
        members = [(manifests.FILE_NAME, checkpoint.manifest_bytes)]
        members += sorted(checkpoint.files.items())
        for name, data in members:
            member = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            member.create_system = 3  # Unix everywhere, so that the bytes are the same everywhere
            member.external_attr = 0o644 << 16
            bundle.writestr(member, data)
    return buffer.getvalue()


def unpack(data: bytes) -> Checkpoint:
    """The checkpoint in a bundle.

    Raises InvalidArgument where it is no bundle, and DataLoss where it is one but its content is
    not what its manifest says.
    """
    if len(data) > MAX_BUNDLE_BYTES:
        raise errors.InvalidArgument.field(_FIELD, f"larger than {MAX_BUNDLE_BYTES} bytes")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as bundle:
            members = _members(bundle)
            manifest_bytes = _content(
                bundle, members.pop(manifests.FILE_NAME), manifests.MAX_MANIFEST_BYTES
            )
            manifest = manifests.parse(manifest_bytes)
            _compare(members, manifest)
            contents = {
                name: _content(bundle, members[name], entry.size)
                for name, entry in manifest.files.items()
            }
    except ManifestError as error:
        raise errors.InvalidArgument.field(_FIELD, f"{manifests.FILE_NAME}: {error}") from None
    except _BROKEN as error:
        raise errors.DataLoss(f"the bundle is damaged or no zip: {error}") from None
    for name, entry in manifest.files.items():
        if FileEntry.of(contents[name]) != entry:
            raise errors.DataLoss(f"{name} in the bundle is damaged: SHA-256 is not the manifest's")
        try:
            tensors.check(contents[name])
        except ManifestError as error:
            raise errors.InvalidArgument.field(_FIELD, f"{name}: {error}") from None
    return Checkpoint(manifest, manifest_bytes, contents)


def _members(bundle: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The members by name, if each is one that a bundle may have."""
    listed = bundle.infolist()
    if len(listed) > manifests.MAX_FILES + 1:
        raise errors.InvalidArgument.field(_FIELD, f"more than {manifests.MAX_FILES + 1} members")
    members: dict[str, zipfile.ZipInfo] = {}
    for member in listed:
        # orig_filename: zipfile cuts `filename` at a NUL.
        name = member.orig_filename
        if name != manifests.FILE_NAME and not names.is_file_name(name):
            raise errors.InvalidArgument.field(
                _FIELD,
                f"{name[:80]!r} is no name for a member; only manifest.json and "
                "NAME.safetensors are",
            )
        if name in members:
            raise errors.InvalidArgument.field(_FIELD, f"{name} is there twice")
        if member.flag_bits & _ENCRYPTED or member.compress_type not in _METHODS:
            raise errors.InvalidArgument.field(_FIELD, f"{name} must be stored or deflated")
        members[name] = member
    if manifests.FILE_NAME not in members:
        raise errors.InvalidArgument.field(_FIELD, f"{manifests.FILE_NAME} is missing")
    return members


def _compare(members: dict[str, zipfile.ZipInfo], manifest: manifests.Manifest) -> None:
    """Raise unless the zip holds exactly the manifest's files, each of its size."""
    if unlisted := sorted(members.keys() - manifest.files.keys()):
        raise errors.InvalidArgument.field(_FIELD, f"{unlisted[0]} is not in the manifest")
    for name, entry in manifest.files.items():
        if name not in members:
            raise errors.DataLoss(f"{name} is missing in the bundle")
        if members[name].file_size != entry.size:
            raise errors.DataLoss(
                f"{name} in the bundle has {members[name].file_size} bytes, not {entry.size}"
            )


def _content(bundle: zipfile.ZipFile, member: zipfile.ZipInfo, limit: int) -> bytes:
    """The member's bytes; never more than ``limit`` are unpacked, whatever the zip promises."""
    with bundle.open(member) as stream:
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise errors.InvalidArgument.field(
            _FIELD, f"{member.filename} is larger than {limit} bytes"
        )
    return data

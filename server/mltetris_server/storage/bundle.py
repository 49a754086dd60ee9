"""The slot bundle: one model as a zip of ``manifest.json`` and its safetensors files.

What comes in is checked before it is believed: names, sizes, methods, the manifest, every SHA-256
and every tensor's place. Nothing is ever unpacked to a path that the zip names.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

from mltetris_server import errors, zips
from mltetris_server.storage import manifest as manifests
from mltetris_server.storage import names, tensors
from mltetris_server.storage.checkpoints import Checkpoint
from mltetris_server.storage.manifest import FileEntry, ManifestError

MAX_BUNDLE_BYTES = manifests.MAX_CHECKPOINT_BYTES
_MAX_UNPACKED = manifests.MAX_CHECKPOINT_BYTES + manifests.MAX_MANIFEST_BYTES
_FIELD = "chunk"


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
        with zips.looked_over(
            data, most_members=manifests.MAX_FILES + 1, most_bytes=_MAX_UNPACKED
        ) as (archive, members):
            _check_names(members)
            manifest_bytes = zips.content(
                archive, members.pop(manifests.FILE_NAME), manifests.MAX_MANIFEST_BYTES
            )
            manifest = manifests.parse(manifest_bytes)
            _compare(members, manifest)
            contents = {
                name: zips.content(archive, members[name], entry.size)
                for name, entry in manifest.files.items()
            }
    except ManifestError as error:
        raise errors.InvalidArgument.field(_FIELD, f"{manifests.FILE_NAME}: {error}") from None
    except zips.ZipRefused as error:
        raise errors.InvalidArgument.field(_FIELD, str(error)) from None
    except zips.ZipBroken as error:
        raise errors.DataLoss(f"the bundle is {error}") from None
    for name, entry in manifest.files.items():
        if FileEntry.of(contents[name]) != entry:
            raise errors.DataLoss(f"{name} in the bundle is damaged: SHA-256 is not the manifest's")
        try:
            tensors.check(contents[name])
        except ManifestError as error:
            raise errors.InvalidArgument.field(_FIELD, f"{name}: {error}") from None
    return Checkpoint(manifest, manifest_bytes, contents)


def _check_names(members: Mapping[str, zipfile.ZipInfo]) -> None:
    """Raise unless each member is one that a bundle may have, and the manifest is one of them."""
    for name in members:
        if name != manifests.FILE_NAME and not names.is_file_name(name):
            raise errors.InvalidArgument.field(
                _FIELD,
                f"{name[:80]!r} is no name for a member; only manifest.json and "
                "NAME.safetensors are",
            )
    if manifests.FILE_NAME not in members:
        raise errors.InvalidArgument.field(_FIELD, f"{manifests.FILE_NAME} is missing")


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

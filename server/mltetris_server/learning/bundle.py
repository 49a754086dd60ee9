"""Reading a SLOT bundle: a .zip of a manifest and safetensors files, from whoever.

The server checks bundles when they are imported (`storage`); this is the worker's own reading of
one, strict for the same reason: a .zip may claim anything.
"""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections.abc import Mapping
from typing import Any

from mltetris_server import zips
from mltetris_server.learning.model import CheckpointError

MAX_BYTES = 256 * 1024 * 1024
"""Most bytes of all files together, unpacked."""
MAX_MANIFEST_BYTES = 1024 * 1024
MAX_FILES = 20

_MANIFEST = "manifest.json"
_TENSORS = re.compile(r"[a-z0-9_-]{1,64}\.safetensors")


def read_bundle(bundle: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The manifest and the safetensors files of a bundle; other files in it are ignored.

    Raises:
        CheckpointError: it is not a .zip, is too large, lacks a file, or a file is not what the
            manifest says.
    """
    try:
        with zips.looked_over(bundle, most_members=MAX_FILES, most_bytes=MAX_BYTES) as (
            archive,
            members,
        ):
            return _read(archive, members)
    except (zips.ZipRefused, zips.ZipBroken) as error:
        raise CheckpointError("bundle", f"is not a bundle ({error})") from error


def _read(
    archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo]
) -> tuple[dict[str, Any], dict[str, bytes]]:
    if _MANIFEST not in members:
        raise CheckpointError(_MANIFEST, "is missing")
    manifest = _manifest(zips.content(archive, members[_MANIFEST], MAX_MANIFEST_BYTES))
    files = {}
    for name, facts in manifest["files"].items():
        if not _TENSORS.fullmatch(name) or not isinstance(facts, dict):
            raise CheckpointError(f"{_MANIFEST}: files", f"{name!r} is not a file of a checkpoint")
        if name not in members:
            raise CheckpointError(name, "is missing")
        data = zips.content(archive, members[name], MAX_BYTES)
        if hashlib.sha256(data).hexdigest() != facts.get("sha256"):
            raise CheckpointError(name, "is not the file that the manifest describes")
        files[name] = data
    return manifest, files


def _manifest(data: bytes) -> dict[str, Any]:
    try:
        manifest = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(_MANIFEST, f"is not JSON ({error})") from error
    if not isinstance(manifest, dict) or manifest.get("format") != "mltetris-checkpoint":
        raise CheckpointError(_MANIFEST, "is not that of an mlTetris checkpoint")
    if manifest.get("version") != 1:
        raise CheckpointError(f"{_MANIFEST}: version", "must be 1")
    for name in ("model", "files"):
        if not isinstance(manifest.get(name), Mapping):
            raise CheckpointError(f"{_MANIFEST}: {name}", "is missing")
    return manifest

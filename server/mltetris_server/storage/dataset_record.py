"""What is known of a dataset, as ``dataset.json`` keeps it: the Dataset message, and its files.

Nothing else may be in a dataset's folder than the three files that a simulation makes, so that no
name that comes from a worker ever becomes a path.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from google.protobuf import json_format
from mltetris_api.v1 import dataset_pb2, run_pb2

from mltetris_server import errors
from mltetris_server.storage import checkpoints, names
from mltetris_server.storage import manifest as manifests
from mltetris_server.storage.manifest import ManifestError
from mltetris_server.storage.places import shown

FORMAT: Final = "mltetris-dataset"
VERSION: Final = 1
FILE_NAME: Final = "dataset.json"
DIGEST_FILE: Final = "dataset.sha256"
"""The SHA-256 of ``dataset.json``, as ``sha256sum -c`` reads it."""
TRAJECTORIES: Final = "trajectories.safetensors"
"""What trainings read; Minari does not know it."""
FILES: Final = frozenset({"data/metadata.json", "data/main_data.hdf5", TRAJECTORIES})
"""The files of a dataset, all of which it has: two of Minari's, and one of trajectories."""

_MOST_BYTES: Final = 1 << 16
_MOST_NUMBER: Final = 2**63 - 1
_LONGEST_PLAYER: Final = 200
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


class DescriptionError(ValueError):
    """A description is not acceptable: of ``field``, as ``reason`` says.

    Whoever reads knows whether that means a damaged file or a bad argument.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


def check_content(dataset: dataset_pb2.Dataset) -> None:
    """Raise DescriptionError where what ``dataset`` says of its games and files cannot be.

    Its name, its Minari id, its run and its time are not looked at.
    """
    if not 1 <= len(dataset.player) <= _LONGEST_PLAYER or not dataset.player.isprintable():
        raise DescriptionError("player", f"must be 1 to {_LONGEST_PLAYER} printable characters")
    if not _SHA256.fullmatch(dataset.player_sha256):
        raise DescriptionError("player_sha256", "must be 64 hex digits")
    _check_game(dataset.game)
    if not dataset.observation or dataset.observation not in run_pb2.Observation.values():
        raise DescriptionError("observation", "must be one of the contract's")
    for field in ("games", "placements"):
        if not 1 <= getattr(dataset, field) <= _MOST_NUMBER:
            raise DescriptionError(field, f"must be from 1 to {_MOST_NUMBER}")
    if dataset.cut_off_games > dataset.games:
        raise DescriptionError("cut_off_games", "must not be more than all games")
    if dataset.best_lines > _MOST_NUMBER:
        raise DescriptionError("best_lines", "is too great a number")
    if not (math.isfinite(dataset.mean_lines) and dataset.mean_lines >= 0):
        raise DescriptionError("mean_lines", "must be a number from 0 on")
    if not 0 <= dataset.exploration <= 1:
        raise DescriptionError("exploration", "must be from 0 to 1")
    _check_files(dataset)


def described(
    name: str, dataset: dataset_pb2.Dataset, run_id: str, create_time: datetime
) -> dataset_pb2.Dataset:
    """Return ``dataset`` with what the server knows of it: name, Minari id, run, time and size."""
    full = dataset_pb2.Dataset()
    full.CopyFrom(dataset)
    full.name = name
    full.minari_id = minari_id(name)
    full.run = run_id
    full.create_time.FromDatetime(create_time)
    full.size_bytes = sum(file.size_bytes for file in dataset.files)
    return full


def minari_id(name: str) -> str:
    """What ``minari.load_dataset`` calls the dataset of this name."""
    return f"mltetris/{name}-v0"


def to_bytes(dataset: dataset_pb2.Dataset) -> bytes:
    """The description as it is written: the same dataset gives the same bytes."""
    document = {
        "format": FORMAT,
        "version": VERSION,
        "dataset": json_format.MessageToDict(dataset, preserving_proto_field_name=True),
    }
    return json.dumps(document, indent=2, sort_keys=True, allow_nan=False).encode() + b"\n"


def digest_line(data: bytes) -> bytes:
    """The content of the digest file beside a description of these bytes."""
    return f"{hashlib.sha256(data).hexdigest()}  {FILE_NAME}\n".encode()


def read(folder: Path) -> tuple[dataset_pb2.Dataset, str]:
    """The description in a dataset's folder and its SHA-256; of the files only the sizes are read.

    Raises DataLoss naming the file that is damaged or missing, or where a link stands.
    """
    checkpoints.refuse_link(folder)
    path = folder / FILE_NAME
    data = checkpoints.read_file(path, _MOST_BYTES)
    sha256 = hashlib.sha256(data).hexdigest()
    if checkpoints.read_file(folder / DIGEST_FILE, 200) != digest_line(data):
        raise errors.DataLoss(f"{shown(path)} is damaged: its SHA-256 is not that in {DIGEST_FILE}")
    try:
        dataset = _parse(data, folder.name)
    except (ManifestError, DescriptionError) as error:
        raise errors.DataLoss(f"{shown(path)} is damaged: {error}") from None
    for file in dataset.files:
        place = folder / file.name
        for path in (place.parent, place):
            checkpoints.refuse_link(path)
        size = checkpoints.size_of(place)
        if size != file.size_bytes:
            raise errors.DataLoss(
                f"{shown(place)} is damaged: it has {size} bytes, not {file.size_bytes}"
            )
    return dataset, sha256


def now() -> datetime:
    """The present moment, in UTC."""
    return datetime.now(UTC)


def _parse(data: bytes, name: str) -> dataset_pb2.Dataset:
    """Read a description, trusting nothing. Raises ManifestError and DescriptionError."""
    document = manifests.parse_json(data, limit=_MOST_BYTES)
    if document.get("format") != FORMAT:
        raise ManifestError(f'format: must be "{FORMAT}"')
    if document.get("version") != VERSION or isinstance(document["version"], bool):
        raise ManifestError(
            f"version: this server reads version {VERSION}; a newer mlTetris wrote this file"
        )
    content = document.get("dataset")
    if not isinstance(content, dict):
        raise ManifestError("dataset: must be an object")
    try:
        dataset = json_format.ParseDict(content, dataset_pb2.Dataset())
    except (json_format.ParseError, TypeError, AttributeError, RecursionError) as error:
        raise ManifestError(f"dataset: {error}") from None
    if dataset.name != name:
        # Renamed by hand: what Minari's own files call it would not fit any more.
        raise ManifestError(f"dataset.name: it is that of dataset {dataset.name[:64]!r}")
    if not names.is_run_id(dataset.run):
        raise DescriptionError("run", "must be a run's id")
    check_content(dataset)
    return dataset


def _check_game(game: run_pb2.GameSpec) -> None:
    for field, least, most in (("width", 4, 32), ("height", 4, 40)):
        if not least <= getattr(game, field) <= most:
            raise DescriptionError(f"game.{field}", f"must be from {least} to {most}")
    for field, kind in (("rule", run_pb2.Rule), ("randomizer", run_pb2.Randomizer)):
        value = getattr(game, field)
        if not value or value not in kind.values():
            raise DescriptionError(f"game.{field}", "must be one of the contract's")


def _check_files(dataset: dataset_pb2.Dataset) -> None:
    for i, file in enumerate(dataset.files):
        if file.name not in FILES:
            raise DescriptionError(f"files[{i}].name", f"must be one of {', '.join(sorted(FILES))}")
        if not _SHA256.fullmatch(file.sha256):
            raise DescriptionError(f"files[{i}].sha256", "must be 64 hex digits")
        if not 1 <= file.size_bytes <= _MOST_NUMBER:
            raise DescriptionError(f"files[{i}].size_bytes", f"must be from 1 to {_MOST_NUMBER}")
    given = [file.name for file in dataset.files]
    if sorted(given) != sorted(FILES):
        raise DescriptionError("files", f"must be {', '.join(sorted(FILES))}, each once")

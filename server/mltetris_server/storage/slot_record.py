"""``slot.json``: what of a slot may change, and where it came from on this server."""

from __future__ import annotations

import hashlib
import json
import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from google.protobuf.timestamp_pb2 import Timestamp
from mltetris_api.v1 import slot_pb2

from mltetris_server import errors
from mltetris_server.storage import checkpoints, names
from mltetris_server.storage.manifest import (
    Json,
    Manifest,
    ManifestError,
    parse_json,
    parse_time,
    time_text,
)
from mltetris_server.storage.places import shown

FILE_NAME = "slot.json"
FORMAT = "mltetris-slot"
VERSION = 1
MAX_NOTES = 4000
MAX_TAGS = 16
MAX_TAG = 32
_MAX_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class SlotRecord:
    """When the slot was made and last changed (UTC), its notes and tags, and its origin.

    ``source_slot`` is the slot it was copied from; ``imported`` says that it came in a bundle.
    """

    create_time: datetime
    update_time: datetime
    notes: str = ""
    tags: tuple[str, ...] = ()
    source_slot: str = ""
    imported: bool = False

    @classmethod
    def new(
        cls,
        *,
        notes: str = "",
        tags: Sequence[str] = (),
        source_slot: str = "",
        imported: bool = False,
    ) -> SlotRecord:
        """The record of a slot made now. Raises InvalidArgument for bad notes or tags."""
        now = datetime.now(UTC)
        return cls(now, now, check_notes(notes), check_tags(tags), source_slot, imported)

    def to_bytes(self) -> bytes:
        """The record as it is written."""
        document = {
            "format": FORMAT,
            "version": VERSION,
            "create_time": time_text(self.create_time),
            "update_time": time_text(self.update_time),
            "notes": self.notes,
            "tags": list(self.tags),
            "source_slot": self.source_slot,
            "imported": self.imported,
        }
        return json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"


def read(folder: Path, manifest: Manifest) -> SlotRecord:
    """The record of the slot in ``folder``.

    A slot without one (it was put there by hand, or by git) has no notes and is as old as its
    manifest. Raises DataLoss naming the file where it is damaged.
    """
    path = folder / FILE_NAME
    if not os.path.lexists(path):
        return SlotRecord(manifest.create_time, manifest.create_time)
    try:
        return _parse(checkpoints.read_file(path, _MAX_BYTES))
    except (ManifestError, errors.InvalidArgument) as error:
        raise errors.DataLoss(
            f"{shown(path)} is damaged: {error}; without that file the slot has no notes, but loads"
        ) from None


def _parse(data: bytes) -> SlotRecord:
    document = parse_json(data, limit=_MAX_BYTES)
    if document.pop("format", None) != FORMAT or document.pop("version", None) != VERSION:
        raise ManifestError(f'format: must be "{FORMAT}", version {VERSION}')
    expected = {"create_time", "update_time", "notes", "tags", "source_slot", "imported"}
    if document.keys() != expected:
        raise ManifestError(f"it must have exactly {', '.join(sorted(expected))}")
    source_slot, imported = document["source_slot"], document["imported"]
    if source_slot != "" and not (isinstance(source_slot, str) and names.is_slot_name(source_slot)):
        raise ManifestError("source_slot: must be a slot's name or empty")
    if not isinstance(imported, bool):
        raise ManifestError("imported: must be true or false")
    return SlotRecord(
        create_time=parse_time(document["create_time"], "create_time"),
        update_time=parse_time(document["update_time"], "update_time"),
        notes=check_notes(document["notes"]),
        tags=check_tags(document["tags"]),
        source_slot=source_slot,
        imported=imported,
    )


def check_notes(notes: Json) -> str:
    """The notes, if a slot may have them: up to 4,000 characters; else InvalidArgument."""
    if not isinstance(notes, str) or len(notes) > MAX_NOTES or not _is_text(notes, "\n\t"):
        raise errors.InvalidArgument.field(
            "notes", f"up to {MAX_NOTES} characters, none of them a control character"
        )
    return notes


def check_tags(tags: Json | Sequence[str]) -> tuple[str, ...]:
    """The tags, if a slot may have them; else InvalidArgument."""
    if isinstance(tags, str) or not isinstance(tags, Sequence):
        raise errors.InvalidArgument.field("tags", "must be a list of texts")
    checked = []
    for index, tag in enumerate(tags):
        if not isinstance(tag, str) or not 1 <= len(tag) <= MAX_TAG or not _is_text(tag):
            raise errors.InvalidArgument.field(
                f"tags[{index}]", f"1 to {MAX_TAG} characters, none of them a control character"
            )
        checked.append(tag)
    if len(checked) > MAX_TAGS or len(set(checked)) != len(checked):
        raise errors.InvalidArgument.field("tags", f"up to {MAX_TAGS}, each one once")
    return tuple(checked)


def _is_text(text: str, allowed: str = "") -> bool:
    """Whether it can be shown in a terminal and written as UTF-8: no controls, no surrogates."""
    return all(char in allowed or unicodedata.category(char) not in ("Cc", "Cs") for char in text)


def slot_message(
    name: str,
    *,
    active: bool,
    reference: bool,
    manifest: Manifest,
    manifest_bytes: bytes,
    record: SlotRecord,
) -> slot_pb2.Slot:
    """The slot as clients see it."""
    source = manifest.source
    slot = slot_pb2.Slot(
        name=name,
        active=active,
        create_time=_timestamp(record.create_time),
        update_time=_timestamp(record.update_time),
        notes=record.notes,
        tags=record.tags,
        algorithm=manifest.algorithm,
        features=manifest.features,
        game=manifest.game,
        placements=manifest.placements,
        evaluation=manifest.evaluation,
        source_slot=record.source_slot,
        command=manifest.command or "",
        size_bytes=manifest.size_bytes + len(manifest_bytes),
        sha256=hashlib.sha256(manifest_bytes).hexdigest(),
        resumable=manifest.resumable,
        reference=reference,
    )
    if source is not None:
        slot.source_run = source.run
        slot.source_checkpoint = source.kind
    return slot


def _timestamp(time: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(time)
    return stamp

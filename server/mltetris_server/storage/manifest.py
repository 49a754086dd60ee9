"""The manifest of a checkpoint: what the model is, how good it is, and what its files must be.

``docs/checkpoints.md`` describes the format. A manifest never changes once it is written; the
SHA-256 of its bytes is the fingerprint of the model, for it holds the SHA-256 of every file.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

from google.protobuf.descriptor import FieldDescriptor
from mltetris_api.v1 import run_pb2

from mltetris_server.storage import names

FORMAT = "mltetris-checkpoint"
VERSION = 1
FILE_NAME = "manifest.json"
POLICY_FILE = "policy.safetensors"
TRAINING_FILE = "training.safetensors"

MAX_MANIFEST_BYTES = 1 << 20
MAX_FILES = 16
MAX_CHECKPOINT_BYTES = 256 << 20
"""All files together; the same limit as ImportHeader.size_bytes."""
MAX_PLACEMENTS = 10**18
REFERENCE = "reference"
"""The word for the algorithm of a model that none has made: a reference player."""
MAX_COMMAND = 4096

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

_SHA256 = re.compile(r"[0-9a-f]{64}")
_KEYS = frozenset(
    {"format", "version", "model", "placements", "evaluation", "source"}
    | {"create_time", "command", "files"}
)


class ManifestError(ValueError):
    """The manifest is not acceptable; the message says where and why.

    Whoever reads knows whether that means a damaged file or a bad argument, and raises the
    domain exception for it.
    """


@dataclass(frozen=True, slots=True)
class FileEntry:
    """What one file of a checkpoint must be: its bytes and their SHA-256 in hex."""

    size: int
    sha256: str

    @classmethod
    def of(cls, data: bytes) -> FileEntry:
        """The entry for these bytes."""
        return cls(len(data), hashlib.sha256(data).hexdigest())


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything known of a model but its weights.

    ``model`` is what the learning room wrote and reads; here only ``algorithm``, ``features`` and
    ``game`` of it are understood. ``source`` is the run and the checkpoint the model comes from,
    ``command`` the command that made it, ``create_time`` when the checkpoint was written (UTC).
    """

    model: Mapping[str, Json]
    placements: int
    evaluation: run_pb2.Evaluation | None
    source: run_pb2.RunCheckpoint | None
    create_time: datetime
    command: str | None
    files: Mapping[str, FileEntry]

    @property
    def algorithm(self) -> run_pb2.Algorithm.ValueType:
        """The algorithm that made the model; unspecified: a reference player's."""
        if self.model["algorithm"] == REFERENCE:
            return run_pb2.ALGORITHM_UNSPECIFIED
        return run_pb2.Algorithm.Value(f"ALGORITHM_{str(self.model['algorithm']).upper()}")

    @property
    def features(self) -> run_pb2.FeatureSet.ValueType:
        """What the model sees."""
        return run_pb2.FeatureSet.Value(f"FEATURE_SET_{str(self.model['features']).upper()}")

    @property
    def game(self) -> run_pb2.GameSpec:
        """The game the model was made for."""
        return _parse_game(self.model["game"])

    @property
    def model_json(self) -> str:
        """``model`` as JSON text, as it travels in CheckpointHeader.model_json."""
        return json.dumps(self.model, allow_nan=False)

    @property
    def resumable(self) -> bool:
        """Whether a training can go on exactly: optimizer and replay window are there."""
        return TRAINING_FILE in self.files

    @property
    def size_bytes(self) -> int:
        """Bytes of all files together, without the manifest."""
        return sum(entry.size for entry in self.files.values())

    def to_bytes(self) -> bytes:
        """The manifest as it is written: the same manifest gives the same bytes.

        Raises ManifestError if ``parse`` would not accept it.
        """
        source = self.source
        document: dict[str, Any] = {
            "format": FORMAT,
            "version": VERSION,
            "model": self.model,
            "placements": self.placements,
            "evaluation": _evaluation_json(self.evaluation) if self.evaluation else None,
            "source": {"run": source.run, "checkpoint": _kind_word(source.kind)}
            if source
            else None,
            "create_time": time_text(self.create_time),
            "command": self.command,
            "files": {
                name: {"size": entry.size, "sha256": entry.sha256}
                for name, entry in self.files.items()
            },
        }
        try:
            text = json.dumps(
                document, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False
            )
            data = text.encode() + b"\n"
        except (TypeError, ValueError, RecursionError) as error:
            raise ManifestError(f"it cannot be written as JSON: {error}") from None
        parse(data)
        return data


def parse(data: bytes) -> Manifest:
    """Read a manifest, trusting nothing. Raises ManifestError."""
    document = parse_json(data, limit=MAX_MANIFEST_BYTES)
    if document.get("format") != FORMAT:
        raise ManifestError(f'format: must be "{FORMAT}"')
    if document.get("version") != VERSION or isinstance(document["version"], bool):
        raise ManifestError(
            f"version: this server reads version {VERSION}; a newer mlTetris wrote this file"
        )
    if unknown := sorted(document.keys() - _KEYS):
        raise ManifestError(f"{unknown[0][:64]!r}: unknown key")
    if missing := sorted(_KEYS - document.keys()):
        raise ManifestError(f"{missing[0]}: missing")
    return Manifest(
        model=_parse_model(document["model"]),
        placements=_integer(document["placements"], "placements", 0, MAX_PLACEMENTS),
        evaluation=_parse_evaluation(document["evaluation"]),
        source=_parse_source(document["source"]),
        create_time=parse_time(document["create_time"], "create_time"),
        command=_parse_command(document["command"]),
        files=_parse_files(document["files"]),
    )


def parse_json(data: bytes, *, limit: int) -> dict[str, Any]:
    """A JSON object without duplicate keys, NaN or infinities. Raises ManifestError."""
    if len(data) > limit:
        raise ManifestError(f"it is larger than {limit} bytes")
    try:
        document = json.loads(
            data.decode(),
            object_pairs_hook=_unique_keys,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except RecursionError:
        raise ManifestError("it is nested too deeply") from None
    except ManifestError:
        raise
    except ValueError as error:
        raise ManifestError(f"it is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise ManifestError("it must be a JSON object")
    return document


def time_text(time: datetime) -> str:
    """RFC 3339 in UTC with microseconds."""
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse_time(value: Json, where: str) -> datetime:
    """The moment in an RFC 3339 text, in UTC. Raises ManifestError."""
    if isinstance(value, str) and len(value) <= 64:
        try:
            time = datetime.fromisoformat(value)
            if time.tzinfo is not None:
                return time.astimezone(UTC)
        except (ValueError, OverflowError):
            pass
    raise ManifestError(f'{where}: must be a time like "2030-01-31T12:00:00Z"')


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ManifestError("it has the same key twice")
    return document


def _refuse_constant(name: str) -> None:
    raise ManifestError(f"it holds {name}, which is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ManifestError(f"it holds the number {text[:32]}, which is out of range")
    return number


def _integer(value: Json, where: str, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ManifestError(f"{where}: must be an integer from {low} to {high}")
    return value


def _object(value: Json, where: str) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise ManifestError(f"{where}: must be an object")
    return value


def _parse_model(value: Json) -> dict[str, Json]:
    model = _object(value, "model")
    if model.get("algorithm") != REFERENCE:
        _enum_number(
            run_pb2.Algorithm.items(), "ALGORITHM_", model.get("algorithm"), "model.algorithm"
        )
    _enum_number(
        run_pb2.FeatureSet.items(), "FEATURE_SET_", model.get("features"), "model.features"
    )
    _parse_game(model.get("game"))
    try:
        # Now rather than when it is written again: half a surrogate pair cannot be, nor what is
        # nested almost too deeply to be read.
        json.dumps(model, indent=2, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise ManifestError("model: cannot be written as JSON again") from None
    return model


def _parse_game(value: Json) -> run_pb2.GameSpec:
    game = _object(value, "model.game")
    return run_pb2.GameSpec(
        width=_integer(game.get("width"), "model.game.width", 4, 32),
        height=_integer(game.get("height"), "model.game.height", 4, 40),
        rule=run_pb2.Rule.ValueType(
            _enum_number(run_pb2.Rule.items(), "RULE_", game.get("rule"), "model.game.rule")
        ),
        randomizer=run_pb2.Randomizer.ValueType(
            _enum_number(
                run_pb2.Randomizer.items(),
                "RANDOMIZER_",
                game.get("randomizer"),
                "model.game.randomizer",
            )
        ),
    )


def _enum_number(items: list[tuple[str, Any]], prefix: str, word: Json, where: str) -> int:
    """The number of an enum's value from its word in a manifest: its name, prefix off, lower."""
    words = {name.removeprefix(prefix).lower(): number for name, number in items if number}
    if not isinstance(word, str) or word not in words:
        raise ManifestError(f"{where}: must be one of {', '.join(sorted(words))}")
    return int(words[word])


def _kind_word(kind: run_pb2.CheckpointKind.ValueType) -> str:
    return run_pb2.CheckpointKind.Name(kind).removeprefix("CHECKPOINT_KIND_").lower()


def _parse_source(value: Json) -> run_pb2.RunCheckpoint | None:
    if value is None:
        return None
    source = _object(value, "source")
    run = source.get("run")
    if (
        source.keys() != {"run", "checkpoint"}
        or not isinstance(run, str)
        or not names.is_run_id(run)
    ):
        raise ManifestError('source: must be null or {"run": a run\'s id, "checkpoint": which}')
    kind = _enum_number(
        run_pb2.CheckpointKind.items(),
        "CHECKPOINT_KIND_",
        source["checkpoint"],
        "source.checkpoint",
    )
    return run_pb2.RunCheckpoint(run=run, kind=run_pb2.CheckpointKind.ValueType(kind))


def _parse_command(value: Json) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > MAX_COMMAND or not value.isprintable():
        # Not printable: it is shown in terminals, which obey control characters.
        raise ManifestError(f"command: must be null or up to {MAX_COMMAND} printable characters")
    return value


def _parse_files(value: Json) -> dict[str, FileEntry]:
    listed = _object(value, "files")
    if POLICY_FILE not in listed:
        raise ManifestError(f"files: {POLICY_FILE} is missing")
    if len(listed) > MAX_FILES:
        raise ManifestError(f"files: at most {MAX_FILES}")
    entries = {}
    for name, entry in listed.items():
        if not names.is_file_name(name):
            raise ManifestError(
                f"files: {name[:80]!r} is no name for a file; "
                "it is made of a-z 0-9 _ - and ends in .safetensors"
            )
        where = f"files.{name}"
        if not isinstance(entry, dict) or entry.keys() != {"size", "sha256"}:
            raise ManifestError(f"{where}: must be an object of size and sha256")
        sha256 = entry["sha256"]
        if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
            raise ManifestError(f"{where}.sha256: must be 64 hex digits")
        size = _integer(entry["size"], f"{where}.size", 0, MAX_CHECKPOINT_BYTES)
        entries[name] = FileEntry(size, sha256)
    if sum(entry.size for entry in entries.values()) > MAX_CHECKPOINT_BYTES:
        raise ManifestError(f"files: more than {MAX_CHECKPOINT_BYTES} bytes together")
    return entries


def _evaluation_json(evaluation: run_pb2.Evaluation) -> dict[str, Json]:
    return {field.name: getattr(evaluation, field.name) for field in evaluation.DESCRIPTOR.fields}


def _parse_evaluation(value: Json) -> run_pb2.Evaluation | None:
    """An evaluation from an object with the fields of mltetris.v1.Evaluation; none is 0."""
    if value is None:
        return None
    given = _object(value, "evaluation")
    evaluation = run_pb2.Evaluation()
    fields = run_pb2.Evaluation.DESCRIPTOR.fields_by_name
    if not {"games", "mean_lines"} <= given.keys() <= set(fields):
        raise ManifestError(
            f"evaluation: must have games and mean_lines, and only {', '.join(sorted(fields))}"
        )
    for name, number in given.items():
        where = f"evaluation.{name}"
        field = fields[name]
        if field.cpp_type == FieldDescriptor.CPPTYPE_DOUBLE:
            if isinstance(number, bool) or not isinstance(number, int | float):
                raise ManifestError(f"{where}: must be a number")
            if not 0 <= number <= MAX_PLACEMENTS:
                raise ManifestError(f"{where}: must be from 0 to {MAX_PLACEMENTS}")
            setattr(evaluation, name, float(number))
        else:
            high = 2**32 - 1 if field.cpp_type == FieldDescriptor.CPPTYPE_UINT32 else MAX_PLACEMENTS
            setattr(evaluation, name, _integer(number, where, 0, high))
    return evaluation

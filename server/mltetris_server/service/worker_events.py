"""What a worker may say, checked before it is believed: a broken worker costs its own run only."""

from __future__ import annotations

from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from mltetris_api.v1 import dataset_pb2, run_pb2
from mltetris_api.worker.v1 import worker_pb2

from mltetris_server.errors import InvalidArgument

MOST_EVENT_BYTES: Final = 64 * 1024
"""Of an event that becomes part of its run, which every list of runs has to carry."""
_MOST_NUMBER: Final = 2**63 - 1
"""The greatest that the history can store."""

_UNBOUNDED: Final = frozenset({"episodes", "frames"})
"""Kinds of events that are no part of the run; gRPC bounds them."""
_STORED: Final = frozenset({"sequence", "placements", "lines", "number"})
"""Names of the fields whose numbers the history stores."""


def check_event(event: worker_pb2.AttachRequest) -> None:
    """Raises InvalidArgument where `event` could not be stored, or would harm who reads it."""
    if event.sequence > _MOST_NUMBER:
        raise InvalidArgument.field("sequence", "is too great a number")
    kind = event.WhichOneof("event")
    if kind is None:
        return
    if kind not in _UNBOUNDED and event.ByteSize() > MOST_EVENT_BYTES:
        raise InvalidArgument.field(kind, f"has more than {MOST_EVENT_BYTES} bytes")
    if kind == "frames":
        for i, frame in enumerate(event.frames.frames):
            _check_time(frame.sample_time, f"frames.frames[{i}].sample_time")
        return
    check_numbers(getattr(event, kind), kind)


def check_header(header: worker_pb2.CheckpointHeader, most_bytes: int) -> None:
    """Raises InvalidArgument where no checkpoint could be stored under `header`.

    Args:
        most_bytes: of all files together.
    """
    if not header.kind or header.kind not in run_pb2.CheckpointKind.values():
        raise InvalidArgument.field("header.kind", "must say which")
    if sum(file.size_bytes for file in header.files) > most_bytes:
        raise InvalidArgument.field("header.files", f"more than {most_bytes} bytes together")
    check_numbers(header, "header")


def check_dataset(header: dataset_pb2.Dataset, name: str) -> None:
    """Raises InvalidArgument where `header` is too large, or names another dataset than `name`.

    What it says of the games and the files is checked where it is stored.
    """
    if header.ByteSize() > MOST_EVENT_BYTES:
        raise InvalidArgument.field("header", f"has more than {MOST_EVENT_BYTES} bytes")
    if header.name not in ("", name):
        raise InvalidArgument.field("header.name", f"this run's dataset is {name}")
    check_numbers(header, "header")


def check_numbers(message: Message, path: str) -> None:
    """Raises InvalidArgument where a time in `message`, or a number that is stored, is none."""
    if isinstance(message, Timestamp | Duration):
        _check_time(message, path)
        return
    for field, value in message.ListFields():
        inner = f"{path}.{field.name}"
        if field.message_type is None:
            if field.name in _STORED and value > _MOST_NUMBER:
                raise InvalidArgument.field(inner, "is too great a number")
        elif field.is_repeated:
            for i, item in enumerate(value):
                check_numbers(item, f"{inner}[{i}]")
        else:
            check_numbers(value, inner)


def _check_time(time: Timestamp | Duration, path: str) -> None:
    try:
        time.ToNanoseconds()
        # Checks the range, too.
        time.ToJsonString()
    except ValueError as error:
        raise InvalidArgument.field(path, "is no time") from error

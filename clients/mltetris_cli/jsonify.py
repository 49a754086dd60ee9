"""The contract's messages as plain JSON, easier on scripts than proto's own.

Numbers are numbers (proto's JSON makes texts of 64-bit ones), enums their short lower-case names,
times RFC 3339 texts, durations seconds. What is unset is null; of a oneof only what is set is
there. The cells of a board are one text of digits a row.
"""

from __future__ import annotations

import math
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from mltetris_client import BoardFrame
from mltetris_client.names import short_names


def to_json(message: Message) -> dict[str, Any]:
    """A message as a JSON object."""
    result: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        oneof = field.containing_oneof
        # proto3's `optional` is a oneof of one in the descriptor, and is no choice.
        choice = oneof is not None and len(oneof.fields) > 1
        if choice and not message.HasField(field.name):
            continue
        value = getattr(message, field.name)
        if field.is_repeated:
            result[field.name] = [_plain(field, item) for item in value]
        elif field.has_presence and not message.HasField(field.name):
            result[field.name] = None
        else:
            result[field.name] = _plain(field, value)
    if isinstance(message, BoardFrame):
        result["cells"] = _rows(message)
    return result


def seconds(duration: Duration) -> float:
    """A Duration in seconds."""
    return duration.seconds + duration.nanos / 1e9


def _plain(field: Any, value: Any) -> Any:
    if isinstance(value, Timestamp):
        return value.ToJsonString()
    if isinstance(value, Duration):
        return seconds(value)
    if isinstance(value, Message):
        return to_json(value)
    if field.enum_type is not None:
        return short_names(field.enum_type).get(value, str(value)) or None
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON has no NaN
    if isinstance(value, bytes):
        return value.hex()
    return value


def _rows(frame: BoardFrame) -> list[str]:
    digits = "".join(str(cell) for cell in frame.cells)
    width = frame.width or 1
    return [digits[start : start + width] for start in range(0, len(digits), width)]

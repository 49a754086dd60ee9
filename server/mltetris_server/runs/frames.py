"""Board frames on their way to watchers: encoded once, however many watch.

Watchers of one frame differ only in `BoardFrame.skipped` (and in whether they asked for values), so
a frame is serialized once without it and the field is appended for each watcher: protobuf takes
the last value of a field, wherever it stands. This module is the only one that writes wire format.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Final

from mltetris_api.v1 import board_pb2, trainer_pb2

_VARINT: Final = 0
_LENGTH_DELIMITED: Final = 2
_SKIPPED_TAG: Final = board_pb2.BoardFrame.SKIPPED_FIELD_NUMBER << 3 | _VARINT
_FRAMES_TAG: Final = trainer_pb2.StreamBoardResponse.FRAMES_FIELD_NUMBER << 3 | _LENGTH_DELIMITED


class Snapshot:
    """The newest frame of every board of a run, at one moment. Immutable.

    `number` counts what the worker has made since the server knows it, from 1; where it has skipped
    some, so does the number.
    """

    def __init__(self, number: int, frames: Sequence[board_pb2.BoardFrame]) -> None:
        self.number = number
        self.frames = tuple(frames)

    def response(self, *, include_values: bool, skipped: int) -> bytes:
        """Returns a serialized StreamBoardResponse whose frames say `skipped`."""
        parts = self._with_values if include_values else self._without_values
        suffix = bytes((_SKIPPED_TAG,)) + _varint(skipped) if skipped else b""
        out = bytearray()
        for part in parts:
            out.append(_FRAMES_TAG)
            out += _varint(len(part) + len(suffix))
            out += part
            out += suffix
        return bytes(out)

    @cached_property
    def _with_values(self) -> tuple[bytes, ...]:
        return tuple(_encode(frame) for frame in self.frames)

    @cached_property
    def _without_values(self) -> tuple[bytes, ...]:
        if not any(frame.values for frame in self.frames):
            return self._with_values
        bare = []
        for frame in self.frames:
            copy = board_pb2.BoardFrame()
            copy.CopyFrom(frame)
            copy.ClearField("values")
            bare.append(_encode(copy))
        return tuple(bare)


def _encode(frame: board_pb2.BoardFrame) -> bytes:
    # Not sent by a worker, but an old value would survive where `skipped` is 0 and not appended.
    frame.ClearField("skipped")
    return frame.SerializeToString()


def _varint(number: int) -> bytes:
    """`number` >= 0 in protobuf's base-128 form."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)

"""Domain errors and validation failures as gRPC statuses: the one place that knows both sides."""

from __future__ import annotations

from typing import Final

import grpc
from google.protobuf.any_pb2 import Any
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from mltetris_server import errors
from mltetris_server.errors import DomainError

_CODES: Final[dict[type[DomainError], grpc.StatusCode]] = {
    errors.InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.WrongState: grpc.StatusCode.FAILED_PRECONDITION,
    errors.DataLoss: grpc.StatusCode.DATA_LOSS,
    errors.TooSlow: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.TooMany: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.NotSupported: grpc.StatusCode.UNIMPLEMENTED,
    errors.DiskFull: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
}

# A status travels in HTTP/2 headers, of which peers take 8 KiB in all: the message percent-encoded
# (up to three bytes for one), the details in base64 (four for three).
_MESSAGE_BYTES: Final = 600
_FIELD_BYTES: Final = 300
_DETAILS_BYTES: Final = 3000

STATUS_DETAILS_KEY: Final = "grpc-status-details-bin"
"""Trailing metadata that carries the google.rpc.Status, as grpc-status reads it."""


def code_of(error: DomainError) -> grpc.StatusCode:
    """Returns the status code of `error`; a class without one of its own is a fault of ours."""
    for kind in type(error).__mro__:
        if kind in _CODES:
            return _CODES[kind]
    return grpc.StatusCode.INTERNAL


def details_of(error: DomainError) -> bytes:
    """Returns `error` as a serialized google.rpc.Status; named fields are in a BadRequest."""
    status = status_pb2.Status(code=code_of(error).value[0], message=message_of(error))
    bad = error_details_pb2.BadRequest()
    for violation in error.fields:
        bad.field_violations.add(
            field=_short(violation.field, _FIELD_BYTES),
            description=_short(violation.description, _FIELD_BYTES),
        )
        if bad.ByteSize() > _DETAILS_BYTES:
            del bad.field_violations[-1]
            break
    if bad.field_violations:
        packed = Any()
        packed.Pack(bad)
        status.details.append(packed)
    serialized: bytes = status.SerializeToString()
    return serialized


def message_of(error: DomainError) -> str:
    """Returns the text that goes into the status message."""
    return _short(error.message, _MESSAGE_BYTES)


def _short(text: str, most: int) -> str:
    """`text`, cut off so that it has at most `most` bytes."""
    raw = text.encode("utf-8", errors="replace")
    if len(raw) <= most:
        return text
    return raw[: most - 3].decode("utf-8", errors="ignore") + "…"

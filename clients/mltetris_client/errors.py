"""What a call can raise, and how a gRPC status becomes one of these.

Every exception carries ``code`` (the gRPC status), ``message`` (what the server said, one line),
``fields`` (which fields of the request are wrong, where it said so) and ``hint`` (one sentence:
what to do about it).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Protocol

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import BadRequest  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

_DETAILS_KEY = "grpc-status-details-bin"


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field of a request that is not acceptable.

    ``field`` is its path from the request message, for example
    ``training.budget.target_mean_lines``; ``description`` says what it must be.
    """

    field: str
    description: str


class MlTetrisError(Exception):
    """A call failed. The subclass says how; ``str()`` is the message."""

    default_code: ClassVar[grpc.StatusCode] = grpc.StatusCode.UNKNOWN
    default_hint: ClassVar[str] = "Try again, and look at the server's log if it happens again."

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode | None = None,
        fields: Iterable[FieldViolation] = (),
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = self.default_code if code is None else code
        self.fields: tuple[FieldViolation, ...] = tuple(fields)
        self.hint = self.default_hint if hint is None else hint

    def __str__(self) -> str:
        return self.message


class InvalidArgument(MlTetrisError):
    """A value is malformed or out of range; ``fields`` names which."""

    default_code = grpc.StatusCode.INVALID_ARGUMENT
    default_hint = "Correct the named value."

    @classmethod
    def field(cls, path: str, description: str) -> InvalidArgument:
        """The error for exactly one field."""
        return cls(f"{path}: {description}", fields=[FieldViolation(path, description)])


class NotFound(MlTetrisError):
    """There is no such run, slot, checkpoint or dataset."""

    default_code = grpc.StatusCode.NOT_FOUND
    default_hint = (
        "List what there is with `mltetris ps`, `mltetris slots ls` and `mltetris datasets ls`."
    )


class AlreadyExists(MlTetrisError):
    """The name is taken."""

    default_code = grpc.StatusCode.ALREADY_EXISTS
    default_hint = "Choose another name, or say that the old one may be replaced."


class WrongState(MlTetrisError):
    """It exists, but not in a state in which this can be done."""

    default_code = grpc.StatusCode.FAILED_PRECONDITION
    default_hint = "See what state it is in with `mltetris ps`."


class DataLoss(MlTetrisError):
    """A file is damaged: stored on the server, or on its way here."""

    default_code = grpc.StatusCode.DATA_LOSS
    default_hint = "Put a good copy in its place, or use another one."


class Unreachable(MlTetrisError):
    """Nobody answers at the address, or the server is going away."""

    default_code = grpc.StatusCode.UNAVAILABLE
    default_hint = "Start a server with `mltetris serve`, or name another address."


class NoAnswer(MlTetrisError):
    """The server was reached but did not answer in time; the call may still have its effect."""

    default_code = grpc.StatusCode.DEADLINE_EXCEEDED
    default_hint = "Look with `mltetris ps` whether it happened, then try again."


class NotSupported(MlTetrisError):
    """The contract declares it; this server does not offer it."""

    default_code = grpc.StatusCode.UNIMPLEMENTED
    default_hint = "Use a newer server."


class TooSlow(MlTetrisError):
    """A limit was met: messages too large, or read too slowly."""

    default_code = grpc.StatusCode.RESOURCE_EXHAUSTED
    default_hint = "Send less, or read faster."


class Unauthenticated(MlTetrisError):
    """The server asks for a token, and there was none or a wrong one."""

    default_code = grpc.StatusCode.UNAUTHENTICATED
    default_hint = (
        "Name the file with yours, --token-file or MLTETRIS_TOKEN_FILE, or ask who runs the server."
    )


class PermissionDenied(MlTetrisError):
    """The token is a viewer's: it may look and nothing else."""

    default_code = grpc.StatusCode.PERMISSION_DENIED
    default_hint = "Use the operator's token."


class Cancelled(MlTetrisError):
    """The call or the connection was closed on this side."""

    default_code = grpc.StatusCode.CANCELLED
    default_hint = "Call again."


class Closed(Cancelled):
    """The `Trainer` was closed; nothing can be called on it any more."""

    default_hint = "Connect again."


class ServerFault(MlTetrisError):
    """A fault of the server's program; the message has the id its log carries."""

    default_code = grpc.StatusCode.INTERNAL
    default_hint = "Look for the id in the server's log."


_KINDS: tuple[type[MlTetrisError], ...] = (
    InvalidArgument,
    NotFound,
    AlreadyExists,
    WrongState,
    DataLoss,
    Unreachable,
    NoAnswer,
    NotSupported,
    TooSlow,
    Unauthenticated,
    PermissionDenied,
    Cancelled,
    ServerFault,
)
_BY_CODE = {kind.default_code: kind for kind in _KINDS} | {
    grpc.StatusCode.OUT_OF_RANGE: InvalidArgument
}


class _Failed(Protocol):
    """The part of a failed gRPC call that is read here."""

    def code(self) -> grpc.StatusCode: ...

    def details(self) -> str | None: ...

    def trailing_metadata(self) -> Iterable[tuple[str, str | bytes]] | None: ...


def from_call(call: _Failed, *, address: str) -> MlTetrisError:
    """Makes the exception for a failed call to the server at ``address``."""
    code = call.code()
    text = " ".join((call.details() or code.name.lower().replace("_", " ")).split())
    kind = _BY_CODE.get(code, MlTetrisError)
    if kind is Unreachable:
        return _unreachable(text, address)
    if kind is NoAnswer:
        return NoAnswer(f"the server at {address} did not answer in time", code=code)
    return kind(text, code=code, fields=_violations(call.trailing_metadata()))


_TLS_ADVICE = (
    "name the CA of its certificate, --tls-ca or MLTETRIS_TLS_CA, and reach it by a name that is "
    "in the certificate."
)


def _unreachable(text: str, address: str) -> Unreachable:
    """Says it in the server's words where they are the server's, else in ours."""
    talk = text.lower()
    if "wrong_version_number" in talk:
        return Unreachable(
            f"the server at {address} does without TLS",
            hint="Leave https:// and the files of TLS out.",
        )
    if "handshake failed" in talk and ("certificate" in talk or "hostname" in talk):
        message = f"the certificate of the server at {address} is not to be trusted"
        return Unreachable(message, hint=f"N{_TLS_ADVICE[1:]}")
    if "failed to connect" in talk and "socket closed" in talk:
        hint = f"{Unreachable.default_hint} If it asks for TLS, {_TLS_ADVICE}"
        return Unreachable(f"no mlTetris server answers at {address}", hint=hint)
    grpc_talk = (
        "failed to connect",
        "connections to all backends",
        "socket closed",
        "connection reset",
        "connection refused",
        "name resolution",
        "dns",
        "goaway",
        "ping timeout",
        "recvmsg",
        "sendmsg",
        "endpoint",
        "handshake",
        "unavailable",
        "errors resolving",
        "broken pipe",
    )
    if any(phrase in talk for phrase in grpc_talk):
        return Unreachable(f"no mlTetris server answers at {address}")
    return Unreachable(text)


def _violations(
    metadata: Iterable[tuple[str, str | bytes]] | None,
) -> list[FieldViolation]:
    """Reads google.rpc.BadRequest out of a call's trailing metadata."""
    for key, value in metadata or ():
        if key != _DETAILS_KEY or not isinstance(value, bytes):
            continue
        try:
            status = Status.FromString(value)
        except DecodeError:
            # Something between us and the server mangled the details; code and message still hold.
            return []
        request = BadRequest()
        for detail in status.details:
            if detail.Unpack(request):
                return [FieldViolation(v.field, v.description) for v in request.field_violations]
    return []

"""What can go wrong on purpose: the exceptions that storage, runs and service share.

Raise one of these when a caller can do something about it. ``service/errors.py`` maps each class to
one gRPC status code, and that is the only place that knows both sides. Everything else that escapes
a handler is a fault of the program: the caller gets INTERNAL with an id, never its text.

A message is shown to people as it is: say what is wrong and what to do, in one line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field of a request that is not acceptable.

    ``field`` is the path from the request message, for example
    ``training.budget.target_mean_lines`` or ``demo.slots[2]``; ``description`` says what the
    field must be.
    """

    field: str
    description: str


class DomainError(Exception):
    """Base of every error that is told to the caller as it is."""

    def __init__(self, message: str, *, fields: Sequence[FieldViolation] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.fields: tuple[FieldViolation, ...] = tuple(fields)

    def __str__(self) -> str:
        return self.message


class InvalidArgument(DomainError):
    """A value in the request is out of range, malformed or contradictory (INVALID_ARGUMENT)."""

    @classmethod
    def field(cls, path: str, description: str) -> InvalidArgument:
        """The error for exactly one field; the message is made of path and description."""
        return cls(f"{path}: {description}", fields=(FieldViolation(path, description),))


class NotFound(DomainError):
    """The named run, slot or checkpoint does not exist (NOT_FOUND)."""


class AlreadyExists(DomainError):
    """The name is taken (ALREADY_EXISTS)."""


class WrongState(DomainError):
    """The thing exists, but not in a state where this can be done (FAILED_PRECONDITION)."""


class DataLoss(DomainError):
    """A stored file is damaged or missing; the message names the file (DATA_LOSS)."""


class TooSlow(DomainError):
    """A reader of a lossless stream fell behind (RESOURCE_EXHAUSTED).

    The message says where to resume.
    """


class TooMany(DomainError):
    """More of something than the server allows at once (RESOURCE_EXHAUSTED).

    The message names the limit and the flag that sets it.
    """


class NotSupported(DomainError):
    """Declared in the contract, not offered by this server (UNIMPLEMENTED)."""


class Unavailable(DomainError):
    """Not now, try again: the server is going away or a worker did not answer (UNAVAILABLE)."""


class DiskFull(Unavailable):
    """There is no room on the server's disk (RESOURCE_EXHAUSTED)."""


class Unauthenticated(DomainError):
    """A worker's run or secret is not one this server knows (UNAUTHENTICATED)."""


class PermissionDenied(DomainError):
    """The caller is known, but this is not for it (PERMISSION_DENIED)."""


class DataDirInUse(DomainError):
    """Another process owns the data directory; the message says which and what to do."""

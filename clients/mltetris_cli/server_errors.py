"""What the SDK raises, as one line and an exit code."""

from __future__ import annotations

import sys

from mltetris_client import (
    FieldViolation,
    InvalidArgument,
    MlTetrisError,
    NoAnswer,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    Unreachable,
    WrongState,
)

from mltetris_cli.exits import ExitCode, one_line

_CODES: tuple[tuple[type[MlTetrisError], ExitCode], ...] = (
    (InvalidArgument, ExitCode.USAGE),
    (Unreachable, ExitCode.UNREACHABLE),
    (NoAnswer, ExitCode.UNREACHABLE),
    (NotFound, ExitCode.NOT_FOUND),
    (WrongState, ExitCode.WRONG_STATE),
    (Unauthenticated, ExitCode.DENIED),
    (PermissionDenied, ExitCode.DENIED),
)


_CONTENT = "chunk"
"""The field that the content of a file travels in."""


def exit_code(error: MlTetrisError) -> ExitCode:
    """The exit code that stands for an error of the SDK."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), ExitCode.FAILURE)


def describe(error: MlTetrisError) -> str:
    """One line: what is wrong, in which field, and what to do."""
    if error.fields:
        (first, *_) = error.fields
        if first.field == _CONTENT:
            return one_line(f"the file cannot be imported: {first.description}")
        return one_line("; ".join(_field(violation) for violation in error.fields), error.hint)
    # The server's own sentences often say already what to do.
    hint = "" if "`" in error.message or ". " in error.message.rstrip(".") else error.hint
    return one_line(error.message, hint)


def tell(error: Exception) -> int | None:
    """Tells an error of the SDK on stderr and returns the exit code; None: it is none."""
    if not isinstance(error, MlTetrisError):
        return None
    print(describe(error), file=sys.stderr, flush=True)
    return exit_code(error)


def _field(violation: FieldViolation) -> str:
    """The last part of a field's path is what the flag is named after."""
    name = violation.field.rpartition(".")[2] or violation.field
    return f"{name.replace('_', ' ')}: {violation.description}"

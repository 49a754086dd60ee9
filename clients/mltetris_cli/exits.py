"""Exit codes, and the error that carries one out of a command."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What the process says at its end."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    UNREACHABLE = 3
    NOT_FOUND = 4
    WRONG_STATE = 5
    DENIED = 6
    INTERRUPT = 130


class CliError(Exception):
    """A command cannot do what it was asked: one line for people, and an exit code.

    ``message`` says what is wrong, ``hint`` what to do about it.
    """

    def __init__(
        self, message: str, hint: str = "", exit_code: ExitCode = ExitCode.FAILURE
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.exit_code = exit_code


class Terminated(BaseException):
    """A signal asks the process to end (SIGTERM, SIGHUP). Like KeyboardInterrupt, not an error."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"signal {signal_number}")
        self.exit_code = 128 + signal_number


def one_line(message: str, hint: str = "") -> str:
    """``error: MESSAGE. HINT``, whatever line breaks and full stops the parts have."""
    text = " ".join(message.split())
    if hint:
        text = f"{text.rstrip('.')}. {' '.join(hint.split())}"
    return f"error: {text}"

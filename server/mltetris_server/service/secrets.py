"""Where a server's tokens come from: files or the environment, never the command line, which every
user of the machine can read."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mltetris_server.service.access import Tokens
from mltetris_server.service.addresses import CannotListen

OPERATOR_VARIABLE: Final = "MLTETRIS_OPERATOR_TOKEN"
VIEWER_VARIABLE: Final = "MLTETRIS_VIEWER_TOKEN"
_MOST_BYTES: Final = 4096


def read_tokens(
    operator_file: Path | None,
    viewer_file: Path | None,
    environment: Mapping[str, str] = os.environ,
) -> Tokens:
    """Returns the tokens; a file comes before the environment.

    Raises:
        CannotListen: a file cannot be read, others can read it, or a token is none.
    """
    operator = _token(operator_file, "--operator-token-file", environment.get(OPERATOR_VARIABLE))
    viewer = _token(viewer_file, "--viewer-token-file", environment.get(VIEWER_VARIABLE))
    try:
        return Tokens(operator=operator, viewer=viewer)
    except ValueError as error:
        raise CannotListen(str(error)) from error


def _token(path: Path | None, flag: str, otherwise: str | None) -> str:
    if path is None:
        return (otherwise or "").strip()
    try:
        if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise CannotListen(
                f"{flag} {path} can be read by other users of this machine: chmod 600 {path}"
            )
        with path.open("rb") as file:
            token = file.read(_MOST_BYTES).decode("utf-8").strip()
    except OSError as error:
        raise CannotListen(f"{flag} {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CannotListen(f"{flag} {path}: it is no text") from error
    if not token:
        raise CannotListen(f"{flag} {path} is empty: write the token into it")
    return token

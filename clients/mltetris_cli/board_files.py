"""Boards in files."""

from __future__ import annotations

import sys
from pathlib import Path

from mltetris_cli.exits import CliError, ExitCode

_MOST_CHARACTERS = 100_000


def read_board(name: str) -> str:
    """The text of a board; ``-`` is standard input.

    Raises:
        CliError: it cannot be read, or is empty.
    """
    try:
        if name == "-":
            text = sys.stdin.read(_MOST_CHARACTERS)
        else:
            with Path(name).open(encoding="utf-8") as file:
                text = file.read(_MOST_CHARACTERS)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not a text"
        raise CliError(f"cannot read the board {name}: {why}", exit_code=ExitCode.USAGE) from error
    if not text.strip():
        raise CliError(
            f"there is no board in {'standard input' if name == '-' else name}",
            "Write a line for each row, . for empty and X for filled; leave --board out for an "
            "empty board.",
            ExitCode.USAGE,
        )
    return text

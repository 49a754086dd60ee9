"""From what a person writes for a time to the time."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from mltetris_cli.exits import CliError, ExitCode

_AGO = re.compile(r"(\d{1,9})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def since_when(text: str) -> datetime:
    """The time that ``text`` names: so long ago (``90s 30m 12h 2d 3w``), or a date, or a time.

    A date or time without a zone is local.

    Raises:
        CliError: it names none.
    """
    found = _AGO.fullmatch(text)
    try:
        if found is not None:
            return datetime.now(UTC) - timedelta(**{_UNITS[found[2]]: int(found[1])})
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError, OSError):
        raise CliError(
            f"{text!r} is no time",
            "Write how long ago, as 90s, 30m, 12h, 2d or 3w, or a date, as 2026-01-31.",
            ExitCode.USAGE,
        ) from None

"""What is told of an error that nobody foresaw: its words, but not where things lie on a disk."""

from __future__ import annotations

import re
from typing import Final

_PATH: Final = re.compile(
    r"""(?<![\w.:/\\-])            # not in the middle of a word, a fraction or an address
    (?:[A-Za-z]:[\\/]|/)
    (?:[^\s'"<>|:*?\\/]+[\\/])+
    """,
    re.VERBOSE,
)


def without_places(text: str) -> str:
    """Returns `text` with each absolute path cut down to its last name."""
    return _PATH.sub("", text)


def words_of(error: BaseException) -> str:
    """Returns what may be told of `error` to whoever may look at a run.

    Of a system error only what the system said: the file it was about is in the log.
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return without_places(str(error))

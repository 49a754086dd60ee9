"""Where a file lies, as it is told to people: from the data directory on, never the whole path.

A message may go to whoever may call the server, and where its disk is mounted is not their affair.
"""

from __future__ import annotations

import re
from pathlib import Path

# What lies in a data directory (docs/checkpoints.md), and the reference players beside the program.
_LAYOUT = re.compile(
    r"""
    slots (/active\.json | /[^/]+ (/[^/]+\.[a-z0-9]+)? )?
    | runs (/[^/.]+ (/(best|latest|final|spool) (/[^/]+){0,2} | /worker\.log(\.1)? )? )?
    | datasets (/[^/]+ (/data | (/data)?/[^/]+\.[a-z0-9]+)? )?
    | reference/[^/]+ (/[^/]+\.[a-z0-9]+)?
    """,
    re.VERBOSE,
)
_DEEPEST = 5
"""Parts of `runs/ID/best/000001/manifest.json`."""


def shown(path: Path) -> str:
    """The path from the data directory on, with ``/`` everywhere; else only the last name."""
    for length in range(_DEEPEST, 1, -1):
        tail = "/".join(path.parts[-length:])
        if _LAYOUT.fullmatch(tail):
            return tail
    return path.name

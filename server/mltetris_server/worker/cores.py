"""How many cores a run may play on where nobody says."""

from __future__ import annotations

import os
from typing import Final

_MOST: Final = 64
"""As the contract has it."""


def available_cores() -> int:
    """Cores that this process may use, 64 at most."""
    if hasattr(os, "sched_getaffinity"):
        return min(_MOST, len(os.sched_getaffinity(0)))
    return min(_MOST, os.cpu_count() or 1)

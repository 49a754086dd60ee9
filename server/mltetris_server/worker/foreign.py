"""Turns a stable-baselines3 .zip of whoever into a slot's bundle: .zip on standard input.

A process of its own, because it needs torch, and because what it reads may be made to hurt: from
the moment it begins to read, it may use only so much memory and time, and write no file.
"""

from __future__ import annotations

import contextlib
import sys
from typing import Final

from mltetris_server.worker.export import MOST_BYTES

REFUSED: Final = 3
"""Exit code: the .zip is not taken, and standard error says why in one line."""
MEMORY_BYTES: Final = 2 << 30
"""Bytes that reading may take, besides what the process has when it begins."""
CPU_S: Final = 60
"""Seconds of computing in all."""


def main() -> int:
    """Converts; returns the exit code."""
    from mltetris_server.learning.foreign import import_sb3
    from mltetris_server.learning.model import CheckpointError

    content = sys.stdin.buffer.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        print(f"the file is larger than {MOST_BYTES} bytes", file=sys.stderr)
        return REFUSED
    _limit()
    try:
        # What a library prints must not end up in the bundle.
        with contextlib.redirect_stdout(sys.stderr):
            bundle = import_sb3(content)
    except CheckpointError as error:
        print(error, file=sys.stderr)
        return REFUSED
    except MemoryError:
        print(f"{MEMORY_BYTES} bytes of memory are not enough to read it", file=sys.stderr)
        return REFUSED
    sys.stdout.buffer.write(bundle)
    sys.stdout.buffer.flush()
    return 0


def _limit() -> None:
    """Takes away what reading does not need, where the system knows how."""
    try:
        import resource
    except ImportError:  # Windows
        return
    import psutil

    # What is mapped, not what is used: torch maps far more than it ever touches.
    most = psutil.Process().memory_info().vms + MEMORY_BYTES
    limits = [(resource.RLIMIT_CPU, CPU_S), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0)]
    if sys.platform == "linux":
        limits.append((resource.RLIMIT_AS, most))
    for limit, value in limits:
        hard = resource.getrlimit(limit)[1]
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)
        resource.setrlimit(limit, (value, value))


if __name__ == "__main__":
    sys.exit(main())

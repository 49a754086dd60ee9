"""The worker process: one run, from the server's Welcome to the last word."""

from __future__ import annotations

import os
import sys

ONE_THREAD = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
"""Variables that keep numerical libraries from starting threads: a run has one core."""


def main() -> int:
    """Runs one worker; returns only on a usage error."""
    # Before anything loads numpy, which reads them once.
    for name in ONE_THREAD:
        os.environ.setdefault(name, "1")
    from mltetris_server.worker import process

    return process.main()


if __name__ == "__main__":
    sys.exit(main())

"""Turns a slot's bundle into a stable-baselines3 .zip: bundle on standard input, .zip on output.

A process of its own, because it needs torch and the server must not load it.
"""

from __future__ import annotations

import contextlib
import sys

MOST_BYTES = 256 * 1024 * 1024
"""Bytes of a bundle at most."""


def main() -> int:
    """Converts; returns the exit code: 1, with one line on standard error, where it cannot."""
    bundle = sys.stdin.buffer.read(MOST_BYTES + 1)
    if len(bundle) > MOST_BYTES:
        print(f"error: the bundle is larger than {MOST_BYTES} bytes", file=sys.stderr)
        return 1
    from mltetris_server.learning.export import export_sb3
    from mltetris_server.learning.model import CheckpointError
    from mltetris_server.worker.lean_torch import spare_the_compiler

    spare_the_compiler()
    try:
        # What a library prints must not end up in the .zip.
        with contextlib.redirect_stdout(sys.stderr):
            data = export_sb3(bundle)
    except CheckpointError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())

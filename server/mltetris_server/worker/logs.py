"""The worker's log: lines on standard error, which its launcher keeps."""

from __future__ import annotations

import faulthandler
import logging
import sys
import time


def configure(run: str) -> None:
    """Writes one line a message: UTC time, level, the run, where it comes from, the message."""
    handler = logging.StreamHandler(sys.stderr)
    formatter = logging.Formatter(
        f"%(asctime)s.%(msecs)03dZ %(levelname)-7s {run} %(name)s: %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
    )
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    # What a crash of native code leaves behind is the end of this log.
    faulthandler.enable(sys.stderr)

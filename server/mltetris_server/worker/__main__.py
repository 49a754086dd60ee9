"""The worker process: one run, from the server's Welcome to the last word."""

from __future__ import annotations

import sys

from mltetris_server.worker.process import main

if __name__ == "__main__":
    sys.exit(main())

"""The server process with small workers: `python -m support.small_service`, arguments as usual."""

from __future__ import annotations

import sys

from mltetris_server.service.__main__ import main

if __name__ == "__main__":
    sys.exit(main(worker_command=(sys.executable, "-m", "support.small_worker")))

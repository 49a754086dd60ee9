"""The server process with failing workers: `python -m support.failing_service`."""

from __future__ import annotations

import sys

from mltetris_server.service.__main__ import main

if __name__ == "__main__":
    sys.exit(main(worker_command=(sys.executable, "-m", "support.failing_worker")))

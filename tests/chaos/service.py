"""The server of a torture: the real one, whose workers are those of `chaos.worker`."""

from __future__ import annotations

import sys

from mltetris_server.service.__main__ import main

if __name__ == "__main__":
    sys.exit(main(worker_command=(sys.executable, "-m", "chaos.worker")))

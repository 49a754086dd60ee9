"""`mltetris`, but the servers it starts have small workers: `python -m support.small_cli`."""

from __future__ import annotations

from mltetris_cli import server_process
from mltetris_cli.main import main

if __name__ == "__main__":
    server_process._SERVER_MODULE = "support.small_service"
    main()

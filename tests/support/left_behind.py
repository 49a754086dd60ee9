"""Which processes of a data directory are still there."""

from __future__ import annotations

from pathlib import Path

import psutil


def left_behind(data_dir: Path) -> list[str]:
    """Servers, workers and guards of a data directory, as text; empty: none."""
    runs = {path.name for path in (data_dir / "runs").glob("*")}
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            command = process.cmdline()
            mine = str(data_dir) in command and "python" in Path(command[0]).name
            if mine or process.environ().get("MLTETRIS_WORKER_RUN") in runs:
                found.append(f"{process.pid}: {' '.join(command)}")
        except (psutil.Error, OSError):
            continue
    return found

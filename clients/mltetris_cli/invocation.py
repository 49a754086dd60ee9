"""How this command is called, so that what it tells people to type works."""

from __future__ import annotations

import os
import shutil
import sys
from functools import cache
from pathlib import Path


@cache
def command() -> str:
    """``mltetris`` where the shell finds it, else a path to it from here."""
    beside = Path(sys.executable).with_name("mltetris.exe" if os.name == "nt" else "mltetris")
    found = shutil.which("mltetris")
    if found is not None and Path(found).absolute() == beside.absolute():
        return "mltetris"
    if not beside.exists():
        return "mltetris" if found else f"{sys.executable} -m mltetris_cli"
    try:
        return str(beside.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(beside)

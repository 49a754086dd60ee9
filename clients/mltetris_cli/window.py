"""The pygame window as a process of its own."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

from mltetris_cli.exits import CliError


def open_window(address: str | None, run: str | None) -> subprocess.Popen[bytes]:
    """Starts the window, for one run or the newest.

    Raises:
        CliError: the window's packages are not installed.
    """
    if importlib.util.find_spec("pygame") is None:
        raise CliError(
            "the window needs pygame-ce, which is not installed",
            'Install it with `pip install "mltetris[viewer]"`, or use `mltetris watch`.',
        )
    command = [sys.executable, "-m", "mltetris_viewer"]
    if address is not None:
        command += ["--server", address]
    if run is not None:
        command.append(run)
    return subprocess.Popen(command, stdin=subprocess.DEVNULL)

"""The pygame window as a process of its own."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import IO

from mltetris_cli.exits import CliError

_END_TIMEOUT_S = 5.0


def open_window(
    address: str | None,
    run: str | None,
    *,
    access: Mapping[str, str] = MappingProxyType({}),
    environment: Mapping[str, str] | None = None,
    stderr: IO[bytes] | None = None,
) -> subprocess.Popen[bytes]:
    """Starts the window.

    Args:
        address: of the server; None: the window's own default.
        run: the run; None: the newest.
        access: names of files that let it in, by the names of `Settings.access`.
        environment: its environment; None: ours.
        stderr: takes its words; None: ours does.

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
    for name, file in access.items():
        command += [f"--{name.replace('_', '-')}", file]
    if run is not None:
        command.append(run)
    # What the window says is for people; our stdout is data.
    words = sys.stderr if stderr is None else stderr
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=words, stderr=words, env=environment
    )


@contextmanager
def window_beside(address: str, run: str, environment: Mapping[str, str]) -> Iterator[None]:
    """The window while something else goes on in the terminal: ended with it. See `open_window`.

    A window that could not be opened is told at the end, on stderr.

    Raises:
        CliError: the window's packages are not installed.
    """
    with tempfile.TemporaryFile() as words:
        process = open_window(address, run, environment=environment, stderr=words)
        try:
            yield
        finally:
            failed = process.poll()
            if failed is None:
                process.terminate()
                try:
                    process.wait(timeout=_END_TIMEOUT_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            elif failed:
                words.seek(0)
                said = words.read().decode("utf-8", "replace").strip().splitlines()
                reason = said[-1].removeprefix("error: ") if said else f"exit code {failed}"
                print(f"the window could not be kept open: {reason}", file=sys.stderr)

"""``python -m mltetris_cli.guard COMMAND...``: runs a command that ends when our parent does.

Standard input is the parent's end of a pipe, which closes however the parent ends, even where it
was killed. (Linux could signal a child at its parent's death, but only there, and it follows the
thread that started the child.) Output and exit code are the command's. Signals to end are passed
on; a command that does not follow within a while is killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from types import FrameType

# SIGTERM is answered within 5 s; the rest is for slow disks.
STOP_TIMEOUT_S = 15.0


class Guard:
    """The command's process and the one way to end it."""

    def __init__(self, command: Sequence[str]) -> None:
        self._ending = threading.Lock()
        for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGBREAK"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), self._on_signal)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        threading.Thread(target=self._watch_parent, daemon=True).start()

    def wait(self) -> int:
        """Waits for the command; returns its exit code, as a shell counts them."""
        while True:
            # Waiting with a limit lets Windows see signals meanwhile.
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = self._process.wait(timeout=0.5)
                return code if code >= 0 else 128 - code

    def end(self) -> None:
        """Ends the command in order, or by force where it does not follow."""
        if not self._ending.acquire(blocking=False):
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if sys.platform == "win32":
                self._process.send_signal(signal.CTRL_BREAK_EVENT)
            else:
                self._process.terminate()
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while self._process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        if self._process.poll() is None:
            self._process.kill()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        threading.Thread(target=self.end, daemon=True).start()

    def _watch_parent(self) -> None:
        # os.read and not sys.stdin: a daemon thread may not hold the latter's lock at the end.
        with contextlib.suppress(OSError):
            while os.read(0, 1024):
                pass
        self.end()


if __name__ == "__main__":
    sys.exit(Guard(sys.argv[1:]).wait())

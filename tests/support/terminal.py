"""The `mltetris` command on a terminal of 80x24 characters (POSIX only)."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from support.small import PATIENCE_S

_ESCAPE = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|[()][A-Z0-9]|[=>])")


class Terminal:
    """A process whose standard streams are a terminal; what it shows can be read and waited for."""

    def __init__(
        self, arguments: Sequence[str], *, folder: Path, environment: Mapping[str, str]
    ) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))

        def take_terminal() -> None:
            # A session leader's terminal sends it SIGHUP when it closes and SIGINT on Ctrl-C.
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            arguments,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=folder,
            env={k: v for k, v in environment.items() if k not in ("COLUMNS", "NO_COLOR")}
            | {"TERM": "xterm-256color", "COLORTERM": "truecolor"},
            preexec_fn=take_terminal,
        )
        os.close(slave)
        self._raw = bytearray()
        self._open = True
        # A terminal always takes what it is sent: a full buffer would hold the process up.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def raw(self) -> str:
        """Everything shown so far, escape sequences included."""
        return bytes(self._raw).decode("utf-8", "replace")

    @property
    def text(self) -> str:
        """Everything shown so far, without escape sequences."""
        return _ESCAPE.sub("", self.raw)

    def wait_for(self, text: str) -> None:
        """Waits until something was shown."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.text:
            assert time.monotonic() < deadline, f"never saw {text!r} in {self.text[-3000:]}"
            time.sleep(0.02)

    def press(self, keys: str) -> None:
        """Presses keys."""
        os.write(self._master, keys.encode())

    def wait(self) -> int:
        """Waits for the process's end, reading on; returns its exit code."""
        deadline = time.monotonic() + PATIENCE_S
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"still there: {self.text[-3000:]}"
            time.sleep(0.02)
        self._reader.join(timeout=5.0)  # ends when the process has closed its side
        return self.process.returncode

    def hang_up(self) -> None:
        """Closes the terminal, as closing its window does."""
        self._open = False
        self._reader.join()
        os.close(self._master)

    def close(self) -> None:
        """Ends what is left."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self._open:
            self.hang_up()

    def _read(self) -> None:
        while self._open:
            if not select.select([self._master], [], [], 0.05)[0]:
                continue
            try:
                data = os.read(self._master, 65536)
            except OSError:  # nobody has the other end open any more
                return
            if not data:
                return
            self._raw += data


@contextmanager
def terminal(
    module: str, *arguments: str, folder: Path, environment: Mapping[str, str]
) -> Iterator[Terminal]:
    """Runs ``python -m module arguments`` on a terminal."""
    opened = Terminal(
        [sys.executable, "-m", module, *arguments], folder=folder, environment=environment
    )
    try:
        yield opened
    finally:
        opened.close()

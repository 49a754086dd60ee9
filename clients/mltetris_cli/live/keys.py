"""Single keys from the terminal, without waiting and without Enter."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from types import TracebackType
from typing import Self

# What arrow and function keys send, or Escape alone: none of it are keys of ours.
_SEQUENCE = re.compile(r"\x1b(\[[0-9;?]*[ -/]*[@-~]|O.|.)?")


class Keyboard:
    """Reads keys while it is entered; gives none where standard input is no terminal.

    Ctrl-C stays what it is. The terminal is as it was afterwards, whatever happens.
    """

    def __init__(self) -> None:
        self.available = sys.stdin is not None and sys.stdin.isatty() and _in_foreground()
        self._saved: list[int | list[bytes | int]] | None = None

    def __enter__(self) -> Self:
        if self.available and os.name == "posix":
            import termios
            import tty

            descriptor = sys.stdin.fileno()
            self._saved = termios.tcgetattr(descriptor)
            tty.setcbreak(descriptor)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._saved is not None:
            import termios

            # A terminal that was closed under us has nothing to be put right.
            with contextlib.suppress(termios.error, OSError):
                termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, self._saved)

    def pressed(self) -> list[str]:
        """The keys pressed since the last call. Arrow and function keys are left out."""
        if not self.available:
            return []
        return _windows_keys() if sys.platform == "win32" else self._posix_keys()

    def _posix_keys(self) -> list[str]:
        import select

        descriptor = sys.stdin.fileno()
        data = b""
        while select.select([descriptor], [], [], 0)[0]:
            part = os.read(descriptor, 256)
            if not part:  # the terminal is gone
                self.available = False
                break
            data += part
        return list(_SEQUENCE.sub("", data.decode("utf-8", "ignore")))


def _in_foreground() -> bool:
    """Whether the terminal's keys are for us; asking for them in the background stops a process."""
    return os.name != "posix" or os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()


def _windows_keys() -> list[str]:
    if sys.platform != "win32":
        raise AssertionError("only called on Windows")
    import msvcrt

    keys: list[str] = []
    while msvcrt.kbhit():
        key = msvcrt.getwch()
        if key in ("\x00", "\xe0"):
            msvcrt.getwch()  # the second half of an arrow or function key
        elif key == "\x03":
            raise KeyboardInterrupt
        else:
            keys.append(key)
    return keys

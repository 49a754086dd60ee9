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

if sys.platform == "win32":
    import msvcrt

    class _Source:
        """The keys of a Windows console; it needs no preparation."""

        usable = True

        def open(self) -> None:
            """Nothing to do."""

        def close(self) -> None:
            """Nothing to do."""

        def read(self) -> str:
            """What was typed since the last call."""
            keys = ""
            while msvcrt.kbhit():
                key = msvcrt.getwch()
                if key in ("\x00", "\xe0"):
                    msvcrt.getwch()  # the second half of an arrow or function key
                else:
                    keys += key
            return keys

else:
    import select
    import termios
    import tty

    class _Source:
        """The keys of a POSIX terminal, which must be told not to wait for Enter."""

        def __init__(self) -> None:
            self._descriptor = sys.stdin.fileno()
            self._saved: list[int | list[bytes | int]] | None = None
            # Asking for keys in the background would stop the process.
            self.usable = os.tcgetpgrp(self._descriptor) == os.getpgrp()

        def open(self) -> None:
            """From now on single keys; Ctrl-C stays what it is."""
            self._saved = termios.tcgetattr(self._descriptor)
            tty.setcbreak(self._descriptor)

        def close(self) -> None:
            """As it was before."""
            if self._saved is not None:
                # A terminal that was closed under us has nothing to be put right.
                with contextlib.suppress(termios.error, OSError):
                    termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._saved)

        def read(self) -> str:
            """What was typed since the last call."""
            data = b""
            while select.select([self._descriptor], [], [], 0)[0]:
                part = os.read(self._descriptor, 256)
                if not part:  # the terminal is gone
                    self.usable = False
                    break
                data += part
            return data.decode("utf-8", "ignore")


class Keyboard:
    """Reads keys while it is entered; gives none where standard input is no terminal of ours."""

    def __init__(self) -> None:
        self._source = _Source() if sys.stdin is not None and sys.stdin.isatty() else None

    @property
    def available(self) -> bool:
        """Whether keys can be pressed at all."""
        return self._source is not None and self._source.usable

    def __enter__(self) -> Self:
        if self._source is not None and self._source.usable:
            self._source.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._source is not None:
            self._source.close()

    def pressed(self) -> list[str]:
        """The keys pressed since the last call. Arrow and function keys are left out."""
        if self._source is None or not self._source.usable:
            return []
        return list(_SEQUENCE.sub("", self._source.read()))

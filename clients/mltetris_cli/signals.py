"""SIGTERM and the terminal's end as an exception, so that what was opened is closed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from mltetris_cli.exits import Terminated


@contextmanager
def terminating() -> Iterator[None]:
    """Inside, SIGTERM, SIGHUP and Windows' Ctrl-Break raise `Terminated`, once."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        for other in before:
            signal.signal(other, signal.SIG_IGN)  # what follows is the way out: let it finish
        raise Terminated(number)

    numbers = [
        getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)
    ]
    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        signal.signal(number, on_signal)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""Shows a run until it ends or somebody leaves, where there is no terminal to draw on."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from enum import Enum
from types import FrameType, TracebackType
from typing import Any, Self

from mltetris_client import Trainer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from mltetris_cli.live.follower import Follower
from mltetris_cli.live.lines import progress_text
from mltetris_cli.live.steering import Steering

_LINE_PERIOD_S = 3.0
_REWRITE_PERIOD_S = 0.2


class Ending(Enum):
    """Why the showing ended."""

    FINISHED = "the run is final"
    LEFT = "q was pressed"
    INTERRUPTED = "Ctrl-C was pressed"


class Interrupts:
    """Counts Ctrl-C while it is entered, in place of KeyboardInterrupt.

    Past ``allowed`` of them, KeyboardInterrupt is raised as usual.
    """

    def __init__(self, allowed: int) -> None:
        self.count = 0
        self._allowed = allowed
        self._before: Any = None

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGINT, self._on_signal)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        if self.count > self._allowed:
            raise KeyboardInterrupt


def on_terminal(console: Console) -> bool:
    """Whether a live view can be shown: stdout is a terminal that can move its cursor."""
    return console.is_terminal and not console.is_dumb_terminal


def show_lines(
    trainer: Trainer,
    follower: Follower,
    write: Callable[[], None],
    *,
    stop_on_leaving: bool,
    period: float = _LINE_PERIOD_S,
    check: Callable[[], None] = lambda: None,
) -> Ending:
    """Calls ``write`` every ``period`` seconds, when the state changes, and once at the end.

    Ctrl-C, ``check`` and what is raised are as in `LiveShow`.
    """
    ending = Ending.FINISHED
    steering = Steering(trainer, follower, _say)
    with Interrupts(1 if stop_on_leaving else 0) as interrupts:
        try:
            state, due = -1, 0.0
            while not follower.wait(0.1):
                check()
                now = time.monotonic()
                if now >= due or follower.run.state != state:
                    state, due = follower.run.state, now + period
                    write()
                if interrupts.count and not steering.stopping.is_set():
                    ending = Ending.INTERRUPTED
                    _say("stopping, the model is kept ...")
                    steering.stop()
            follower.raise_error()
            write()
        except KeyboardInterrupt:
            if stop_on_leaving:
                raise
            return Ending.INTERRUPTED
        finally:
            steering.close()
    return ending


def show_progress(trainer: Trainer, follower: Follower) -> Ending:
    """Shows on stderr how far a run is, on a terminal always in the same line.

    Ctrl-C and what is raised are as in `show_lines` without ``stop_on_leaving``.
    """
    console = Console(stderr=True, highlight=False)
    if not on_terminal(console):
        return show_lines(trainer, follower, write_text(follower), stop_on_leaving=False)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        ending = show_lines(
            trainer,
            follower,
            lambda: live.update(Text(progress_text(follower)), refresh=True),
            stop_on_leaving=False,
            period=_REWRITE_PERIOD_S,
        )
    _say(progress_text(follower))
    return ending


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def write_text(follower: Follower) -> Callable[[], None]:
    """A ``write`` for `show_lines`: a line on stderr."""

    said = ""

    def write() -> None:
        nonlocal said
        text = progress_text(follower)
        if text != said:
            said = text
            _say(text)

    return write

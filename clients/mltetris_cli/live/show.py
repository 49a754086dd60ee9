"""Shows a run until it ends or somebody leaves: on a terminal, in lines, or as JSON."""

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

from mltetris_cli.live.follower import Follower
from mltetris_cli.live.keys import Keyboard
from mltetris_cli.live.lines import progress_text
from mltetris_cli.live.steering import KEYS, Steering
from mltetris_cli.live.view import LiveView

FRAMES_PER_SECOND = 12.0
_LINE_PERIOD_S = 3.0
_MESSAGE_S = 4.0


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


def show_live(
    trainer: Trainer,
    follower: Follower,
    console: Console,
    *,
    stop_on_leaving: bool,
    check: Callable[[], None] = lambda: None,
) -> Ending:
    """Shows the live view until the run is final.

    With ``stop_on_leaving`` q and the first Ctrl-C stop the run and the view stays until it is
    final, and a second Ctrl-C raises KeyboardInterrupt; else they leave the view at once.
    ``check`` is called a few times a second and may raise.

    Raises:
        KeyboardInterrupt: see above.
        MlTetrisError: the run cannot be followed.
    """
    with Keyboard() as keyboard, Interrupts(1 if stop_on_leaving else 0) as interrupts:
        keys = KEYS.format(quit="stop" if stop_on_leaving else "leave")
        if not keyboard.available:
            keys = "Ctrl-C stops" if stop_on_leaving else "Ctrl-C leaves"
        view = LiveView(follower, keys, place=trainer.address)
        message_until = 0.0

        def say(text: str) -> None:
            nonlocal message_until
            view.message, message_until = text, time.monotonic() + _MESSAGE_S

        steering = Steering(trainer, follower, say)
        ending = Ending.FINISHED
        try:
            with Live(view, console=console, screen=True, auto_refresh=False) as live:
                while not follower.finished:
                    check()
                    for key in keyboard.pressed():
                        if key.lower() != "q":
                            steering.key(key)
                        elif not stop_on_leaving:
                            return Ending.LEFT
                        elif ending is Ending.FINISHED:
                            ending = Ending.LEFT
                    if interrupts.count and ending is not Ending.INTERRUPTED:
                        ending = Ending.INTERRUPTED
                    if ending is not Ending.FINISHED and not steering.stopping.is_set():
                        say("stopping, the model is kept ... (Ctrl-C again: at once)")
                        steering.stop()
                    if view.message and time.monotonic() > message_until:
                        view.message = ""
                    live.refresh()
                    time.sleep(1 / FRAMES_PER_SECOND)
                live.refresh()
        except KeyboardInterrupt:
            if stop_on_leaving:
                raise
            return Ending.INTERRUPTED
        finally:
            steering.close()
        follower.raise_error()
        return ending


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

    Ctrl-C, ``check`` and what is raised are as in `show_live`.
    """
    ending = Ending.FINISHED
    steering = Steering(trainer, follower, lambda text: None)
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
                    print("stopping, the model is kept ...", file=sys.stderr, flush=True)
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


def write_text(follower: Follower) -> Callable[[], None]:
    """A ``write`` for `show_lines`: a line on stderr."""

    said = ""

    def write() -> None:
        nonlocal said
        text = progress_text(follower)
        if text != said:
            said = text
            print(text, file=sys.stderr, flush=True)

    return write

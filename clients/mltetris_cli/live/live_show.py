"""Shows a run on a terminal, and does what keys say."""

from __future__ import annotations

import time
from collections.abc import Callable

from mltetris_client import Trainer
from rich.console import Console
from rich.live import Live

from mltetris_cli.live import words
from mltetris_cli.live.follower import Follower
from mltetris_cli.live.keys import Keyboard
from mltetris_cli.live.ramp import Ramp
from mltetris_cli.live.show import Ending, Interrupts
from mltetris_cli.live.steering import DEMO_KEYS, KEYS, UNPACED_KEYS, Steering
from mltetris_cli.live.view import LiveView

FRAMES_PER_SECOND = 12.0
_MESSAGE_S = 4.0
# Keys that set the rate of the training: with one of them the slow start is over.
_RATE_KEYS = frozenset("f<>,.")


class LiveShow:
    """The live view of one run, until the run is final or somebody leaves.

    With ``stop_on_leaving`` q and the first Ctrl-C stop the run and the view stays until it is
    final, and a second Ctrl-C raises KeyboardInterrupt; else they leave the view at once.
    ``slow_start`` lets a training begin slowly, see `Ramp`. ``learnt`` is the training whose model
    plays, and ``caption`` is shown in place of the keys. After ``limit_s`` seconds without a key
    the view ends by itself. ``check`` is called a few times a second and may raise.
    """

    def __init__(
        self,
        trainer: Trainer,
        follower: Follower,
        *,
        stop_on_leaving: bool,
        slow_start: bool = False,
        learnt: Follower | None = None,
        caption: str = "",
        limit_s: float | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._follower = follower
        self._stop_on_leaving = stop_on_leaving
        self._check = check
        self._deadline = None if limit_s is None else time.monotonic() + limit_s
        self._message_until = 0.0
        self._keyboard = Keyboard()
        self._view = LiveView(follower, self._keys(), place=trainer.address, learnt=learnt)
        self._caption = caption
        self._steering = Steering(trainer, follower, self._say)
        self._ramp = Ramp(self._steering, follower) if slow_start else None
        self._left: Ending | None = None

    def run(self, console: Console) -> Ending:
        """Shows it.

        Raises:
            KeyboardInterrupt: see above.
            MlTetrisError: the run cannot be followed.
        """
        try:
            with (
                self._keyboard,
                Interrupts(1 if self._stop_on_leaving else 0) as interrupts,
                Live(self._view, console=console, screen=True, auto_refresh=False) as live,
            ):
                while not self._follower.finished:
                    self._check()
                    if interrupts.count:
                        self._left = Ending.INTERRUPTED
                    for key in self._keyboard.pressed():
                        self._press(key)
                    if self._is_over():
                        break
                    self._direct()
                    live.refresh()
                    time.sleep(1 / FRAMES_PER_SECOND)
                live.refresh()
        except KeyboardInterrupt:
            if self._stop_on_leaving:
                raise
            return Ending.INTERRUPTED
        finally:
            self._steering.close()
        self._follower.raise_error()
        return self._left or Ending.FINISHED

    def _press(self, key: str) -> None:
        self._deadline = None  # somebody is there
        if key.lower() == "q":
            self._left = self._left or Ending.LEFT
            return
        if self._ramp is not None and key.lower() in _RATE_KEYS:
            self._ramp.end()
        self._steering.key(key)

    def _is_over(self) -> bool:
        """Whether the view ends now; stops the run where that comes first."""
        if self._deadline is not None and time.monotonic() > self._deadline:
            return True
        if self._left is None:
            return False
        if self._stop_on_leaving and not self._steering.stopping.is_set():
            self._say("stopping, the model is kept ... (Ctrl-C again: at once)")
            self._steering.stop()
        return not self._stop_on_leaving

    def _direct(self) -> None:
        """Takes old messages away and leads through the slow start."""
        now = time.monotonic()
        if self._view.message and now > self._message_until:
            self._view.message = ""
        if self._ramp is not None:
            self._ramp.step(now)
        standing = self._ramp.words if self._ramp is not None else self._caption
        if standing and not self._view.message:
            self._view.message, self._message_until = standing, now

    def _say(self, text: str) -> None:
        self._view.message, self._message_until = text, time.monotonic() + _MESSAGE_S

    def _keys(self) -> str:
        if self._keyboard.available:
            run = self._follower.run
            keys = DEMO_KEYS if run.HasField("demo") else KEYS
            if not words.is_paced(run):
                keys = UNPACED_KEYS
            return keys.format(quit="stop" if self._stop_on_leaving else "leave")
        return "Ctrl-C stops" if self._stop_on_leaving else "Ctrl-C leaves"

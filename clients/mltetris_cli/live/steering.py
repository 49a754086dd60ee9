"""What keys do to the run that is watched, on a thread of its own so that the view goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from mltetris_api.v1 import run_pb2
from mltetris_client import (
    AlreadyExists,
    MlTetrisError,
    NotFound,
    Run,
    Trainer,
    WrongState,
    is_final,
)

from mltetris_cli.live import figures, words
from mltetris_cli.live.follower import Follower

SPEEDS = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 250.0, 500.0, 1000.0)
# Placements a second a training may learn from; 0: as many as it can.
TRAINING_RATES = (200.0, 500.0, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 0.0)
KEYS = "space pause · +/- game · </> training · m mode · v view · s save · q {quit}"
UNPACED_KEYS = "space pause · q {quit}"
DEMO_KEYS = "space pause · +/- speed · m mode · q {quit}"
_MOST_SAVES = 1_000


def next_speed(now: float, *, faster: bool) -> float:
    """The neighbouring step of `SPEEDS`."""
    if faster:
        return next((speed for speed in SPEEDS if speed > now * 1.001), SPEEDS[-1])
    return next((speed for speed in reversed(SPEEDS) if speed < now * 0.999), SPEEDS[0])


def next_rate(now: float, *, faster: bool) -> float:
    """The neighbouring step of `TRAINING_RATES`, whose last one is full speed."""
    rates = TRAINING_RATES[:-1]
    if faster:
        return next((rate for rate in rates if now and rate > now * 1.001), 0.0)
    return next((rate for rate in reversed(rates) if not now or rate < now * 0.999), rates[0])


class Steering:
    """Does what keys ask for, one thing after the other; ``say`` is told how it went."""

    def __init__(self, trainer: Trainer, follower: Follower, say: Callable[[str], None]) -> None:
        self._trainer = trainer
        self._follower = follower
        self._say = say
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="steering")
        self.stopping = threading.Event()

    def close(self) -> None:
        """Drops what has not begun."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def key(self, key: str) -> None:
        """Does what a key stands for; others do nothing."""
        actions: dict[str, Callable[[], str]] = {
            " ": self._pause_or_resume,
            "+": lambda: self._change_speed(faster=True),
            "=": lambda: self._change_speed(faster=True),
            "-": lambda: self._change_speed(faster=False),
            ">": lambda: self._change_rate(faster=True),
            "<": lambda: self._change_rate(faster=False),
            ".": lambda: self._change_rate(faster=True),
            ",": lambda: self._change_rate(faster=False),
            "f": lambda: self._set_rate(0.0),
            "m": self._change_mode,
            "v": self._change_view,
            "s": self._save,
        }
        action = actions.get(key.lower())
        if action is None or (key != " " and not words.is_paced(self._follower.run)):
            return
        if is_final(self._follower.run) and key.lower() != "s":
            self._say("the run has ended")
            return
        self._submit(action)

    def set_training_rate(self, rate: float) -> None:
        """Lets the training learn from at most ``rate`` placements a second; 0: full speed."""
        self._submit(lambda: self._set_rate(rate))

    def stop(self) -> None:
        """Stops the run, keeping its model. Only the first call does it."""
        if not self.stopping.is_set():
            self.stopping.set()
            self._submit(self._stop)

    def _submit(self, action: Callable[[], str]) -> None:
        self._executor.submit(self._perform, action)

    def _perform(self, action: Callable[[], str]) -> None:
        try:
            said = action()
        except MlTetrisError as error:
            said = error.message
        if said:
            self._say(said)

    def _took(self, run: Run) -> Run:
        self._follower.adopt(run)
        return run

    def _pause_or_resume(self) -> str:
        run = self._follower.run
        if run.state == run_pb2.RUN_STATE_PAUSED:
            self._took(self._trainer.resume_run(run.id))
            return "goes on"
        self._took(self._trainer.pause_run(run.id))
        return "paused: space goes on"

    def _change_speed(self, *, faster: bool) -> str:
        run = self._follower.run
        speed = next_speed(run.control.placements_per_second, faster=faster)
        run = self._took(self._trainer.set_speed(run.id, speed))
        if run.control.mode == run_pb2.RUN_MODE_HEADLESS:
            run = self._took(self._trainer.set_mode(run.id, mode="visual"))
        return f"watched at {figures.short(run.control.placements_per_second)} placements/s"

    def _change_rate(self, *, faster: bool) -> str:
        return self._set_rate(
            next_rate(self._follower.run.control.max_training_rate, faster=faster)
        )

    def _set_rate(self, rate: float) -> str:
        run = self._trainer.set_speed(self._follower.run.id, max_training_rate=rate)
        return words.rate_word(self._took(run).control)

    def _change_mode(self) -> str:
        run = self._follower.run
        visual = run.control.mode != run_pb2.RUN_MODE_HEADLESS
        run = self._trainer.set_mode(run.id, mode="headless" if visual else "visual")
        return words.view_word(self._took(run).control)

    def _change_view(self) -> str:
        run = self._follower.run
        training = run.control.view == run_pb2.RUN_VIEW_TRAINING
        run = self._trainer.set_mode(run.id, view="showcase" if training else "training")
        return words.view_word(self._took(run).control)

    def _save(self) -> str:
        run = self._follower.run
        name = save_under_free_name(self._trainer, run, f"save-{run.id.rpartition('-')[2]}")
        return f"saved as slot {name}"

    def _stop(self) -> str:
        self._took(self._trainer.stop_run(self._follower.run.id))
        return "stopped"


def save_under_free_name(trainer: Trainer, run: Run, name: str) -> str:
    """Saves a run's best checkpoint (else its newest) under ``name``, or ``name-2``, ...

    Raises:
        NotFound: the run has no checkpoint.
        MlTetrisError: the call failed.
    """
    for number in range(1, _MOST_SAVES):
        candidate = name if number == 1 else f"{name}-{number}"
        try:
            return _save_some_checkpoint(trainer, run, candidate)
        except AlreadyExists:
            continue
    raise AlreadyExists(f"all of {name} to {name}-{_MOST_SAVES - 1} exist")


def _save_some_checkpoint(trainer: Trainer, run: Run, name: str) -> str:
    missing: MlTetrisError | None = None
    for kind in ("best", "final", "latest"):
        try:
            return trainer.save_slot(name, run=run.id, checkpoint=kind).name
        except (NotFound, WrongState) as error:
            missing = error
    raise NotFound(
        f"run {run.id} has no checkpoint yet", hint="Let it train a little longer."
    ) from missing

"""What a run was told, and how it stands now: pause, pace, mode, watchers, the end."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Protocol

from mltetris_api.v1.run_pb2 import (
    BenchmarkSpec,
    DemoSpec,
    RunControl,
    RunMode,
    RunView,
    SimulationSpec,
    TrainingSpec,
)
from mltetris_api.worker.v1.worker_pb2 import (
    AttachRequest,
    AttachResponse,
    StateReport,
    Update,
    Watch,
    Welcome,
    WorkerState,
)

from mltetris_server.worker.clocks import RunClock
from mltetris_server.worker.mailbox import Mailbox

_log = logging.getLogger(__name__)


class Reporter(Protocol):
    """The part of the link that steering speaks through."""

    state: WorkerState.ValueType

    def send(self, event: AttachRequest) -> None:
        """Says something that must not be lost."""


class Steering:
    """Takes the server's messages on the run's thread and keeps what follows from them.

    `check` is cheap enough to be called between any two batches: with nothing
    to take it reads one attribute. A command is answered once it holds.

    Args:
        mailbox: where the messages come from.
        link: where the answers go.
        welcome: what the server said first.
        clock: stopped while the run is held.
        update: does an `Update`; returns what changed, for people.
        save: stores the `latest` checkpoint and calls its argument once that is done.
    """

    def __init__(
        self,
        mailbox: Mailbox,
        link: Reporter,
        welcome: Welcome,
        clock: RunClock,
        *,
        update: Callable[[Update], list[str]] | None = None,
        save: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        self._mailbox = mailbox
        self._link = link
        self._clock = clock
        self._update = update
        self._save = save
        self._control = RunControl()
        self._control.CopyFrom(welcome.control)
        self._watch = Watch()
        self._watch.CopyFrom(welcome.watch)
        self.paused = welcome.paused
        """Whether the run is held."""
        self.stopping = False
        """Whether the run was told to end."""
        self.frame_owed = self.max_fps > 0
        """Whether somebody who has begun to watch, or a new view, waits for a frame."""
        self.changes: list[str] = []
        """What was steered and is not reported in a metric point yet."""

    @property
    def left(self) -> bool:
        """Whether the server is gone."""
        return self._mailbox.left

    @property
    def pending(self) -> bool:
        """Whether `check` would find anything."""
        return self._mailbox.pending

    @property
    def ending(self) -> bool:
        """Whether the run is to end now, for either reason."""
        return self.stopping or self._mailbox.left

    @property
    def visual(self) -> bool:
        """Whether the watched game is paced for the eye."""
        return self._control.mode != RunMode.RUN_MODE_HEADLESS

    @property
    def shows_training(self) -> bool:
        """Whether the watched game is the training itself."""
        return self._control.view == RunView.RUN_VIEW_TRAINING

    @property
    def placements_per_second(self) -> float:
        """The pace of the watched game in VISUAL mode."""
        return self._control.placements_per_second

    @property
    def max_training_rate(self) -> float:
        """Placements a second a training learns from at most; 0: no limit."""
        return self._control.max_training_rate

    @property
    def max_fps(self) -> float:
        """Frames a second wanted at most; 0: nobody is watching."""
        return self._watch.max_fps

    @property
    def include_values(self) -> bool:
        """Whether somebody wants the value of every placement."""
        return self._watch.include_values

    @property
    def learning_rate(self) -> float | None:
        """What was set in place of the schedule's learning rate; None: nothing."""
        control = self._control
        return control.learning_rate if control.HasField("learning_rate") else None

    @property
    def exploration(self) -> float | None:
        """What was set in place of the schedule's exploration; None: nothing."""
        control = self._control
        return control.exploration if control.HasField("exploration") else None

    def begin(
        self,
        *,
        training: TrainingSpec | None = None,
        demo: DemoSpec | None = None,
        benchmark: BenchmarkSpec | None = None,
        simulation: SimulationSpec | None = None,
        first_placements: int = 0,
    ) -> None:
        """Makes the first report: the run has begun, with this spec, every default filled in.

        Args:
            first_placements: those of the model it began with.
        """
        self._enter(self.paused)
        self._report(
            0,
            StateReport(
                training=training,
                demo=demo,
                benchmark=benchmark,
                simulation=simulation,
                first_placements=first_placements,
            ),
        )

    def check(self) -> None:
        """Does what was asked since the last time."""
        if not self._mailbox.pending:
            return
        for message in self._mailbox.take():
            self._do(message)

    def wait(self, until: float | None = None) -> None:
        """Waits for a message, or until this time on the monotonic clock, and does what it asks."""
        self._mailbox.wait(until)
        self.check()

    def _do(self, message: AttachResponse) -> None:
        match message.WhichOneof("message"):
            case "watch":
                self._watch_now(message.watch)
                return
            case "welcome":
                self._adopt(message.welcome)
                return
            case "pause":
                self._hold(True)
            case "resume":
                self._hold(False)
            case "stop":
                # Answered by the checkpoint and by Finished.
                self.stopping = True
                return
            case "control":
                self._steer(message.control)
            case "update" if self._update is not None:
                self.changes += self._update(message.update)
            case "save_latest" if self._save is not None:
                command = message.command
                self._save(lambda: self._report(command))
                return
            case other:
                # Answered all the same: a caller waits for it.
                _log.warning("this kind of run does not know what to do with %r", other)
        self._report(message.command)

    def _adopt(self, welcome: Welcome) -> None:
        """Takes the server's view after a break: what it says now holds."""
        _log.info("taking the server's view after the break")
        self._steer(welcome.control)
        self._watch_now(welcome.watch)
        if welcome.paused != self.paused:
            self._hold(welcome.paused)
            self._report(0)

    def _watch_now(self, watch: Watch) -> None:
        self._watch.CopyFrom(watch)
        self.frame_owed = self.max_fps > 0

    def _hold(self, paused: bool) -> None:
        if paused == self.paused:
            return
        self.changes.append("paused" if paused else "resumed")
        self._enter(paused)

    def _enter(self, paused: bool) -> None:
        self.paused = paused
        if paused:
            self._clock.stop()
            self._link.state = WorkerState.WORKER_STATE_PAUSED
        else:
            self._clock.start()
            self._link.state = WorkerState.WORKER_STATE_RUNNING

    def _steer(self, control: RunControl) -> None:
        before = self._control
        if control.mode != before.mode:
            self.changes.append(
                f"mode {_short(RunMode.Name(before.mode))} -> {_short(RunMode.Name(control.mode))}"
            )
        if control.view != before.view:
            self.changes.append(
                f"view {_short(RunView.Name(before.view))} -> {_short(RunView.Name(control.view))}"
            )
            self.frame_owed = self.max_fps > 0
        pace = control.placements_per_second
        if not math.isclose(pace, before.placements_per_second):
            self.changes.append(
                f"placements_per_second {before.placements_per_second:g} -> {pace:g}"
            )
        rate, limit = before.max_training_rate, control.max_training_rate
        if not math.isclose(rate, limit):
            self.changes.append(f"max_training_rate {_rate(rate)} -> {_rate(limit)}")
        self._control.CopyFrom(control)

    def _report(self, command: int, report: StateReport | None = None) -> None:
        report = report or StateReport()
        report.command = command
        report.state = (
            WorkerState.WORKER_STATE_PAUSED if self.paused else WorkerState.WORKER_STATE_RUNNING
        )
        self._link.send(AttachRequest(state=report))


def _rate(per_second: float) -> str:
    """A limit as people read it."""
    return f"{per_second:g}" if per_second else "full speed"


def _short(name: str) -> str:
    """`RUN_MODE_VISUAL` as people write it: `visual`."""
    return name.split("_", 2)[2].lower()

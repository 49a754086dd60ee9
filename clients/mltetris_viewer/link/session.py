"""The connection to one server: all runs, the watched run, and commands."""

from __future__ import annotations

import queue
import threading

from mltetris_api.v1 import run_pb2, trainer_pb2
from mltetris_client import Closed, MlTetrisError, RunEvents, Trainer

from mltetris_viewer.link.mailbox import Mailbox
from mltetris_viewer.link.watching import Watch
from mltetris_viewer.model import commands, events

#: Seconds between two tries to reach a server that never answered.
RETRY_SECONDS = 1.0
_JOIN_SECONDS = 2.0


class Session:
    """Talks to the server on threads of its own and leaves what it learns in a mailbox.

    The methods return at once and belong to one thread, the window's.
    """

    def __init__(self, trainer: Trainer, mailbox: Mailbox) -> None:
        self._trainer = trainer
        self._mailbox = mailbox
        self._closed = threading.Event()
        self._orders: queue.SimpleQueue[tuple[int, commands.Command] | None] = queue.SimpleQueue()
        self._events: RunEvents | None = None
        self._connected = False
        self._watch: Watch | None = None
        self._threads = [
            threading.Thread(target=self._watch_runs, name="viewer-runs", daemon=True),
            threading.Thread(target=self._carry_out, name="viewer-commands", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def followed(self) -> str | None:
        """The run that is watched."""
        return self._watch.run if self._watch is not None else None

    def follow(self, run: str | None) -> None:
        """Watches another run, or none."""
        if self._watch is not None:
            self._watch.stop()
        self._watch = Watch(self._trainer, self._mailbox, run) if run is not None else None

    def send(self, serial: int, command: commands.Command) -> None:
        """Has a command carried out, after those before it; the answer bears its number."""
        self._orders.put((serial, command))

    def poll(self) -> None:
        """Reports what the streams do not say by themselves; to be called a few times a second."""
        stream = self._events
        connected = stream is not None and stream.connected
        if connected != self._connected:
            self._connected = connected
            down = events.LinkDown(f"no mlTetris server answers at {self._trainer.address}")
            self._mailbox.put(events.LinkUp() if connected else down)
        if self._watch is not None:
            self._watch.poll()

    def close(self) -> None:
        """Ends every thread and the connection."""
        self._closed.set()
        self._orders.put(None)
        watch = self._watch
        if watch is not None:
            watch.stop()
            watch.join(_JOIN_SECONDS)
        if self._events is not None:
            self._events.cancel()
        self._trainer.close()
        for thread in self._threads:
            thread.join(_JOIN_SECONDS)

    def _watch_runs(self) -> None:
        while not self._closed.is_set():
            self._events = stream = self._trainer.watch_runs()
            try:
                for response in stream:
                    self._tell(response)
            except Closed:
                return
            except MlTetrisError as error:
                self._mailbox.put(events.LinkDown(error.message))
                self._closed.wait(RETRY_SECONDS)

    def _tell(self, response: trainer_pb2.WatchRunsResponse) -> None:
        match response.WhichOneof("event"):
            case "run":
                self._mailbox.put(events.RunSeen(response.run))
            case "deleted_run":
                self._mailbox.put(events.RunDeleted(response.deleted_run))
            case "notice":
                self._mailbox.put(events.NoticeGiven(response.notice))
            case "caught_up":
                self._mailbox.put(events.RunsCaughtUp())

    def _carry_out(self) -> None:
        while (order := self._orders.get()) is not None:
            serial, command = order
            try:
                run = self._call(command)
            except Closed:
                return
            except MlTetrisError as error:
                self._mailbox.put(events.CommandFailed(serial, error.message))
            else:
                self._mailbox.put(events.CommandDone(serial, run))

    def _call(self, command: commands.Command) -> run_pb2.Run:
        trainer = self._trainer
        match command:
            case commands.Pause(run):
                return trainer.pause_run(run)
            case commands.Resume(run):
                return trainer.resume_run(run)
            case commands.SetSpeed(run, pace):
                return trainer.set_speed(run, pace)
            case commands.SetTrainingRate(run, rate):
                return trainer.set_speed(run, max_training_rate=rate)
            case commands.SetMode(run, mode):
                headless = mode == run_pb2.RUN_MODE_HEADLESS
                return trainer.set_mode(run, mode="headless" if headless else "visual")
            case commands.SetView(run, view):
                training = view == run_pb2.RUN_VIEW_TRAINING
                return trainer.set_mode(run, view="training" if training else "showcase")

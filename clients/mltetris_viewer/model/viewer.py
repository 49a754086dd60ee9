"""All that the window shows, as it is now."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from mltetris_api.v1 import run_pb2
from mltetris_client.names import is_final, is_live

from mltetris_viewer.model import commands, events
from mltetris_viewer.model.boards import Board, fits
from mltetris_viewer.model.curves import Curves
from mltetris_viewer.model.runs import Runs
from mltetris_viewer.model.wishes import Wishes

TOAST_SECONDS = 4.0
#: Toasts shown at once; an older one makes room.
MAX_TOASTS = 3


class Link(enum.Enum):
    """How the connection stands."""

    CONNECTING = "connecting"
    UP = "up"
    DOWN = "down"


class Tone(enum.Enum):
    """How a message is meant."""

    INFO = "info"
    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True)
class Toast:
    """A message that goes away by itself.

    Attributes:
        text: one line.
        tone: how it is meant.
        until: when it goes, by the caller's clock.
    """

    text: str
    tone: Tone
    until: float


class ViewerModel:
    """The state of the viewer. Times are seconds of any steadily growing clock, as `now`.

    Attributes:
        address: the server's address.
        link: how the connection stands.
        link_since: when it got so.
        link_reason: why it is down.
        runs: every run known.
        listed: whether every run there is has been seen.
        may_steer: whether the server takes commands from us.
        requested: the run asked for by name at the start, if any.
        selected: the run that is watched.
        curves: its metrics.
        boards: its boards by their number.
        toasts: passing messages, oldest first.
        wishes: commands on their way.
        version: grows with every change that can be seen.
    """

    def __init__(
        self, address: str, requested: str | None, now: float, *, may_steer: bool = True
    ) -> None:
        self.address = address
        self.may_steer = may_steer
        self.requested = requested
        self.link = Link.CONNECTING
        self.link_since = now
        self.link_reason = ""
        self.runs = Runs()
        self.listed = False
        self.selected: str | None = requested
        self.curves = Curves()
        self.boards: dict[int, Board] = {}
        self.toasts: list[Toast] = []
        self.wishes = Wishes()
        self.version = 0
        self._follows = requested is None

    # What is shown

    @property
    def run(self) -> run_pb2.Run | None:
        """The watched run, once the server has told of it."""
        return self.runs.get(self.selected)

    @property
    def metrics(self) -> run_pb2.MetricPoint:
        """The watched run's newest measurements, from whichever stream told of them last."""
        known = self.run.metrics if self.run is not None else run_pb2.MetricPoint()
        return known if known.sequence > self.curves.last_sequence else self.curves.latest

    def moving(self, now: float) -> bool:
        """Whether anything on a board is in motion."""
        return any(board.moving(now) for board in self.boards.values())

    # What happens

    def apply(self, event: events.Event, now: float) -> None:
        """Takes in what a thread of `link` reports."""
        match event:
            case events.LinkUp():
                self._link(Link.UP, "", now)
            case events.LinkDown(reason):
                self._link(Link.DOWN, reason, now)
                self.runs.connection_lost()
            case events.RunSeen(run):
                self._run_seen(run, now)
            case events.RunDeleted(run_id):
                if self.runs.remove(run_id):
                    self._changed()
                    self._reselect(now)
            case events.RunsCaughtUp():
                self.listed = True
                self._changed()
                self._reselect(now)
            case events.NoticeGiven(notice):
                if notice.run in ("", self.selected):
                    self.toast(notice.text, Tone.INFO, now)
            case events.PointsArrived(run_id, points, caught_up):
                if run_id == self.selected:
                    known = self.curves.caught_up
                    self.curves.caught_up = known or caught_up
                    if self.curves.add(points) or known != self.curves.caught_up:
                        self._changed()
            case events.FramesArrived(run_id, _):
                if run_id == self.selected:
                    self._frames(event, now)
            case events.StreamFailed(run_id, message):
                if run_id == self.selected:
                    self.toast(message, Tone.BAD, now)
            case events.CommandDone(serial, run):
                self.wishes.answered(serial)
                self._run_seen(run, now)
                self._changed()
            case events.CommandFailed(serial, message):
                self.wishes.answered(serial)
                self.toast(message, Tone.BAD, now)

    def command_sent(self, command: commands.Command) -> int:
        """Notes a command as under way; returns its number."""
        self._changed()
        return self.wishes.sent(command)

    def step_run(self, step: int, now: float) -> None:
        """Watches the next (`step` > 0: older) run, and stays with it."""
        run_id = self.runs.neighbour(self.selected, step)
        if run_id is None:
            self.toast("There is no run yet", Tone.INFO, now)
        elif run_id == self.selected:
            self.toast("There is no other run", Tone.INFO, now)
        else:
            self._follows = False
            self._select(run_id)

    def toast(self, text: str, tone: Tone, now: float) -> None:
        """Shows a passing message."""
        kept = [toast for toast in self.toasts if toast.text != text][-(MAX_TOASTS - 1) :]
        self.toasts = [*kept, Toast(text, tone, now + TOAST_SECONDS)]
        self._changed()

    def expire(self, now: float) -> None:
        """Lets go of toasts whose time is over."""
        kept = [toast for toast in self.toasts if toast.until > now]
        if len(kept) != len(self.toasts):
            self.toasts = kept
            self._changed()

    # Inside

    def _changed(self) -> None:
        self.version += 1

    def _link(self, link: Link, reason: str, now: float) -> None:
        if link is not self.link:
            if link is Link.UP and self.link is Link.DOWN:
                self.toast("Connected again", Tone.GOOD, now)
            self.link, self.link_since = link, now
            self._changed()
        self.link_reason = reason

    def _run_seen(self, run: run_pb2.Run, now: float) -> None:
        if not self.runs.put(run):
            return
        self._changed()
        if self.listed:
            self._reselect(now)

    def _frames(self, event: events.FramesArrived, now: float) -> None:
        for frame in event.frames:
            if not fits(frame):
                self.toast("The server sent a board that does not fit its size", Tone.BAD, now)
                continue
            board = self.boards.get(frame.board)
            if board is None:
                self.boards[frame.board] = Board(frame)
                self._changed()
            elif board.update(frame, now):
                self._changed()

    def _reselect(self, now: float) -> None:
        """Finds a run to watch where none is, or where the followed one has ended."""
        run = self.run
        if run is None and self.requested is not None and self.selected == self.requested:
            return  # Asked for by name: say that it is not there, rather than show another.
        newest = self.runs.newest()
        if run is None:
            self._follows = True
            self._select(newest)
        elif self._follows and is_final(run) and newest != self.selected:
            successor = self.runs.get(newest)
            if successor is not None and is_live(successor):
                self.toast(f"Watching the new run {successor.id}", Tone.INFO, now)
                self._select(newest)

    def _select(self, run_id: str | None) -> None:
        if run_id == self.selected:
            return
        self.selected = run_id
        self.curves = Curves()
        self.boards = {}
        self._changed()

"""What the threads of `link` tell the model. One event is one fact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mltetris_api.v1 import board_pb2, run_pb2


@dataclass(frozen=True)
class LinkUp:
    """The server answers."""


@dataclass(frozen=True)
class LinkDown:
    """The server does not answer.

    Attributes:
        reason: one line for people.
    """

    reason: str


@dataclass(frozen=True)
class RunSeen:
    """A run as it is now."""

    run: run_pb2.Run


@dataclass(frozen=True)
class RunDeleted:
    """A run that is no longer on the server."""

    run: str


@dataclass(frozen=True)
class RunsCaughtUp:
    """Every run there was at the first connection has been seen."""


@dataclass(frozen=True)
class NoticeGiven:
    """Something the server wants watchers to know."""

    notice: run_pb2.Notice


@dataclass(frozen=True)
class PointsArrived:
    """Metric points of a run, in order.

    Attributes:
        run: the run's id.
        points: sequence ascending; a point that was seen before may come again.
        caught_up: whether the history is complete and what follows is live.
    """

    run: str
    points: Sequence[run_pb2.MetricPoint]
    caught_up: bool


@dataclass(frozen=True)
class FramesArrived:
    """The newest frame of every board of a run."""

    run: str
    frames: Sequence[board_pb2.BoardFrame]


@dataclass(frozen=True)
class StreamFailed:
    """A stream of a run broke off for another reason than a lost connection; it is tried again.

    Attributes:
        run: the run's id.
        message: one line for people.
    """

    run: str
    message: str


@dataclass(frozen=True)
class CommandDone:
    """A command was carried out.

    Attributes:
        serial: the command's number, as given by `ViewerModel.command_sent`.
        run: the run as it is after it.
    """

    serial: int
    run: run_pb2.Run


@dataclass(frozen=True)
class CommandFailed:
    """A command was refused or could not be delivered.

    Attributes:
        serial: the command's number.
        message: one line for people.
    """

    serial: int
    message: str


Event = (
    LinkUp
    | LinkDown
    | RunSeen
    | RunDeleted
    | RunsCaughtUp
    | NoticeGiven
    | PointsArrived
    | FramesArrived
    | StreamFailed
    | CommandDone
    | CommandFailed
)

"""The run's metric points: when there is one, and what every one of them carries."""

from __future__ import annotations

import time
from typing import Protocol

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from mltetris_api.v1.run_pb2 import MetricPoint
from mltetris_api.worker.v1.worker_pb2 import AttachRequest

from mltetris_server.worker.clocks import RunClock

BEGINNING = 0.05
"""Seconds from the beginning to the first point: whoever waits for it sees that it goes."""
FIRST_PERIOD = 0.2
"""Seconds between two points at first, when much happens."""
LAST_PERIOD = 1.0
"""Seconds between two points of a run that is no longer young."""
_YOUTH = 60.0
"""Seconds after which the period has grown to its last value."""


class Sender(Protocol):
    """The part of the link that metrics go through."""

    def send(self, event: AttachRequest) -> None:
        """Says something that must not be lost."""


class MetricLog:
    """Numbers the points, times them, and knows when the next one is due.

    Args:
        sequence: number of the last point of a worker before this one.
    """

    def __init__(self, link: Sender, clock: RunClock, sequence: int = 0) -> None:
        self._link = link
        self._clock = clock
        self._sequence = sequence
        self._last_elapsed = clock.elapsed
        self._last_placements: int | None = None
        self._written = False

    @property
    def period(self) -> float:
        """Seconds from the last point to the next, at this age of the run."""
        if not self._written:
            return BEGINNING
        return min(LAST_PERIOD, max(FIRST_PERIOD, self._clock.elapsed / _YOUTH))

    @property
    def remaining(self) -> float:
        """Seconds of running until the next point is due; negative when it is late."""
        return self._last_elapsed + self.period - self._clock.elapsed

    @property
    def due(self) -> bool:
        """Whether it is time for a point."""
        return self.remaining <= 0

    def begin(self, placements: int) -> None:
        """Counts placements a second from here."""
        self._last_placements = placements

    def write(self, point: MetricPoint, changes: list[str]) -> None:
        """Sends a point; `changes` are taken out of their list."""
        elapsed = self._clock.elapsed
        passed = elapsed - self._last_elapsed
        if self._last_placements is not None and passed > 0:
            point.placements_per_second = (point.placements - self._last_placements) / passed
        self._last_elapsed, self._last_placements = elapsed, point.placements
        self._sequence += 1
        self._written = True
        point.sequence = self._sequence
        point.time.CopyFrom(timestamp())
        point.elapsed.CopyFrom(duration(elapsed))
        point.changes.extend(changes)
        changes.clear()
        self._link.send(AttachRequest(metrics=point))


def timestamp() -> Timestamp:
    """Now."""
    now = Timestamp()
    now.FromNanoseconds(time.time_ns())
    return now


def duration(seconds: float) -> Duration:
    """Seconds as the contract has them, to the microsecond."""
    span = Duration()
    span.FromMicroseconds(round(seconds * 1e6))
    return span

"""Time as a run sees it: time spent running, and the pace of a watched game."""

from __future__ import annotations

import time
from collections.abc import Callable


class RunClock:
    """Time spent RUNNING, pauses left out. Starts stopped.

    Args:
        now: the monotonic clock, in seconds.
        before: seconds that were spent already.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic, *, before: float = 0.0) -> None:
        self._now = now
        self._before = before
        self._since: float | None = None

    def start(self) -> None:
        """Goes on counting."""
        if self._since is None:
            self._since = self._now()

    def stop(self) -> None:
        """Counts no further."""
        self._before = self.elapsed
        self._since = None

    @property
    def elapsed(self) -> float:
        """Seconds spent running so far."""
        running = 0.0 if self._since is None else self._now() - self._since
        return self._before + running


class Pace:
    """When something that happens so many times a second is due again.

    The next time counts from the last one, so a change of pace takes effect at
    once, and what was late is not made up for.
    """

    _MADE_UP_FOR = 0.05

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._last: float | None = None

    def due(self, per_second: float) -> float:
        """The next time on the monotonic clock; in the past when it is due already."""
        if self._last is None:
            return self._now()
        return self._last + 1.0 / per_second

    def beats(self, per_second: float, most: int = 1) -> int:
        """How often it should happen now; it counts as having happened.

        Args:
            per_second: the pace.
            most: beats made up for at most, and never more than those of the last 50 ms: a pace
                faster than the machine wakes up is kept, but nobody sees a jump after a pause.
        """
        if self._last is None:
            self._last = self._now()
            return 1
        now = self._now()
        # The rounding of a time must not cost a beat that was waited for.
        count = int((now - self._last) * per_second + 1e-6)
        most = min(most, max(1, int(per_second * self._MADE_UP_FOR)))
        if count > most:
            self._last = now
            return most
        self._last += count / per_second
        return count

    def happened(self, per_second: float) -> None:
        """It has happened."""
        now = self._now()
        due = self.due(per_second)
        # On the beat where the beat was kept, so that being late by a little does not add up.
        self._last = due if now - due < 1.0 / per_second else now


class RateLimit:
    """When work that is counted may go on, so that it stays below a rate.

    A new rate counts from the moment it is first asked about; time that was not used (a pause,
    work slower than allowed) is not made up for.

    Args:
        now: the monotonic clock, in seconds.
    """

    _CREDIT = 0.1
    """Seconds of unused time that may be made up for: batches do not come like a clock."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._rate = 0.0
        self._since = 0.0
        self._count = 0

    def due(self, count: int, per_second: float) -> float:
        """The time on the monotonic clock at which work counted up to `count` may go on.

        Args:
            count: what has been done; grows.
            per_second: the rate; 0: no limit.
        """
        now = self._now()
        if per_second <= 0:
            self._rate = 0.0
            return now
        if per_second != self._rate:
            self._rate, self._since, self._count = per_second, now, count
        due = self._since + (count - self._count) / per_second
        if due < now - self._CREDIT:
            self._since, self._count = now - self._CREDIT, count
            due = self._since
        return due

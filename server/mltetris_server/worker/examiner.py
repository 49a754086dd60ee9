"""When the policy is examined, in slices between two batches of training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from mltetris_server.worker.clocks import RunClock

SLICE_SECONDS = 0.008
"""How long a slice should take: short enough that nobody waits for its end."""
_FIRST_SLICE = 500
"""Placements of the very first slice, before the pace is known."""
_SHARE = 2.0
"""Training time between two evaluations, in units of what the last one cost: a third of all."""


class Examination(Protocol):
    """Greedy games that can be played a few placements at a time."""

    def advance(self, max_placements: int) -> bool:
        """Plays on for at most so many placements; whether all games are done now."""


E = TypeVar("E", bound=Examination)


class Examiner(Generic[E]):
    """Runs one examination after the other beside the training.

    While one is going on, it takes at most as much time as the training; then the
    training has at least twice what it cost, and at least the period, to itself
    before the next begins. So examining takes at most a third of the time.

    Args:
        begin: makes an examination of the policy as it is now.
        clock: the run's time.
        period: seconds of training between the beginnings of two examinations.
        first: seconds of training before the first.
    """

    def __init__(
        self, begin: Callable[[], E], clock: RunClock, period: float, first: float
    ) -> None:
        self._begin = begin
        self._clock = clock
        self._period = period
        self._spent = 0.0
        self._current: E | None = None
        self._cost = 0.0
        self._began = 0.0
        self._next = first
        self._slice = _FIRST_SLICE

    @property
    def period(self) -> float:
        """Seconds of training between the beginnings of two examinations."""
        return self._period

    def set_period(self, period: float) -> None:
        """Another period, from the last beginning on."""
        self._next += period - self._period
        self._period = period

    @property
    def training_seconds(self) -> float:
        """Time spent running, less what was spent here."""
        return self._clock.elapsed - self._spent

    @property
    def busy(self) -> bool:
        """Whether an examination is going on."""
        return self._current is not None

    @property
    def due(self) -> bool:
        """Whether the next examination should begin."""
        return self._current is None and self.training_seconds >= self._next

    def start(self) -> None:
        """Begins an examination, in place of any that is going on."""
        before = self._clock.elapsed
        self._began = self.training_seconds
        self._current = self._begin()
        self._cost = 0.0
        self._count(before)

    def step(self, *, patient: bool = True) -> E | None:
        """Plays a slice, where one is due; returns the examination when that was its last.

        Args:
            patient: whether the training comes first; without, only the examination goes on.
        """
        if self._current is None:
            return None
        if patient and self._cost > self.training_seconds - self._began:
            return None
        before = self._clock.elapsed
        done = self._current.advance(self._slice)
        took = self._count(before)
        if not done:
            # Not by the last one: it ends before its placements are made. Half way towards what
            # would have fitted, so that one odd slice decides little.
            fitting = self._slice * SLICE_SECONDS / max(took, 1e-6)
            self._slice = max(50, min(1_000_000, round((self._slice + fitting) / 2)))
            return None
        finished, self._current = self._current, None
        self._next = self._began + max(self._period, _SHARE * self._cost)
        return finished

    def _count(self, before: float) -> float:
        took = self._clock.elapsed - before
        self._spent += took
        self._cost += took
        return took

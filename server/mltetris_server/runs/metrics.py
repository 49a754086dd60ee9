"""Fan-out of a run's metric points: a cursor per reader, so that nothing is missed or repeated."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Final

from mltetris_api.v1 import run_pb2, trainer_pb2

PAGE: Final = 500
"""Most points in one message."""

_KEPT: Final = 1000
"""Points kept in memory; a reader further behind reads from the history."""

ReadHistory = Callable[[int, int], Awaitable[Sequence[run_pb2.MetricPoint]]]
"""Points after a sequence, at most so many, from the history."""


class Metrics:
    """The newest points of a live run. Points are published once they are stored.

    Args:
        last: sequence of the newest point that is stored, 0: none.
    """

    def __init__(self, last: int = 0) -> None:
        self.last = last
        self._tail: deque[run_pb2.MetricPoint] = deque(maxlen=_KEPT)
        self._ended = False
        self._news = asyncio.Event()

    def publish(self, points: Sequence[run_pb2.MetricPoint]) -> None:
        """Makes stored points known, in order."""
        for point in points:
            self._tail.append(point)
            self.last = point.sequence
        self._wake()

    def end(self) -> None:
        """Says that nothing will follow."""
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    def _after(self, sequence: int) -> list[run_pb2.MetricPoint] | None:
        """Points beyond `sequence`, or None where some of them are only in the history."""
        if sequence >= self.last:
            return []
        if not self._tail or self._tail[0].sequence > sequence + 1:
            return None
        skip = sequence + 1 - self._tail[0].sequence
        return [self._tail[i] for i in range(skip, min(len(self._tail), skip + PAGE))]

    async def follow(
        self, after: int, read_history: ReadHistory
    ) -> AsyncGenerator[trainer_pb2.StreamMetricsResponse, None]:
        """Yields every point beyond `after`, then those to come, until the run ends."""
        caught_up = False
        while True:
            news = self._news
            points: Sequence[run_pb2.MetricPoint] | None = self._after(after)
            if points is None:
                points = await read_history(after, PAGE)
            if points:
                after = points[-1].sequence
            at_head = after >= self.last
            if points or (at_head and not caught_up):
                caught_up = caught_up or at_head
                yield trainer_pb2.StreamMetricsResponse(points=points, caught_up=caught_up)
            elif at_head:
                if self._ended:
                    return
                await news.wait()
            else:
                raise RuntimeError(f"the history lacks points between {after} and {self.last}")


async def replay(
    after: int, read_history: ReadHistory
) -> AsyncGenerator[trainer_pb2.StreamMetricsResponse, None]:
    """Yields every point of a final run beyond `after`."""
    while True:
        points = await read_history(after, PAGE)
        caught_up = len(points) < PAGE
        yield trainer_pb2.StreamMetricsResponse(points=points, caught_up=caught_up)
        if caught_up:
            return
        after = points[-1].sequence

"""Fan-out of a run's boards: each watcher gets the newest frame at its own pace."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from mltetris_api.v1 import board_pb2
from mltetris_api.worker.v1 import worker_pb2

from mltetris_server.runs.frames import Snapshot

DEFAULT_FPS: Final = 30.0
"""Messages a second of a watcher that does not say."""

_LINGER_S: Final = 0.5
"""How long frames are still asked for after a watcher left: a viewer that reconnects is not kept
waiting, and one who flips through runs does not flood the worker."""


@dataclass(eq=False)
class _Watcher:
    max_fps: float
    include_values: bool
    news: asyncio.Event = field(default_factory=asyncio.Event)


class Boards:
    """The newest boards of one run, and who watches them.

    There is one snapshot, not a queue: a slow watcher misses frames and costs nobody anything.
    `on_demand` is called, soon after it changed, with what the worker should send from now on.
    """

    def __init__(self, on_demand: Callable[[worker_pb2.Watch], None]) -> None:
        self._on_demand = on_demand
        self._watchers: set[_Watcher] = set()
        self._newest: Snapshot | None = None
        self._count = 0
        self._ended = asyncio.Event()
        self._told = worker_pb2.Watch()
        self._telling: asyncio.TimerHandle | None = None

    def publish(self, frames: Sequence[board_pb2.BoardFrame]) -> None:
        """Makes `frames`, one a board, the newest there is. Of no frames: nothing."""
        if not frames:
            return
        made = 1
        if self._newest is not None:
            # The worker numbers all frames it makes, of every board; where the line was busy it
            # has replaced some by newer ones itself.
            made = (frames[0].sequence - self._newest.frames[0].sequence) // len(frames)
        self._count += max(1, made)
        self._newest = Snapshot(self._count, frames)
        for watcher in self._watchers:
            watcher.news.set()

    def end(self) -> None:
        """Lets every watcher have the last frame and then end."""
        self._ended.set()
        if self._telling is not None:
            self._telling.cancel()
        for watcher in self._watchers:
            watcher.news.set()

    def demand(self) -> worker_pb2.Watch:
        """Returns what the worker should send: the most that any watcher wants."""
        return worker_pb2.Watch(
            max_fps=max((watcher.max_fps for watcher in self._watchers), default=0.0),
            include_values=any(watcher.include_values for watcher in self._watchers),
        )

    async def watch(self, *, max_fps: float, include_values: bool) -> AsyncGenerator[bytes, None]:
        """Yields serialized StreamBoardResponses until the run ends.

        The newest snapshot comes at once, later ones at most `max_fps` times a second.
        """
        loop = asyncio.get_running_loop()
        watcher = _Watcher(max_fps, include_values)
        self._watchers.add(watcher)
        self._demand_changed()
        try:
            sent = 0
            due = loop.time()
            while True:
                if self._newest is None or self._newest.number == sent:
                    if self._ended.is_set():
                        return
                    watcher.news.clear()
                    await watcher.news.wait()
                    continue
                await self._ended_within(due - loop.time())
                snapshot = self._newest
                skipped = snapshot.number - sent - 1 if sent else 0
                sent = snapshot.number
                # Counted from when it was due, so that jitter does not lower the rate; but never
                # from the past, so that a stall is not caught up on.
                due = max(due + 1 / max_fps, loop.time())
                yield snapshot.response(include_values=include_values, skipped=skipped)
        finally:
            self._watchers.discard(watcher)
            self._demand_changed()

    async def _ended_within(self, seconds: float) -> None:
        """Waits `seconds`, or less where the run ends."""
        if seconds > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._ended.wait()

    def _demand_changed(self) -> None:
        """Tells the worker: more at once, less after a moment. Changes in between are one."""
        if self._ended.is_set():
            return
        wanted = self.demand()
        more = wanted.max_fps > self._told.max_fps or (
            wanted.include_values and not self._told.include_values
        )
        if self._telling is not None:
            if not more:
                return
            self._telling.cancel()
        delay = 0.0 if more else _LINGER_S
        self._telling = asyncio.get_running_loop().call_later(delay, self._tell)

    def _tell(self) -> None:
        self._telling = None
        wanted = self.demand()
        if wanted != self._told:
            self._told = wanted
            self._on_demand(wanted)

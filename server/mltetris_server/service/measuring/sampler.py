"""One measurement for all who want one."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Final

from mltetris_api.v1.system_pb2 import SystemMetrics

from mltetris_server.runs.threads import Thread
from mltetris_server.service.measuring.machine import Known, Machine

FRESH_S: Final = 0.05
"""How old a measurement may be to be one of now; less than the shortest period."""


class Sampler:
    """Measures when somebody asks, at most 20 times a second, off the event loop.

    Args:
        machine: does it.
        processes: says which processes the server has, in the event loop.
    """

    def __init__(self, machine: Machine, processes: Callable[[], Sequence[Known]]) -> None:
        self._machine = machine
        self._processes = processes
        self._thread = Thread("measuring")
        self._newest: SystemMetrics | None = None
        self._measured = -math.inf
        self._measuring: asyncio.Task[SystemMetrics] | None = None

    async def now(self) -> SystemMetrics:
        """How everything is; not to be changed, for it is everybody's."""
        if self._newest is not None and time.monotonic() - self._measured < FRESH_S:
            return self._newest
        if self._measuring is None:
            self._measuring = asyncio.ensure_future(self._measure())
        return await asyncio.shield(self._measuring)

    async def follow(self, period_s: float) -> AsyncGenerator[SystemMetrics, None]:
        """Yields how everything is now, and then every `period_s` seconds.

        All who follow with one period are due at the same moments: one measurement does for all.
        """
        told: SystemMetrics | None = None
        while True:
            metrics = await self.now()
            if metrics is not told:
                told = metrics
                yield metrics
            beat = time.monotonic()
            await asyncio.sleep((math.floor(beat / period_s) + 1) * period_s - beat)

    def close(self) -> None:
        """Ends its thread."""
        self._thread.close()

    async def _measure(self) -> SystemMetrics:
        try:
            metrics = await self._thread(self._machine.measure, self._processes())
            self._newest, self._measured = metrics, time.monotonic()
            return metrics
        finally:
            self._measuring = None

"""Keeps the history within its limits, beside everything else."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from mltetris_server.errors import DomainError
from mltetris_server.runs.tasks import Tasks
from mltetris_server.runs.threads import Thread
from mltetris_server.storage.retention import Retention

_log = structlog.get_logger(__name__)

_PERIOD_S: Final = 5.0
"""Between two looks, where there was nothing to do."""
_BREATH_S: Final = 0.01
"""Between two steps, for others to store what they have."""


class Keeper:
    """Does what `retention` plans, a small step at a time on the thread that writes.

    Args:
        disk: the thread that writes the history.
        look: the threads that read it.
        period_s: seconds between two looks.
    """

    def __init__(
        self, retention: Retention, disk: Thread, look: Thread, *, period_s: float = _PERIOD_S
    ) -> None:
        self._retention = retention
        self._disk = disk
        self._look = look
        self._period_s = period_s
        self._tasks = Tasks()
        self._ending = asyncio.Event()

    def begin(self) -> None:
        """Looks from now on, until `end`."""
        self._tasks.spawn(self._keep())

    def end(self) -> None:
        """Begins nothing any more."""
        self._ending.set()

    async def _keep(self) -> None:
        while not self._ending.is_set():
            wait = self._period_s
            try:
                if await self._work():
                    wait = _BREATH_S
            except DomainError as error:
                # A full disk, for example: it is looked at again.
                _log.warning("the history could not be thinned", error=str(error))
            try:
                async with asyncio.timeout(wait):
                    await self._ending.wait()
            except TimeoutError:
                continue

    async def _work(self) -> bool:
        """Does what is planned for one run; returns whether there was anything."""
        steps = await self._look(self._retention.plan)
        for step in steps:
            if self._ending.is_set():
                break
            await self._disk(self._retention.do, step)
            await asyncio.sleep(_BREATH_S)
        return bool(steps)

"""What a server does when its disk is full: it pauses what fills it, and goes on when it may."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

import structlog

from mltetris_server.runs.tasks import Tasks
from mltetris_server.storage.space import Reserve

_log = structlog.get_logger(__name__)

LOOK_S: Final = 1.0
"""Seconds between two looks for space."""

FULL: Final = (
    "The server's disk is full: all runs are paused, and go on by themselves when there is space."
)
SPACE_AGAIN: Final = "There is space on the server's disk again: the runs go on."


class SpaceGuard:
    """Gives up the reserve, pauses the runs, waits for space, and lets them go on.

    Args:
        reserve: what is given up.
        pause: pauses whatever is running.
        resume: lets go on what `pause` paused.
        tell: tells watchers.
    """

    def __init__(
        self,
        reserve: Reserve,
        *,
        pause: Callable[[], Coroutine[Any, Any, None]],
        resume: Callable[[], Coroutine[Any, Any, None]],
        tell: Callable[[str], None],
    ) -> None:
        self._reserve = reserve
        self._pause = pause
        self._resume = resume
        self._tell = tell
        self._tasks = Tasks()
        self._looking: asyncio.Task[None] | None = None
        self._full = False

    @property
    def full(self) -> bool:
        """Whether the disk is full, as far as is known."""
        return self._full

    async def begin(self) -> None:
        """Takes the reserve; where there is no room for it, as soon as there is.

        What a server before had paused goes on then.
        """
        if await asyncio.to_thread(self._reserve.hold):
            await self._resume()
            return
        _log.warning("there is little space left on the disk")
        self._look()

    def notice_full(self) -> None:
        """Is told that a write found no room."""
        self._reserve.give_up()
        if not self._full:
            self._full = True
            _log.error("the disk is full")
            self._tell(FULL)
        # Also when it is known: somebody may have let a run go on.
        self._tasks.spawn(self._pause())
        self._look()

    def end(self) -> None:
        """Looks for space no more."""
        if self._looking is not None:
            self._looking.cancel()

    def _look(self) -> None:
        if self._looking is None or self._looking.done():
            self._looking = self._tasks.spawn(self._until_space())

    async def _until_space(self) -> None:
        # Nobody tells when somebody else has made room.
        while not await asyncio.to_thread(self._reserve.hold):  # noqa: ASYNC110
            await asyncio.sleep(LOOK_S)
        _log.info("there is space on the disk")
        if self._full:
            self._full = False
            self._tell(SPACE_AGAIN)
        await self._resume()

"""How long a worker may say nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Silence:
    """Calls back once nothing has been heard for a while; one limit at a time."""

    def __init__(self) -> None:
        self._heard = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def heard(self) -> None:
        """Notes that something was said just now. Cheap: the timer looks when it is due."""
        self._heard = asyncio.get_running_loop().time()

    def limit(self, seconds: float, then: Callable[[], object]) -> None:
        """Calls `then` after `seconds` of silence from now, in place of any limit before."""
        self.end()
        self.heard()
        self._wait(seconds, seconds, then)

    def end(self) -> None:
        """Lifts the limit."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self, delay: float, seconds: float, then: Callable[[], object]) -> None:
        loop = asyncio.get_running_loop()

        def look() -> None:
            left = self._heard + seconds - loop.time()
            if left > 0:
                self._wait(left, seconds, then)
            else:
                then()

        self._timer = loop.call_later(delay, look)

"""Runs that wait for a place, first come, first served."""

from __future__ import annotations

from mltetris_server.runs import states
from mltetris_server.runs.run import LiveRun


class RunQueue:
    """QUEUED runs, in the order they came."""

    def __init__(self) -> None:
        self._waiting: list[LiveRun] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, live: LiveRun) -> None:
        """Puts `live` at the end."""
        self._waiting.append(live)

    def first(self) -> LiveRun | None:
        """Returns the one whose turn is next, if there is one."""
        return self._waiting[0] if self._waiting else None

    def remove(self, live: LiveRun) -> None:
        """Takes `live` out, if it waits."""
        if live in self._waiting:
            self._waiting.remove(live)

    async def renumber(self) -> None:
        """Lets every waiting run know its place, from 1."""
        for place, live in enumerate(list(self._waiting), start=1):
            async with live.lock:
                if live.state == states.QUEUED and live.run.queue_position != place:
                    changed = live.snapshot()
                    changed.queue_position = place
                    await live.store(changed)

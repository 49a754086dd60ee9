"""Fan-out of what happens to runs: every change, episode and notice, lossless or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from google.protobuf.message import Message
from mltetris_api.v1 import run_pb2, trainer_pb2

from mltetris_server.errors import TooSlow

_BACKLOG: Final = 2000
"""Events a watcher may be behind before it is told to start over."""

ListRuns = Callable[[], Awaitable[Sequence[run_pb2.Run]]]


@dataclass(frozen=True)
class _Event:
    run: str
    revision: int
    """Of the run, where the event is a run; else 0."""
    encoded: bytes


@dataclass(eq=False)
class _Watcher:
    run: str
    queue: asyncio.Queue[_Event] = field(default_factory=lambda: asyncio.Queue(_BACKLOG))
    overrun: bool = False


class RunEvents:
    """Who watches runs, and what they are told. Events are encoded once for all."""

    def __init__(self) -> None:
        self._watchers: set[_Watcher] = set()

    def run_changed(self, run: run_pb2.Run) -> None:
        """Tells watchers what `run` is now."""
        self._publish(run.id, trainer_pb2.WatchRunsResponse(run=run), run.revision)

    def episode(self, episode: run_pb2.Episode) -> None:
        """Tells watchers of a finished game."""
        self._publish(episode.run, trainer_pb2.WatchRunsResponse(episode=episode))

    def notice(self, run: str, text: str) -> None:
        """Tells watchers something about `run` (empty: about the server)."""
        notice = run_pb2.Notice(run=run, text=text)
        notice.time.GetCurrentTime()
        self._publish(run, trainer_pb2.WatchRunsResponse(notice=notice))

    def run_deleted(self, run: str) -> None:
        """Tells watchers that there is no such run any more."""
        self._publish(run, trainer_pb2.WatchRunsResponse(deleted_run=run))

    def _publish(self, run: str, event: Message, revision: int = 0) -> None:
        interested = [w for w in self._watchers if not w.run or not run or w.run == run]
        if not interested:
            return
        published = _Event(run, revision, event.SerializeToString())
        for watcher in interested:
            if watcher.overrun:
                continue
            try:
                watcher.queue.put_nowait(published)
            except asyncio.QueueFull:
                watcher.overrun = True

    async def watch(self, run: str, list_runs: ListRuns) -> AsyncGenerator[bytes, None]:
        """Yields serialized WatchRunsResponses: the runs there are, then what happens.

        Args:
            run: only this run; empty: all.
            list_runs: reads the runs there are; called once, after which nothing is missed.

        Raises:
            TooSlow: the reader fell too far behind.
        """
        watcher = _Watcher(run)
        self._watchers.add(watcher)
        try:
            known: dict[str, int] = {}
            for present in await list_runs():
                known[present.id] = present.revision
                yield trainer_pb2.WatchRunsResponse(run=present).SerializeToString()
            yield trainer_pb2.WatchRunsResponse(caught_up=True).SerializeToString()
            while True:
                if watcher.overrun and watcher.queue.empty():
                    raise TooSlow(
                        f"more than {_BACKLOG} events behind: watch again, every run is sent anew"
                    )
                event = await watcher.queue.get()
                # What happened while the list was read may be in the list already.
                if event.revision and event.revision <= known.get(event.run, 0):
                    continue
                yield event.encoded
        finally:
            self._watchers.discard(watcher)

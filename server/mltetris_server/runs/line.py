"""A run's conversation with its worker, over as many connections as it takes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog
from mltetris_api.worker.v1 import worker_pb2

from mltetris_server.errors import DomainError, InvalidArgument, WrongState
from mltetris_server.runs import reports
from mltetris_server.runs.attachment import Attachment
from mltetris_server.runs.commands import Command, Commands, Effect
from mltetris_server.runs.tasks import Tasks

_log = structlog.get_logger(__name__)

_MOST_UNSTORED: Final = 1000
"""Events that may wait for the disk before the worker's stream is no longer read."""

Take = Callable[[Sequence[worker_pb2.AttachRequest]], Awaitable[int]]
"""Stores events, in order, and returns the number of the last one stored."""


class Line:
    """What is said in both directions: commands until they are answered, events until they are
    stored.

    Args:
        lock: the run's: events are taken under it.
        last_event: number of the last event stored.
        take: stores events; called with the lock held.
        tasks: where storing goes on.
    """

    def __init__(self, *, lock: asyncio.Lock, last_event: int, take: Take, tasks: Tasks) -> None:
        self.commands = Commands()
        self.last_event = last_event
        self._lock = lock
        self._take = take
        self._tasks = tasks
        self._attachment: Attachment | None = None
        self._events: list[worker_pb2.AttachRequest] = []
        self._flushing: asyncio.Task[None] | None = None

    @property
    def attached(self) -> bool:
        """Whether the worker is connected now."""
        return self._attachment is not None

    def restart(self) -> None:
        """Begins anew, for another worker: what the last one had not said is lost with it."""
        self.hang_up()
        self._events = []
        self.last_event = 0

    def connect(self, welcome: worker_pb2.Welcome) -> Attachment:
        """Takes a new connection, in place of any before; what was not answered is said again."""
        if self._attachment is not None:
            self._attachment.end()
        welcome.acknowledged = self.last_event
        self._attachment = Attachment()
        self._attachment.send(worker_pb2.AttachResponse(welcome=welcome))
        for message in self.commands.unanswered():
            self._attachment.send(message)
        return self._attachment

    def disconnect(self, attachment: Attachment) -> None:
        """Notes that `attachment` is broken or done with. The worker may come back."""
        attachment.closed.set()
        if attachment is self._attachment:
            self._attachment = None

    def is_current(self, attachment: Attachment) -> bool:
        """Whether what comes on `attachment` still counts.

        Not where it was replaced, or given up because an event could not be stored: what comes
        after that one must not be stored before it, and comes again on the next connection.
        """
        return attachment is self._attachment

    def tell(self, message: worker_pb2.AttachResponse) -> None:
        """Says something that only matters now: lost where nobody is connected."""
        if self._attachment is not None:
            self._attachment.send(message)

    def command(self, message: worker_pb2.AttachResponse, effect: Effect | None = None) -> Command:
        """Says something that is to be answered, now or when the worker is back."""
        command = self.commands.add(message, effect)
        self.tell(message)
        return command

    async def receive(self, event: worker_pb2.AttachRequest) -> None:
        """Takes an event that must not be lost; it is acknowledged once it is stored."""
        self._events.append(event)
        if self._flushing is None or self._flushing.done():
            self._flushing = self._tasks.spawn(self.flush())
        if len(self._events) > _MOST_UNSTORED:
            await asyncio.wait([self._flushing])

    async def flush(self) -> None:
        """Stores what has come in, as much as there is at a time.

        Raises:
            DomainError: the disk refuses; the connection is given up, so that the worker comes
                back and says again what is lost here.
        """
        while self._events:
            async with self._lock:
                events, self._events = reports.split(self._events)
                fresh = [event for event in events if event.sequence > self.last_event]
                if fresh:
                    try:
                        self.last_event = await self._take(fresh)
                    except (InvalidArgument, WrongState) as error:
                        # To say it again would change nothing: the worker is told so.
                        _log.warning("a worker's event was refused", error=str(error))
                        self._events = []
                        self.hang_up(error)
                        return
                    except BaseException:
                        self._events = []
                        self.hang_up()
                        raise
                ack = worker_pb2.Ack(sequence=self.last_event)
                self.tell(worker_pb2.AttachResponse(ack=ack))

    async def read_out(self, seconds: float) -> bool:
        """Waits until everything that was sent on the present connection has come in.

        Returns whether that was so within `seconds`.
        """
        if self._attachment is not None:
            try:
                async with asyncio.timeout(seconds):
                    await self._attachment.closed.wait()
            except TimeoutError:
                return False
        return True

    def hang_up(self, error: DomainError | None = None) -> None:
        """Ends the connection, if there is one; with `error`, where the worker is to know."""
        if self._attachment is not None:
            self._attachment.end(error)
            self._attachment = None

    def fail(self, error: DomainError) -> None:
        """Tells everybody who waits for an answer that none will come."""
        self.commands.fail(error)

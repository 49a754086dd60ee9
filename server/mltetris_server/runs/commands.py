"""Commands on their way to a worker, until it has answered."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from mltetris_api.v1 import run_pb2
from mltetris_api.worker.v1 import worker_pb2

from mltetris_server.errors import DomainError

Effect = Callable[[run_pb2.Run], None]
"""What an answered command changes in the run."""


@dataclass(frozen=True)
class Command:
    """One command; `answer` is the run as the worker's answer left it, once that is stored.

    It fails where there will be no answer.
    """

    message: worker_pb2.AttachResponse
    effect: Effect | None
    answer: asyncio.Future[run_pb2.Run]


class Commands:
    """The commands a worker has not answered yet, in order.

    All of them say how something is to be rather than what to change, so sending one twice (after
    a broken connection) does no harm.
    """

    def __init__(self) -> None:
        # From anywhere: a worker may still answer what a former server process has told it, and
        # that must not pass for the answer to something of this one.
        self._number = secrets.randbits(48)
        self._pending: dict[int, Command] = {}

    def __bool__(self) -> bool:
        return bool(self._pending)

    def add(self, message: worker_pb2.AttachResponse, effect: Effect | None = None) -> Command:
        """Numbers `message` and keeps it until `answered` or `fail`."""
        self._number += 1
        message.command = self._number
        answer = asyncio.get_running_loop().create_future()
        # A caller who hung up does not look at a failure: that is no fault of ours.
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        command = Command(message, effect, answer)
        self._pending[self._number] = command
        return command

    def unanswered(self) -> list[worker_pb2.AttachResponse]:
        """What is to be sent again on a new connection."""
        return [command.message for command in self._pending.values()]

    def get(self, number: int) -> Command | None:
        """The pending command of that number; of an older process or answered already: None."""
        return self._pending.get(number)

    def answered(self, number: int, run: run_pb2.Run) -> None:
        """Lets who waits for the command go on, with the `run` that it has made."""
        command = self._pending.pop(number, None)
        if command is not None and not command.answer.done():
            command.answer.set_result(run)

    def fail(self, error: DomainError) -> None:
        """Tells everybody who waits that no answer will come."""
        pending, self._pending = self._pending, {}
        for command in pending.values():
            if not command.answer.done():
                command.answer.set_exception(error)

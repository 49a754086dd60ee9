"""Keeps the process that suggests placements, and asks it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final

import structlog
from mltetris_api.v1 import policy_pb2

from mltetris_server.errors import Unavailable
from mltetris_server.runs.models import Models
from mltetris_server.runs.policy import positions as boards
from mltetris_server.runs.policy.catalogue import Catalogue, Model
from mltetris_server.runs.policy.process import POLICY_COMMAND, PolicyProcess, ProcessEnded

_log = structlog.get_logger(__name__)

TRIES: Final = 3
"""How often a question is asked whose process ends over it."""
MOST_DEATHS: Final = 3
"""Ends of the process in a row, without an answer between, after which it is left alone a while."""
PATIENCE_S: Final = 20.0
"""How long a call waits for the process to be ready: less than most callers wait for an answer."""
_LEAST_PAUSE_S: Final = 1.0
_MOST_PAUSE_S: Final = 30.0

AT_ONCE: Final = 8
"""Boards of one question: who asks about many does not keep those waiting who ask about one."""


class PolicyKeeper:
    """Answers by the process, which is started when it is first needed, and again when it died."""

    def __init__(self, models: Models, command: Sequence[str] = POLICY_COMMAND) -> None:
        self._catalogue = Catalogue(models)
        self._command = tuple(command)
        self._process: PolicyProcess | None = None
        self._starting: asyncio.Task[PolicyProcess] | None = None
        self._deaths = 0
        self._why = ""
        self._not_before = 0.0
        self._closed = False

    @property
    def pid(self) -> int:
        """The process's id; 0: there is none now."""
        return self._process.pid if self._process is not None and self._lives else 0

    async def suggest(
        self, slot: str, positions: Sequence[policy_pb2.Position], paths: Sequence[str]
    ) -> bytes:
        """Returns an encoded `SuggestPlacementsResponse`, all of it by one model.

        Args:
            slot: who is asked; empty: the active slot.
            positions: the boards.
            paths: where each stands in the request.

        Raises:
            InvalidArgument: a board cannot be, or the model cannot play on it.
            NotFound, WrongState, DataLoss: there is no such model.
            Unavailable: the process cannot be had.
        """
        model = await self._catalogue.find(slot)
        answers = []
        for start in range(0, len(positions), AT_ONCE):
            some = positions[start : start + AT_ONCE]
            for position, path in zip(some, paths[start : start + AT_ONCE], strict=True):
                boards.check(path, position, model)
            answers.append(await self._ask(model, some))
        policy = policy_pb2.SuggestPlacementsResponse(policy=model.info)
        # Encoded messages, one behind the other, are the encoding of all they hold.
        return b"".join((*answers, policy.SerializeToString()))

    async def reload(self) -> policy_pb2.PolicyInfo:
        """Reads the active slot from the disk; returns who it is once it can be asked.

        Raises:
            WrongState, DataLoss: there is none, or it is damaged.
            Unavailable: the process cannot be had.
        """
        model = await self._catalogue.find_anew("")
        for _ in range(TRIES):
            try:
                await (await self._living()).load(model)
                self._deaths = 0
                return model.info
            except ProcessEnded as error:
                self._note_death(error)
        raise self._unavailable()

    async def close(self) -> None:
        """Ends the process. Questions that come now are refused."""
        self._closed = True
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait([self._starting])
        if self._process is not None:
            await self._process.close()

    async def _ask(self, model: Model, positions: Sequence[policy_pb2.Position]) -> bytes:
        for _ in range(TRIES):
            try:
                answer = await (await self._living()).ask(model, positions)
            except ProcessEnded as error:
                self._note_death(error)
                continue
            self._deaths = 0
            return answer
        raise self._unavailable()

    @property
    def _lives(self) -> bool:
        return self._process is not None and not self._process.ended.is_set()

    async def _living(self) -> PolicyProcess:
        """Returns the process, started where there is none.

        Raises:
            ProcessEnded: it did not come up.
            Unavailable: it has died too often to be started now.
        """
        if self._process is not None and self._lives:
            return self._process
        if self._closed:
            raise Unavailable("the server is shutting down: reconnect when it is back")
        if self._starting is None:
            if self._deaths >= MOST_DEATHS and time.monotonic() < self._not_before:
                raise self._unavailable()
            self._starting = asyncio.ensure_future(PolicyProcess.start(self._command))
            self._starting.add_done_callback(self._started)
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await asyncio.shield(self._starting)
        except TimeoutError as error:
            raise Unavailable(
                "the process that suggests placements is not ready yet, for the engine is being "
                "compiled, once and for all: try again in a minute"
            ) from error

    def _started(self, starting: asyncio.Task[PolicyProcess]) -> None:
        self._starting = None
        if starting.cancelled():
            return
        error = starting.exception()
        if error is None:
            self._process = starting.result()
        else:
            self._count_death(str(error))

    def _note_death(self, error: ProcessEnded) -> None:
        """Counts an end once, however many questions it left without an answer."""
        process = self._process
        if process is not None and process.ended.is_set():
            self._process = None
            self._count_death(str(error))

    def _count_death(self, why: str) -> None:
        self._deaths += 1
        self._why = why
        pause = min(_MOST_PAUSE_S, _LEAST_PAUSE_S * 2 ** max(0, self._deaths - MOST_DEATHS))
        self._not_before = time.monotonic() + pause
        _log.warning("the process that suggests placements is gone", why=why, deaths=self._deaths)

    def _unavailable(self) -> Unavailable:
        left = max(1.0, self._not_before - time.monotonic())
        return Unavailable(
            f"the process that suggests placements ended {self._deaths} times in a row, "
            f"the last time because {self._why}: try again in {left:.0f} s"
        )

"""The process that suggests placements, as the server sees it: commands in, answers out.

Many questions may be on their way; they are answered in their order. The process ends when its
standard input does, so none is left behind, however the server ends.
"""

from __future__ import annotations

import asyncio
import os
import signal
import struct
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, cast

import structlog
from mltetris_api.v1.policy_pb2 import Position
from mltetris_api.worker.v1.policy_pb2 import (
    PolicyCommand,
    PolicyEvent,
    PolicyModel,
    PolicyQuestion,
)

from mltetris_server.errors import DataLoss
from mltetris_server.runs.policy.catalogue import Model
from mltetris_server.runs.secret import NOT_FOR_WORKERS

_log = structlog.get_logger(__name__)

POLICY_COMMAND: Final = (sys.executable, "-m", "mltetris_server.worker.policy")
"""The program."""

MOST_MODELS: Final = 8
"""Models that the process keeps; the one not asked for longest goes."""

READY_S: Final = 180.0
"""From its start to its readiness: compiling the engine fits in."""
ANSWER_S: Final = 30.0
"""Without an answer though there is a question: it hangs, and is killed."""
_END_S: Final = 2.0
"""For it to end once its input has; then it is killed."""

_LENGTH: Final = struct.Struct("<I")
_KEPT_WORDS: Final = 4000
_WINDOWS_FLAGS: Final = 0x00000200 | 0x08000000 if os.name == "nt" else 0


class ProcessEnded(Exception):
    """The process is gone; its text says how it ended."""


class PolicyProcess(asyncio.SubprocessProtocol):
    """A running process. Made by `start`, ended by `close`. All methods in the event loop."""

    def __init__(self) -> None:
        self.pid = 0
        self.ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.SubprocessTransport | None = None
        self._input: asyncio.WriteTransport | None = None
        self._waiting: dict[int, asyncio.Future[PolicyEvent]] = {}
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._models: OrderedDict[str, asyncio.Future[PolicyEvent]] = OrderedDict()
        self._numbers = 0
        self._received = bytearray()
        self._words = bytearray()
        self._heard = self._loop.time()
        self._watch: asyncio.TimerHandle | None = None
        self._why = ""

    @classmethod
    async def start(cls, command: Sequence[str] = POLICY_COMMAND) -> PolicyProcess:
        """Starts one and waits until it is ready.

        Raises:
            ProcessEnded: it could not be started, or ended first.
        """
        loop = asyncio.get_running_loop()
        environment = {
            name: value for name, value in os.environ.items() if name not in NOT_FOR_WORKERS
        }
        try:
            _, process = await loop.subprocess_exec(
                cls,
                *command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                # Ctrl-C in the server's terminal is the server's affair.
                start_new_session=os.name == "posix",
                creationflags=_WINDOWS_FLAGS,
            )
        except OSError as error:
            raise ProcessEnded(f"it could not be started: {error}") from error
        try:
            async with asyncio.timeout(READY_S):
                await asyncio.shield(process._ready)
        except TimeoutError as error:
            await process.close()
            raise ProcessEnded(f"it was not ready after {READY_S:g} s") from error
        except BaseException:
            await process.close()
            raise
        _log.info("suggestions can be made", pid=process.pid)
        return process

    async def ask(self, model: Model, positions: Sequence[Position]) -> bytes:
        """Returns what `model` suggests, as `PolicyEvent.suggestions`.

        Raises:
            ProcessEnded: the process ended before it had answered.
            DataLoss: the model is not what it should be.
        """
        # No await between the two: what is written first is done first.
        loaded = self._keep(model)
        question = PolicyQuestion(sha256=model.sha256, positions=positions)
        event = await self._call(PolicyCommand(suggest=question))
        if event.WhichOneof("event") == "damaged":
            await _check(model, loaded)
            raise RuntimeError(f"the model was loaded and is not there: {event.damaged}")
        return event.suggestions

    async def load(self, model: Model) -> None:
        """Returns when `model` can be asked; raises what `ask` does."""
        await _check(model, self._keep(model))

    def kill(self) -> None:
        """Ends it at once."""
        if self._transport is not None and not self.ended.is_set():
            try:
                self._transport.kill()
            except ProcessLookupError:
                return

    async def close(self) -> None:
        """Ends it and waits for its end."""
        if self._input is not None:
            self._input.close()
        try:
            async with asyncio.timeout(_END_S):
                await self.ended.wait()
        except TimeoutError:
            self.kill()
            await self.ended.wait()
        if self._transport is not None:
            self._transport.close()

    def _keep(self, model: Model) -> asyncio.Future[PolicyEvent]:
        """Has the process keep `model`; returns how that went, once it is known."""
        loaded = self._models.get(model.sha256)
        if loaded is None:
            content = PolicyModel(
                sha256=model.sha256, model_json=model.model_json, files=model.files
            )
            loaded = self._call(PolicyCommand(load=content))
            self._models[model.sha256] = loaded
            if len(self._models) > MOST_MODELS:
                forgotten, _ = self._models.popitem(last=False)
                self._call(PolicyCommand(forget=forgotten))
        self._models.move_to_end(model.sha256)
        return loaded

    def _call(self, command: PolicyCommand) -> asyncio.Future[PolicyEvent]:
        answer: asyncio.Future[PolicyEvent] = self._loop.create_future()
        # Not everything that is asked is waited for.
        answer.add_done_callback(_note_unseen_failure)
        if self.ended.is_set() or self._input is None:
            answer.set_exception(ProcessEnded(self._why))
            return answer
        self._numbers += 1
        command.number = self._numbers
        if not self._waiting:
            self._heard = self._loop.time()
            self._watch = self._loop.call_later(ANSWER_S, self._look_after)
        self._waiting[command.number] = answer
        data = command.SerializeToString()
        self._input.write(_LENGTH.pack(len(data)) + data)
        return answer

    def _look_after(self) -> None:
        """Kills a process that owes an answer and has given none for long."""
        if not self._waiting or self.ended.is_set():
            return
        left = self._heard + ANSWER_S - self._loop.time()
        if left <= 0:
            self._why = f"it did not answer for {ANSWER_S:g} s and was killed"
            _log.warning("the process that suggests placements hangs", pid=self.pid)
            self.kill()
            return
        self._watch = self._loop.call_later(left, self._look_after)

    def _take(self, event: PolicyEvent) -> None:
        self._heard = self._loop.time()
        if event.number == 0:
            if not self._ready.done():
                self._ready.set_result(None)
            return
        answer = self._waiting.pop(event.number, None)
        if answer is not None and not answer.done():
            answer.set_result(event)
        if not self._waiting and self._watch is not None:
            self._watch.cancel()
            self._watch = None

    # -- What asyncio tells ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The process has been started."""
        self._transport = cast(asyncio.SubprocessTransport, transport)
        self.pid = self._transport.get_pid() or 0
        self._input = cast(asyncio.WriteTransport, self._transport.get_pipe_transport(0))

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """It says something: an event, or what is for the log."""
        if fd != 1:
            self._words += data
            del self._words[:-_KEPT_WORDS]
            return
        received = self._received
        received += data
        while len(received) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(received)[0]
            if len(received) < end:
                return
            event = PolicyEvent.FromString(bytes(received[_LENGTH.size : end]))
            del received[:end]
            self._take(event)

    def process_exited(self) -> None:
        """It has ended: whoever waits for an answer will get none."""
        assert self._transport is not None
        self._why = self._why or _how(self._transport.get_returncode())
        self.ended.set()
        waiting, self._waiting = self._waiting, {}
        if not self._ready.done():
            self._ready.set_exception(ProcessEnded(self._why))
        for answer in waiting.values():
            if not answer.done():
                answer.set_exception(ProcessEnded(self._why))
        if self._watch is not None:
            self._watch.cancel()
        words = self._words.decode("utf-8", "replace").strip()
        _log.info("the process that suggests placements ended", how=self._why, stderr=words)


async def _check(model: Model, loaded: asyncio.Future[PolicyEvent]) -> None:
    event = await asyncio.shield(loaded)
    if event.WhichOneof("event") == "damaged":
        raise DataLoss(f"slot {model.slot} cannot play: {event.damaged}")


def _note_unseen_failure(answer: asyncio.Future[PolicyEvent]) -> None:
    if not answer.cancelled():
        answer.exception()


def _how(returncode: int | None) -> str:
    if returncode is None or returncode >= 0:
        return f"it ended with exit code {returncode}"
    try:
        return f"it was killed by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"it was killed by signal {-returncode}"

"""Thousands who connect, open something and go away at any moment: nothing of them stays."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast

import grpc
import mltetris_client
import psutil
import pytest
from google.protobuf.message import Message
from mltetris_api.v1 import run_pb2, system_pb2, trainer_pb2
from mltetris_server.runs.places import Places
from mltetris_server.service.handlers import Binder
from mltetris_server.service.trail import Trail
from support.server import ServerProcess
from support.small import TESTS, eventually, in_state, small_service
from support.small_server import small_server
from support.storm import Storm

MOST_GROWTH_BYTES: Final = 10e6
"""What the server may have grown by, after a warm-up: its allocator does not give all back."""


async def until(look: Callable[[], Awaitable[object] | object], what: str) -> None:
    """Waits until there is nothing left to see."""
    deadline = time.monotonic() + 60
    while True:
        left = look()
        if isinstance(left, Awaitable):
            left = await left
        if not left:
            return
        assert time.monotonic() < deadline, f"{what}: {left}"
        await asyncio.sleep(0.05)


def found(kind: type) -> list[Any]:
    """All objects of a kind that there are."""
    return [thing for thing in gc.get_objects() if type(thing) is kind]


class EndedContext:
    """What gRPC gives a handler. Asked anything after the call's end it would end the process."""

    ended = False

    def peer(self) -> str:
        assert not self.ended, "the call was asked for its peer after its end"
        return "ipv4:192.0.2.1:1234"

    def auth_context(self) -> dict[str, list[bytes]]:
        assert not self.ended, "the call was asked for its certificate after its end"
        return {}


class BrokenContext(EndedContext):
    """Of a call whose caller hangs up while something is written."""

    aborted = False

    async def write(self, message: Message) -> None:
        raise grpc.aio.InternalError("Failed")

    async def abort(self, *status: object) -> None:
        self.aborted = True


class SlowServicer:
    """Answers every method once it may."""

    def __init__(self) -> None:
        self.may = asyncio.Event()

    def __getattr__(self, name: str) -> Callable[[Message, object], Awaitable[Message]]:
        async def method(request: Message, context: object) -> Message:
            await self.may.wait()
            return trainer_pb2.PauseRunResponse(run=run_pb2.Run(id="train-abcdef"))

        return method


class StreamingServicer(SlowServicer):
    """Answers every method with as much as anybody takes."""

    def __getattr__(self, name: str) -> Callable[[Message, object], Any]:
        async def method(request: Message, context: object) -> AsyncIterator[Message]:
            while True:
                yield trainer_pb2.StreamMetricsResponse()

        return method


def handler_of(method: str, servicer: object, keep: Callable[[Any], Awaitable[int]]) -> Any:
    """What gRPC would call for a method of the trainer service."""
    service = trainer_pb2.DESCRIPTOR.services_by_name["TrainerService"]
    handlers: dict[str, Any] = {}
    server = SimpleNamespace(add_registered_method_handlers=lambda _, made: handlers.update(made))
    Binder(Trail(keep)).register(cast(grpc.aio.Server, server), service, servicer)
    return handlers[method]


async def test_a_caller_who_hangs_up_during_a_write_is_no_fault_of_ours() -> None:
    async def keep(entry: system_pb2.Activity) -> int:
        raise AssertionError("looking is not written down")

    handler = handler_of("StreamMetrics", StreamingServicer(), keep)
    request = trainer_pb2.StreamMetricsRequest(run="train-abcdef")
    context = BrokenContext()
    with pytest.raises(asyncio.CancelledError):
        await handler.unary_stream(request.SerializeToString(), context)
    assert not context.aborted


async def test_a_caller_who_is_gone_is_asked_nothing_any_more() -> None:
    """What was begun is done all the same, and written down."""
    kept: asyncio.Queue[system_pb2.Activity] = asyncio.Queue()

    async def keep(entry: system_pb2.Activity) -> int:
        kept.put_nowait(entry)
        return 1

    servicer, context = SlowServicer(), EndedContext()
    handler = handler_of("PauseRun", servicer, keep)
    request = trainer_pb2.PauseRunRequest(run="train-abcdef")
    call = asyncio.create_task(handler.unary_unary(request.SerializeToString(), context))
    await asyncio.sleep(0.01)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    context.ended = True
    servicer.may.set()
    async with asyncio.timeout(10):
        entry = await kept.get()
    assert (entry.method, entry.run, entry.peer) == ("PauseRun", "train-abcdef", "192.0.2.1")


# gRPC's own, about requests nobody has come to read.
pytestmark = pytest.mark.filterwarnings("ignore:coroutine '_MessageReceiver:RuntimeWarning")

COUNTS: Final = [
    (100, 500),
    pytest.param(2000, 10_000, marks=[pytest.mark.slow, pytest.mark.timeout(3600)]),
]


@pytest.mark.parametrize(("first", "then"), COUNTS)
async def test_no_task_and_no_subscription_stays(tmp_path: Path, first: int, then: int) -> None:
    """Server and clients are one process here, and all of its tasks are looked at."""
    async with small_server(tmp_path / "data") as small:
        run = await small.running()
        manager = small.server._manager
        live = manager.live(run.id)
        assert live is not None
        storm = Storm(small.server.address, run.id, small.channel, seed=1)

        def taken() -> int:
            """How many places and subscriptions somebody holds, wherever there are any."""
            places = sum(place.taken for place in found(Places))
            calls = sum(len(binder._calls) for binder in found(Binder))
            watchers = manager.events._watchers | live.boards._watchers
            return places + calls + len(watchers)

        async def streams() -> int:
            answer = await small.system.GetServerInfo(system_pb2.GetServerInfoRequest())
            return int(answer.watchers)

        await until(streams, "streams still open")
        await until(lambda: taken() > 1, "still subscribed")
        at_rest = taken()  # the worker's own line
        await storm.blow(first)
        await until(streams, "streams still open")
        await until(lambda: max(0, taken() - at_rest), "still subscribed")
        tasks = len(asyncio.all_tasks())
        await storm.blow(then)
        await until(streams, "streams still open")
        await until(lambda: max(0, taken() - at_rest), "still subscribed")
        await until(lambda: max(0, len(asyncio.all_tasks()) - tasks), "tasks left")
        # And the run has not minded.
        seen = (await small.run(run.id)).metrics.sequence
        await small.until(run.id, lambda now: now.metrics.sequence > seen + 10)
        assert storm.opened == first + then


def storm_from_outside(server: ServerProcess, run: str, seed: int, count: int) -> None:
    """Lets clients come and go that are a process of their own, which dies in the end.

    A channel of gRPC's that is closed while it connects may keep its connection as long as its
    process lives: that is no fault of the server's.
    """
    program = subprocess.Popen(
        [sys.executable, "-m", "support.storm", server.address, run, str(seed), str(count)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=TESTS,
    )
    assert program.stdout is not None
    try:
        assert program.stdout.readline() == f"done {count}\n"
    finally:
        program.kill()
        program.communicate()


@pytest.mark.parametrize(("first", "then"), COUNTS)
def test_no_memory_and_no_file_stays(tmp_path: Path, first: int, then: int) -> None:
    with (
        small_service(tmp_path / "data", "--max-streams", "10000") as server,
        mltetris_client.connect(server.address) as trainer,
    ):
        run = trainer.start_training()
        in_state(trainer, run.id, "running")
        assert server.process is not None
        process = psutil.Process(server.process.pid)

        def at_rest() -> tuple[int, int, int]:
            """Memory in bytes, files and threads, once nobody else is there any more."""
            eventually(lambda: not trainer.get_server_info().watchers, "streams to be closed")
            eventually(lambda: len(process.net_connections()) <= 2, "connections to be closed")
            return process.memory_info().rss, process.num_fds(), process.num_threads()

        storm_from_outside(server, run.id, 1, first)
        memory, files, threads = at_rest()
        storm_from_outside(server, run.id, 2, then)
        memory_after, files_after, threads_after = at_rest()
        grown = memory_after - memory
        print(f"{then} connects and cancels: {grown / 1e6:+.1f} MB, {files_after - files:+} files")
        assert grown < MOST_GROWTH_BYTES, f"{then} connects and cancels cost {grown / 1e6:.1f} MB"
        assert files_after <= files
        assert threads_after <= threads + 2
        assert '"level": "error"' not in server.log()
        assert trainer.stop_run(run.id).state == run_pb2.RUN_STATE_STOPPED

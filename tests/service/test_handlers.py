"""What all calls have in common: faults told by number, callers that hang up, streams that end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio
import structlog
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from mltetris_api.v1 import run_pb2, trainer_pb2, trainer_pb2_grpc
from mltetris_server import errors
from mltetris_server.service.errors import code_of, details_of
from mltetris_server.service.handlers import Binder
from support.server import CHANNEL_OPTIONS

SERVICE = trainer_pb2.DESCRIPTOR.services_by_name["TrainerService"]
SECRET = "/home/alice/password is hunter2"


class Faulty:
    """A servicer whose methods do what a test wants."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self.finished = asyncio.Event()
        self.cleaned_up = asyncio.Event()
        self.lost = False

    def __getattr__(self, name: str) -> Any:
        if name not in SERVICE.methods_by_name:
            raise AttributeError(name)

        async def fail(request: Any, context: Any) -> None:
            raise RuntimeError(SECRET)

        return fail

    async def GetRun(self, request: Any, context: Any) -> trainer_pb2.GetRunResponse:
        self.begun.set()
        await self.go_on.wait()
        self.finished.set()
        return trainer_pb2.GetRunResponse(run=run_pb2.Run(id=request.run))

    async def StopRun(self, request: Any, context: Any) -> None:
        raise errors.InvalidArgument(
            "é" * 2000, fields=[errors.FieldViolation(f"f{i}", "x" * 2000) for i in range(100)]
        )

    async def StreamMetrics(self, request: Any, context: Any) -> AsyncIterator[Any]:
        yield trainer_pb2.StreamMetricsResponse(caught_up=True)
        raise RuntimeError(SECRET)

    async def StreamBoard(self, request: Any, context: Any) -> AsyncIterator[bytes]:
        try:
            if self.lost:
                raise grpc.aio.InternalError("nothing can be sent any more")
            while True:
                yield trainer_pb2.StreamBoardResponse(frames=[{}]).SerializeToString()
                self.begun.set()
                await asyncio.sleep(0.001)
        finally:
            self.cleaned_up.set()

    async def ImportSlot(self, requests: Any, context: Any) -> trainer_pb2.ImportSlotResponse:
        try:
            async for _ in requests:
                self.begun.set()
            self.finished.set()
            return trainer_pb2.ImportSlotResponse()
        finally:
            self.cleaned_up.set()


class Bench:
    """A server with the faulty servicer, and a stub of it."""

    def __init__(self, faulty: Faulty, binder: Binder, channel: grpc.aio.Channel) -> None:
        self.faulty = faulty
        self.binder = binder
        self.stub = trainer_pb2_grpc.TrainerServiceStub(channel)


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    server = grpc.aio.server()
    binder, faulty = Binder(), Faulty()
    binder.register(server, SERVICE, faulty)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=CHANNEL_OPTIONS) as channel:
        yield Bench(faulty, binder, channel)
    await server.stop(0)


async def soon(event: asyncio.Event) -> None:
    async with asyncio.timeout(10):
        await event.wait()


@pytest.mark.parametrize("method", ["PauseRun", "StreamMetrics"])
async def test_a_fault_of_ours_is_told_by_number_only(bench: Bench, method: str) -> None:
    request = getattr(trainer_pb2, f"{method}Request")(run="a")
    with structlog.testing.capture_logs() as logs, pytest.raises(grpc.aio.AioRpcError) as caught:
        call = getattr(bench.stub, method)(request)
        if method == "PauseRun":
            await call
        else:
            async for _ in call:
                pass
    assert caught.value.code() == grpc.StatusCode.INTERNAL
    text = caught.value.details() or ""
    assert "hunter2" not in text and "RuntimeError" not in text
    (entry,) = [entry for entry in logs if entry["event"] == "unexpected error"]
    assert entry["id"] in text
    assert SECRET in str(entry["exc_info"])
    assert entry["method"].endswith(method)


async def test_a_caller_who_hangs_up_does_not_leave_half_a_change(bench: Bench) -> None:
    call = bench.stub.GetRun(trainer_pb2.GetRunRequest(run="a"))
    await soon(bench.faulty.begun)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    bench.faulty.go_on.set()
    await soon(bench.faulty.finished)


async def test_a_watcher_who_hangs_up_is_forgotten(bench: Bench) -> None:
    call = bench.stub.StreamBoard(trainer_pb2.StreamBoardRequest(run="a"))
    await call.read()
    assert bench.binder.open_streams == 1
    call.cancel()
    await soon(bench.faulty.cleaned_up)
    async with asyncio.timeout(10):
        while bench.binder.open_streams:  # noqa: ASYNC110 - the callback comes right after
            await asyncio.sleep(0)


async def test_a_caller_who_cannot_be_reached_is_no_fault_of_ours(bench: Bench) -> None:
    """What gRPC raises where an answer finds nobody is told to who is there after all."""
    bench.faulty.lost = True
    with structlog.testing.capture_logs() as logs:
        call = bench.stub.StreamBoard(trainer_pb2.StreamBoardRequest(run="a"))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    assert not [entry for entry in logs if entry["log_level"] == "error"]


async def test_a_call_that_sends_a_stream_ends_with_its_caller(bench: Bench) -> None:
    call = bench.stub.ImportSlot()
    header = trainer_pb2.ImportHeader(name="a", size_bytes=1, sha256="0" * 64)
    await call.write(trainer_pb2.ImportSlotRequest(header=header))
    await soon(bench.faulty.begun)
    call.cancel()
    await soon(bench.faulty.cleaned_up)


async def test_a_bad_request_in_a_stream_is_named(bench: Bench) -> None:
    call = bench.stub.ImportSlot(iter([trainer_pb2.ImportSlotRequest()]))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "part" in (caught.value.details() or "")


async def test_streams_end_with_the_server_also_those_nobody_reads(bench: Bench) -> None:
    read = bench.stub.StreamBoard(trainer_pb2.StreamBoardRequest(run="a"))
    await read.read()
    stalled = bench.stub.StreamBoard(trainer_pb2.StreamBoardRequest(run="a"))
    await stalled.read()

    async def rest() -> grpc.StatusCode:
        with contextlib.suppress(grpc.aio.AioRpcError):
            while await read.read() is not grpc.aio.EOF:
                pass
        return await read.code()

    reader = asyncio.create_task(rest())
    async with asyncio.timeout(5):
        await bench.binder.close_streams()
        assert await reader == grpc.StatusCode.UNAVAILABLE
    late = bench.stub.StreamBoard(trainer_pb2.StreamBoardRequest(run="a"))
    assert await late.code() == grpc.StatusCode.UNAVAILABLE
    assert "shutting down" in (await late.details() or "")


async def test_an_error_of_any_length_reaches_the_caller(bench: Bench) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await bench.stub.StopRun(trainer_pb2.StopRunRequest(run="a"))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert (caught.value.details() or "").startswith("éé")
    status = rpc_status.from_call(caught.value)
    assert status is not None
    bad = error_details_pb2.BadRequest()
    assert status.details[0].Unpack(bad)
    assert [v.field for v in bad.field_violations][:3] == ["f0", "f1", "f2"]


def test_every_domain_error_has_its_code() -> None:
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, errors.DomainError):
            if kind in (errors.DomainError, errors.DataDirInUse):
                continue
            assert code_of(kind("text")) != grpc.StatusCode.INTERNAL, kind
            assert details_of(kind("text"))

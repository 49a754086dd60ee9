"""Binds a servicer to a gRPC service: decoding, validation, errors and shutdown in one place.

Instead of the generated `add_…_to_server` the handlers are made here from the service's descriptor.
That way a response may be a message or bytes that are one already (a board frame is encoded once
for all its watchers), a request that does not parse is INVALID_ARGUMENT rather than an internal
error, and no servicer method needs a try of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any, Final, TypeAlias

import grpc
import structlog
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from mltetris_server.errors import DomainError, InvalidArgument
from mltetris_server.runs.places import Places
from mltetris_server.service.errors import STATUS_DETAILS_KEY, code_of, details_of, message_of
from mltetris_server.service.options import MAX_STREAMS
from mltetris_server.service.trail import Trail, is_recorded, peer
from mltetris_server.service.validation import validate

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Response: TypeAlias = Message | bytes
_log = structlog.get_logger(__name__)

Note: TypeAlias = Callable[[str, str, str, float | None], None]
"""Told of every call that was answered: service, method, status code, and seconds or, of a stream,
None."""

_LAST_STATUS_S: Final = 0.3
"""For the statuses of ended streams to reach their peers."""

SHUTTING_DOWN: Final = "the server is shutting down: reconnect when it is back"


class Binder:
    """Makes gRPC handlers of servicers, and ends their calls when the server does.

    Args:
        trail: writes down what is done; None: nothing is.
        max_streams: streams that one connection may have open.
        note: told of every call; None: nobody is.
    """

    def __init__(
        self,
        trail: Trail | None = None,
        *,
        max_streams: int = MAX_STREAMS,
        note: Note | None = None,
    ) -> None:
        self._trail = trail
        self.note = note
        self._places = Places(
            max_streams,
            lambda _: (
                f"this connection has {max_streams} streams open, the most this server allows "
                "(--max-streams): close some, or make another connection"
            ),
        )
        self._closing = False
        self._calls: set[asyncio.Task[Any]] = set()
        # From the task that does the work to the one in which gRPC runs the call.
        self._streams: dict[asyncio.Task[Any], asyncio.Task[Any]] = {}

    @property
    def open_streams(self) -> int:
        """Calls now open that send or receive a stream."""
        return len(self._streams)

    def register(
        self,
        server: grpc.aio.Server,
        service: ServiceDescriptor,
        servicer: object,
        *,
        name: str = "",
    ) -> None:
        """Lets `server` serve every method of `service`, each answered by the method of the same
        name of `servicer`, which gets (request or async iterator of requests, context).

        Args:
            name: full name under which it is served; empty: its own.

        Raises:
            AttributeError: `servicer` lacks a method of the contract.
        """
        server.add_registered_method_handlers(
            name or service.full_name,
            {
                method.name: self._handler(method, getattr(servicer, method.name))
                for method in service.methods
            },
        )

    async def close_streams(self) -> None:
        """Ends every open stream with UNAVAILABLE; calls that come later end so at once."""
        self._closing = True
        open_streams = dict(self._streams)
        for work in open_streams:
            work.cancel()
        if open_streams:
            # A peer that does not read would keep its call waiting for ever.
            await asyncio.wait(open_streams.values(), timeout=_LAST_STATUS_S)

    async def finish_calls(self, timeout: float) -> None:
        """Waits for unary calls that are being answered, at most `timeout` seconds."""
        if self._calls:
            await asyncio.wait(list(self._calls), timeout=timeout)

    def _handler(
        self, method: MethodDescriptor, function: Callable[..., Any]
    ) -> grpc.RpcMethodHandler[Any, Any]:
        parse = _parser(method)

        async def unary_unary(raw: bytes, context: Context) -> Response:
            async with _Guard(self, method, context):
                request = parse(raw)
                # A task of its own, so that a caller who hangs up does not leave half a change. It
                # may outlive the call, of which it must ask nothing then.
                work = self._recorded(
                    method, context, lambda: request, lambda: function(request, context)
                )
                call = asyncio.ensure_future(work)
                self._calls.add(call)
                call.add_done_callback(self._calls.discard)
                call.add_done_callback(_note_unseen_failure)
                response: Response = await asyncio.shield(call)
                return response
            raise AssertionError("unreachable: the guard re-raises")

        async def unary_stream(raw: bytes, context: Context) -> None:
            async with _Guard(self, method, context):
                request = parse(raw)
                with self._places.one(str(context.peer())):
                    await self._stream(
                        self._recorded(
                            method,
                            context,
                            lambda: request,
                            lambda: _pump(function(request, context), context),
                        )
                    )

        async def stream_unary(raws: AsyncIterator[bytes], context: Context) -> Response:
            async with _Guard(self, method, context):
                requests = _Requests(raws, parse)
                with self._places.one(str(context.peer())):
                    result: Response = await self._stream(
                        self._recorded(
                            method,
                            context,
                            lambda: requests.first,
                            lambda: function(requests, context),
                        )
                    )
                return result
            raise AssertionError("unreachable: the guard re-raises")

        async def stream_stream(raws: AsyncIterator[bytes], context: Context) -> None:
            async with _Guard(self, method, context):
                with self._places.one(str(context.peer())):
                    await self._stream(_pump(function(_Requests(raws, parse), context), context))

        if method.client_streaming and method.server_streaming:
            return grpc.stream_stream_rpc_method_handler(stream_stream, response_serializer=_encode)
        if method.client_streaming:
            return grpc.stream_unary_rpc_method_handler(stream_unary, response_serializer=_encode)
        if method.server_streaming:
            return grpc.unary_stream_rpc_method_handler(unary_stream, response_serializer=_encode)
        return grpc.unary_unary_rpc_method_handler(unary_unary, response_serializer=_encode)

    def _recorded(
        self,
        method: MethodDescriptor,
        context: Context,
        request: Callable[[], Message | None],
        work: Callable[[], Awaitable[Any]],
    ) -> Awaitable[Any]:
        """Returns `work`, written down where the method is. To be called while the call stands."""
        if self._trail is None or not is_recorded(method):
            return work()
        return self._trail.record(method, peer(context), request, work)

    async def _stream(self, work: Awaitable[Any]) -> Any:
        """Runs `work` so that `close_streams` can end it without ending the RPC's own task."""
        call = asyncio.current_task()
        assert call is not None
        task = asyncio.ensure_future(work)
        self._streams[task] = call
        task.add_done_callback(lambda done: self._streams.pop(done, None))
        if self._closing:
            task.cancel()
        return await task

    @property
    def closing(self) -> bool:
        """Whether streams are being ended because the server is."""
        return self._closing


class _Guard:
    """Turns what a handler raises into a status; async context manager around one call."""

    def __init__(self, binder: Binder, method: MethodDescriptor, context: Context) -> None:
        self._binder = binder
        self._method = method
        self._context = context
        self._begin = time.perf_counter()

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._note(error)
        try:
            await self._answer(error)
        except grpc.aio.InternalError as gone:
            raise asyncio.CancelledError from gone

    def _note(self, error: BaseException | None) -> None:
        note, method = self._binder.note, self._method
        if note is None:
            return
        match error:
            case None:
                code = grpc.StatusCode.OK
            case asyncio.CancelledError():
                closing = self._binder.closing
                code = grpc.StatusCode.UNAVAILABLE if closing else grpc.StatusCode.CANCELLED
            case grpc.aio.InternalError():
                code = grpc.StatusCode.UNAVAILABLE
            case DomainError():
                code = code_of(error)
            case _:
                code = grpc.StatusCode.INTERNAL
        stream = method.client_streaming or method.server_streaming
        took = None if stream else time.perf_counter() - self._begin
        note(method.containing_service.full_name, method.name, code.name, took)

    async def _answer(self, error: BaseException | None) -> None:
        context = self._context
        match error:
            case None | grpc.aio.AbortError():
                return
            case asyncio.CancelledError():
                # Re-raised, else grpc.aio leaks the call; unless it was us who ended the stream.
                task = asyncio.current_task()
                if self._binder.closing and task is not None and not task.cancelling():
                    await context.abort(grpc.StatusCode.UNAVAILABLE, SHUTTING_DOWN)
            case grpc.aio.InternalError():
                # What gRPC raises where nothing can be sent any more. Where that should be wrong
                # the caller is told; else this is raised once more, and the call is at its end.
                _log.debug("a caller is gone", method=self._method.full_name)
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the connection was lost")
            case DomainError():
                await context.abort(
                    code_of(error),
                    message_of(error),
                    ((STATUS_DETAILS_KEY, details_of(error)),),
                )
            case Exception():
                # The boundary for faults of ours: the log has the whole, the caller an id for it.
                number = secrets.token_hex(4)
                _log.error(
                    "unexpected error", id=number, method=self._method.full_name, exc_info=error
                )
                await context.abort(
                    grpc.StatusCode.INTERNAL,
                    f"internal error {number}: the server's log has the details under this id",
                )


def _parser(method: MethodDescriptor) -> Callable[[bytes], Message]:
    kind = GetMessageClass(method.input_type)

    def parse(raw: bytes) -> Message:
        try:
            request = kind.FromString(raw)
        except DecodeError as error:
            raise InvalidArgument(f"the request is not a {kind.DESCRIPTOR.full_name}") from error
        validate(request)
        return request

    return parse


class _Requests:
    """The requests of a stream, parsed; remembers the first one."""

    def __init__(self, raws: AsyncIterator[bytes], parse: Callable[[bytes], Message]) -> None:
        self.first: Message | None = None
        self._raws = raws
        self._iterator: AsyncIterator[bytes] | None = None
        self._parse = parse

    def __aiter__(self) -> AsyncIterator[Message]:
        return self

    async def __anext__(self) -> Message:
        if self._iterator is None:
            # Not before: gRPC's does not like being made and left.
            self._iterator = aiter(self._raws)
        request = self._parse(await anext(self._iterator))
        if self.first is None:
            self.first = request
        return request


async def _pump(responses: AsyncGenerator[Response, None], context: Context) -> None:
    # write() returns when the transport has room: a reader that stalls stops only its own loop.
    async with contextlib.aclosing(responses):
        async for response in responses:
            try:
                await context.write(response)
            except grpc.aio.InternalError as error:
                # The caller hung up meanwhile, of which gRPC is about to tell: the same end.
                raise asyncio.CancelledError from error


def _encode(response: Response) -> bytes:
    return response if isinstance(response, bytes) else response.SerializeToString()


def _note_unseen_failure(call: asyncio.Task[Any]) -> None:
    """Fetches the outcome, so that asyncio does not complain when the caller has hung up."""
    if not call.cancelled():
        call.exception()

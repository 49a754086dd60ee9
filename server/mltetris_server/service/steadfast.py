"""gRPC servers that no path of a call can end.

grpc.aio 1.85 decodes the path of every call in the one loop that takes calls. A path that is not
UTF-8, which anybody can send, token or not, ends that loop, and with it the server. So the methods
there are get registered by name, for whose calls gRPC knows the path; any other call is for a
method that does not exist, and is refused here without a look at its path.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import grpc
import structlog
from grpc._cython import cygrpc  # type: ignore[attr-defined]

_log = structlog.get_logger(__name__)

_NO_PATH: Final = "/"
"""What the gate is told that such a call is for: a method without a rule."""

_NEEDED: Final = ("_make_request_call_future", "_request_call")
"""Of gRPC's server: what is private there, and may change."""


class _Steadfast(cygrpc.AioServer):  # type: ignore[misc]
    """The core of grpc.aio's server, but for how it takes calls of methods that are not there."""

    def __init__(
        self, loop: Any, pool: Any, handlers: Any, interceptors: Any, options: Any, most: Any
    ) -> None:
        super().__init__(loop, pool, handlers, interceptors, options, most)
        self.__interceptors = tuple(interceptors or ())
        self.__calls: set[asyncio.Task[None]] = set()

    def _make_request_call_future(self, method: bytes | None) -> Any:
        """A future that is done when there is a call; of those that are refused here: never."""
        if method is not None:
            return super()._make_request_call_future(method)
        return asyncio.get_running_loop().create_task(self.__refuse_unknown())

    async def __refuse_unknown(self) -> None:
        """Refuses every call of no method, until the server ends."""
        loop = asyncio.get_running_loop()
        nothing = cygrpc._MethodResolver([], {})
        while True:
            # Raises when the server ends; its loop knows that.
            state = await self._request_call()
            answer = cygrpc._handle_rpc(_NO_PATH, nothing, self.__interceptors, state, loop, False)
            call = loop.create_task(cygrpc._schedule_rpc_coro(answer, state, loop, _NO_PATH))
            self.__calls.add(call)
            call.add_done_callback(self.__calls.discard)


def steadfast_server(
    options: Sequence[tuple[str, Any]],
    interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
) -> grpc.aio.Server:
    """Returns a server whose methods are to be registered, see `Binder.register`.

    With another grpcio than those that were looked at, it is gRPC's own server, with a warning.
    """
    if not all(hasattr(cygrpc.AioServer, name) for name in _NEEDED):
        _log.warning("this grpcio takes calls in a way of its own", version=grpc.__version__)
        return grpc.aio.server(options=options, interceptors=list(interceptors))
    plain = cygrpc.AioServer
    cygrpc.AioServer = _Steadfast
    try:
        return grpc.aio.server(options=options, interceptors=list(interceptors))
    finally:
        cygrpc.AioServer = plain

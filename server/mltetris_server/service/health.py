"""grpc.health.v1: whether the server serves, for load balancers and for who waits for its end.

Not grpcio-health-checking's servicer: that one keeps a lock while it writes, so that a single
watcher who does not read would hold up every other, and the server's end.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterable
from typing import Any

from grpc_health.v1 import health_pb2

from mltetris_server.errors import NotFound
from mltetris_server.service.handlers import Context

_Status = health_pb2.HealthCheckResponse


class HealthServicer:
    """Answers `grpc.health.v1.Health`.

    Args:
        services: full names of the services there are; the empty one is the whole server.
    """

    def __init__(self, services: Iterable[str]) -> None:
        self._services = frozenset(services) | {""}
        self._ending = asyncio.Event()
        self._untold: set[object] = set()
        """Who watches and does not know yet."""
        self._told = asyncio.Event()
        self._told.set()

    def end(self) -> None:
        """Says from now on that nothing is served."""
        self._ending.set()

    async def told(self, timeout: float) -> None:
        """Waits until all who watch have been told so, at most `timeout` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._told.wait()

    async def Check(self, request: Any, context: Context) -> Any:
        """Returns how the service is."""
        if request.service not in self._services:
            raise NotFound("there is no such service")
        return _Status(status=self._status(request.service))

    async def Watch(self, request: Any, context: Context) -> AsyncGenerator[Any, None]:
        """Sends how the service is, and once more when that changes."""
        me = object()
        self._untold.add(me)
        self._told.clear()
        try:
            before = self._status(request.service)
            yield _Status(status=before)
            await self._ending.wait()
            if self._status(request.service) != before:
                # Comes back when it is written.
                yield _Status(status=self._status(request.service))
        finally:
            self._untold.discard(me)
            if not self._untold:
                self._told.set()
        # The stream goes on until the server is gone, as the protocol has it.
        await asyncio.Event().wait()

    def _status(self, service: str) -> int:
        if service not in self._services:
            return int(_Status.SERVICE_UNKNOWN)
        return int(_Status.NOT_SERVING if self._ending.is_set() else _Status.SERVING)

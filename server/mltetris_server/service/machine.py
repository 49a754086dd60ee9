"""SystemService: how the machine is."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from mltetris_api.v1 import system_pb2

from mltetris_server.errors import NotSupported
from mltetris_server.service.handlers import Context


class MachineMethods:
    """The methods of SystemService that measure the machine and the server's processes."""

    async def GetSystemMetrics(
        self, request: system_pb2.GetSystemMetricsRequest, context: Context
    ) -> system_pb2.GetSystemMetricsResponse:
        """Returns how the machine is now."""
        raise NotSupported("not yet")

    async def StreamSystemMetrics(
        self, request: system_pb2.StreamSystemMetricsRequest, context: Context
    ) -> AsyncGenerator[system_pb2.StreamSystemMetricsResponse, None]:
        """Sends how it is, again and again."""
        raise NotSupported("not yet")
        yield

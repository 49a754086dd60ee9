"""SystemService: how the machine is."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

from mltetris_api.v1 import system_pb2

from mltetris_server.service.handlers import Context
from mltetris_server.service.measuring.sampler import Sampler


class MachineMethods:
    """The methods of SystemService that measure the machine and the server's processes."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

    async def GetSystemMetrics(
        self, request: system_pb2.GetSystemMetricsRequest, context: Context
    ) -> system_pb2.GetSystemMetricsResponse:
        """Returns how the machine is now."""
        return system_pb2.GetSystemMetricsResponse(metrics=await self._sampler.now())

    async def StreamSystemMetrics(
        self, request: system_pb2.StreamSystemMetricsRequest, context: Context
    ) -> AsyncGenerator[system_pb2.StreamSystemMetricsResponse, None]:
        """Sends how it is, again and again."""
        period_s = request.period.ToNanoseconds() / 1e9 if request.HasField("period") else 1.0
        async with contextlib.aclosing(self._sampler.follow(period_s)) as measured:
            async for metrics in measured:
                yield system_pb2.StreamSystemMetricsResponse(metrics=metrics)

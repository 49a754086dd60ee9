"""Clients that connect, open something and go away at any moment.

`python -m support.storm ADDRESS RUN SEED COUNT` lets so many come and go, opens a few streams more,
says "done" and waits for its end, which may be a sudden one.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from mltetris_api.v1 import system_pb2, system_pb2_grpc, trainer_pb2, trainer_pb2_grpc

from support.server import CHANNEL_OPTIONS

AT_ONCE: Final = 20
ALONE: Final = (*CHANNEL_OPTIONS, ("grpc.use_local_subchannel_pool", 1))

Opened = Any
"""A call of grpc.aio, whatever its kind."""


def calls(channel: grpc.aio.Channel, run: str) -> dict[str, Callable[[], Opened]]:
    """Every way to open something, by name."""
    trainer = trainer_pb2_grpc.TrainerServiceStub(channel)
    system = system_pb2_grpc.SystemServiceStub(channel)
    reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
    return {
        "StreamBoard": lambda: trainer.StreamBoard(
            trainer_pb2.StreamBoardRequest(run=run, include_values=True)
        ),
        "StreamMetrics": lambda: trainer.StreamMetrics(trainer_pb2.StreamMetricsRequest(run=run)),
        "WatchRuns": lambda: trainer.WatchRuns(trainer_pb2.WatchRunsRequest()),
        "WatchRuns of one": lambda: trainer.WatchRuns(trainer_pb2.WatchRunsRequest(run=run)),
        "ExportSlot": lambda: trainer.ExportSlot(trainer_pb2.ExportSlotRequest(name="dellacherie")),
        "ImportSlot": lambda: trainer.ImportSlot(half_an_import()),
        "Watch": lambda: health_pb2_grpc.HealthStub(channel).Watch(
            health_pb2.HealthCheckRequest(service="mltetris.v1.TrainerService")
        ),
        "ServerReflectionInfo": lambda: reflection.ServerReflectionInfo(half_a_conversation()),
        "SetSpeed": lambda: trainer.SetSpeed(
            trainer_pb2.SetSpeedRequest(run=run, placements_per_second=5)
        ),
        "GetServerInfo": lambda: system.GetServerInfo(system_pb2.GetServerInfoRequest()),
    }


async def half_an_import() -> AsyncIterator[trainer_pb2.ImportSlotRequest]:
    """The beginning of a slot, whose rest never comes."""
    header = trainer_pb2.ImportHeader(
        name="half", size_bytes=200_000, sha256=hashlib.sha256(b"").hexdigest()
    )
    yield trainer_pb2.ImportSlotRequest(header=header)
    yield trainer_pb2.ImportSlotRequest(chunk=bytes(50_000))
    await asyncio.sleep(3600)


async def half_a_conversation() -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
    """One question, and then nothing."""
    yield reflection_pb2.ServerReflectionRequest(list_services="")
    await asyncio.sleep(3600)


class Storm:
    """Clients that come and go. `channel` is the one that some of them share."""

    def __init__(self, address: str, run: str, channel: grpc.aio.Channel, seed: int) -> None:
        self.address = address
        self.run = run
        self.channel = channel
        self.rng = random.Random(seed)
        self.opened = 0

    async def blow(self, count: int) -> None:
        """So many come and go, `AT_ONCE` at a time."""
        left = iter(range(count))

        async def some() -> None:
            for _ in left:
                await self.one()

        async with asyncio.timeout(1800):
            await asyncio.gather(*(some() for _ in range(AT_ONCE)))

    async def one(self) -> None:
        """One client: on the shared channel, on one of its own, or a bare connection."""
        kind = self.rng.random()
        if kind < 0.1:
            await self.knock()
        elif kind < 0.55:
            await self.open_and_leave(self.channel)
        else:
            async with grpc.aio.insecure_channel(self.address, options=ALONE) as channel:
                await self.open_and_leave(channel)
        self.opened += 1

    async def open_and_leave(self, channel: grpc.aio.Channel) -> None:
        """Opens something and cancels it: at once, soon, or when something has come."""
        ways = calls(channel, self.run)
        call = ways[self.rng.choice(list(ways))]()
        moment = self.rng.random()
        if moment < 0.3:
            await asyncio.sleep(0.02 * self.rng.random())
        elif moment < 0.8 and isinstance(
            call, grpc.aio.UnaryStreamCall | grpc.aio.StreamStreamCall
        ):
            async with asyncio.timeout(60):
                await call.read()
        call.cancel()
        with contextlib.suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
            await call.code()

    async def knock(self) -> None:
        """A connection that says nothing, or something that is no gRPC, and is gone."""
        host, _, port = self.address.rpartition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        if self.rng.random() < 0.5:
            writer.write(self.rng.randbytes(self.rng.randint(1, 100)))
        await asyncio.sleep(0.01 * self.rng.random())
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def main() -> None:
    address, run, seed, count = sys.argv[1:]
    async with grpc.aio.insecure_channel(address, options=ALONE) as channel:
        storm = Storm(address, run, channel, int(seed))
        await storm.blow(int(count))
        left_open = [open_() for open_ in calls(channel, run).values()]
        print(f"done {storm.opened}", flush=True)
        await asyncio.sleep(3600)
        del left_open


if __name__ == "__main__":
    asyncio.run(main())

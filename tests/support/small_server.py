"""A server inside the test's own process, whose workers are small ones."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import grpc
import psutil
from mltetris_api.v1 import run_pb2, system_pb2_grpc, trainer_pb2, trainer_pb2_grpc
from mltetris_server.runs.settings import RunSettings
from mltetris_server.service.addresses import WorkerTransport
from mltetris_server.service.server import Server, ServerSettings

from support import small_worker
from support.server import CHANNEL_OPTIONS

WORKER = (sys.executable, "-m", "support.small_worker")
PATIENCE_S = 20.0


@dataclass
class SmallServer:
    """A running server and ways to talk with it."""

    server: Server
    trainer: trainer_pb2_grpc.TrainerServiceAsyncStub
    system: system_pb2_grpc.SystemServiceAsyncStub
    channel: grpc.aio.Channel

    async def start(
        self, training: run_pb2.TrainingSpec | None = None, **fields: object
    ) -> run_pb2.Run:
        """Starts a training and returns it as it is then."""
        spec = training or run_pb2.TrainingSpec()
        request = trainer_pb2.StartRunRequest(training=spec, **fields)  # type: ignore[arg-type]
        return (await self.trainer.StartRun(request)).run

    async def run(self, run_id: str) -> run_pb2.Run:
        """Returns the run as it is now."""
        return (await self.trainer.GetRun(trainer_pb2.GetRunRequest(run=run_id))).run

    async def until(self, run_id: str, condition: Callable[[run_pb2.Run], bool]) -> run_pb2.Run:
        """Waits, by watching, until the run is as `condition` wants it, and returns it."""
        async with asyncio.timeout(PATIENCE_S):
            call = self.trainer.WatchRuns(trainer_pb2.WatchRunsRequest(run=run_id))
            async for event in call:
                if event.HasField("run") and condition(event.run):
                    call.cancel()
                    return event.run
        raise AssertionError("the stream of runs ended")

    async def until_state(self, run_id: str, *states: run_pb2.RunState.ValueType) -> run_pb2.Run:
        """Waits until the run is in one of `states` and returns it."""
        return await self.until(run_id, lambda run: run.state in states)

    async def running(self, **fields: object) -> run_pb2.Run:
        """Starts a training and waits until it runs."""
        run = await self.start(**fields)  # type: ignore[arg-type]
        return await self.until_state(run.id, run_pb2.RUN_STATE_RUNNING)


DEFAULTS = RunSettings(max_runs=2, grace_s=20, answer_s=10)


@contextlib.asynccontextmanager
async def small_server(
    data_dir: Path,
    *,
    transport: WorkerTransport = "auto",
    command: tuple[str, ...] = WORKER,
    settings: RunSettings = DEFAULTS,
    **changes: object,
) -> AsyncIterator[SmallServer]:
    """Serves from `data_dir`; `changes` are fields of RunSettings. No worker outlives it."""
    server = await Server.start(
        ServerSettings(
            listen="127.0.0.1:0",
            data_dir=data_dir,
            runs=replace(settings, **changes),  # type: ignore[arg-type]
            worker_transport=transport,
            worker_command=command,
        )
    )
    try:
        async with grpc.aio.insecure_channel(server.address, options=CHANNEL_OPTIONS) as channel:
            yield SmallServer(
                server,
                trainer_pb2_grpc.TrainerServiceStub(channel),
                system_pb2_grpc.SystemServiceStub(channel),
                channel,
            )
    finally:
        await server.stop()
        assert not living_workers()


def living_workers() -> list[psutil.Process]:
    """The workers that this process started and that still live."""
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.status() != psutil.STATUS_ZOMBIE and small_worker.__name__ in " ".join(
                child.cmdline()
            ):
                found.append(child)
    return found

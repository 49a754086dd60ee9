"""Assembly of the server process: stores, runs, services, and their orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Final

import grpc
import structlog
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2
from mltetris_api.v1 import policy_pb2, system_pb2, trainer_pb2
from mltetris_api.worker.v1 import worker_pb2

from mltetris_server.runs.datasets import Datasets
from mltetris_server.runs.keeper import Keeper
from mltetris_server.runs.launchers.local import WORKER_COMMAND, LocalLauncher
from mltetris_server.runs.manager import RunManager
from mltetris_server.runs.models import Models
from mltetris_server.runs.policy.keeper import PolicyKeeper
from mltetris_server.runs.policy.process import POLICY_COMMAND
from mltetris_server.runs.scores import Scores
from mltetris_server.runs.settings import RunSettings
from mltetris_server.runs.space import SpaceGuard
from mltetris_server.runs.threads import Thread
from mltetris_server.service.access import Gate
from mltetris_server.service.addresses import (
    CannotListen,
    WorkerTransport,
    check_free,
    remember_port,
    worker_address,
)
from mltetris_server.service.exposure import Security, check
from mltetris_server.service.handlers import Binder
from mltetris_server.service.health import HealthServicer
from mltetris_server.service.measuring.machine import Known, Machine
from mltetris_server.service.measuring.sampler import Sampler
from mltetris_server.service.options import MAX_STREAMS, SERVER_OPTIONS, public_options
from mltetris_server.service.policy import PolicyServicer
from mltetris_server.service.reflection import add_reflection
from mltetris_server.service.stats import Dashboard
from mltetris_server.service.steadfast import steadfast_server
from mltetris_server.service.system import SystemServicer
from mltetris_server.service.trail import Trail
from mltetris_server.service.trainer import TrainerServicer
from mltetris_server.service.worker import WorkerServicer
from mltetris_server.storage.database import READERS
from mltetris_server.storage.datadir import DataDir
from mltetris_server.storage.datasets import DatasetStore
from mltetris_server.storage.history import History
from mltetris_server.storage.retention import Limits
from mltetris_server.storage.run_store import RunStore
from mltetris_server.storage.slots import REFERENCES, SlotStore
from mltetris_server.storage.space import Reserve

_log = structlog.get_logger(__name__)

_TRAINER: Final = trainer_pb2.DESCRIPTOR.services_by_name["TrainerService"]
_SYSTEM: Final = system_pb2.DESCRIPTOR.services_by_name["SystemService"]
_POLICY: Final = policy_pb2.DESCRIPTOR.services_by_name["PolicyService"]
_HEALTH: Final = health_pb2.DESCRIPTOR.services_by_name["Health"]
_WORKER: Final = worker_pb2.DESCRIPTOR.services_by_name["WorkerService"]


_STOP_S: Final = 0.2
"""For calls that are still open when everything is done: gRPC waits for them so long, no longer."""


@dataclass(frozen=True)
class ServerSettings:
    """What a server is started with."""

    listen: str
    """`host:port` (port 0: any free one) or `unix:/path`."""
    data_dir: Path
    runs: RunSettings
    security: Security = field(default_factory=Security)
    metrics_listen: str = ""
    """`host:port` where Prometheus may ask, without a token; empty: nowhere."""
    max_streams: int = MAX_STREAMS
    """Streams that one connection may have open, at least 1."""
    limits: Limits = field(default_factory=Limits)
    """How much of the history is kept."""
    worker_transport: WorkerTransport = "auto"
    worker_command: tuple[str, ...] = field(default=WORKER_COMMAND)
    policy_command: tuple[str, ...] = field(default=POLICY_COMMAND)


class Server:
    """A running server. Made by `Server.start`, ended by `stop`."""

    def __init__(self, address: str, data_dir: Path, manager: RunManager) -> None:
        self.address = address
        """`host:port` or `unix:/path` it listens on."""
        self.data_dir = data_dir
        self.metrics_url = ""
        """Where Prometheus may ask; empty: nowhere."""
        self._manager = manager
        self._stack = contextlib.AsyncExitStack()

    @classmethod
    async def start(cls, settings: ServerSettings) -> Server:
        """Opens the data directory, takes up its runs, and serves.

        Raises:
            DomainError: the data directory cannot be used; the message says what to do.
            CannotListen: nor can the address.
        """
        async with contextlib.AsyncExitStack() as stack:
            server = await cls._assemble(settings, stack)
            server._stack = stack.pop_all()
            return server
        raise AssertionError("unreachable")

    @classmethod
    async def _assemble(cls, settings: ServerSettings, stack: contextlib.AsyncExitStack) -> Server:
        check(settings.listen, settings.security)
        data_dir = stack.enter_context(await asyncio.to_thread(DataDir.open, settings.data_dir))
        # Three threads: a large import must not hold up the metrics, nor a dataset the models.
        history_thread = Thread("history", retries=True)
        stack.callback(history_thread.close)
        # What only reads waits for neither.
        look = Thread("history-reader", threads=READERS)
        stack.callback(look.close)
        models_thread = Thread("models")
        stack.callback(models_thread.close)
        # A dataset that finds no room is given up, and with it the room it took: no run need wait.
        datasets_thread = Thread("datasets")
        stack.callback(datasets_thread.close)
        history = await history_thread(History, data_dir.database, settings.limits)
        stack.enter_context(history)
        run_store = await models_thread(RunStore, data_dir.runs)
        slot_store = await models_thread(SlotStore, data_dir.slots, REFERENCES)
        models = Models(slot_store, run_store, models_thread)
        dataset_store = await datasets_thread(DatasetStore, data_dir.datasets)
        datasets = Datasets(dataset_store, datasets_thread)
        policy = PolicyKeeper(models, settings.policy_command)
        stack.push_async_callback(policy.close)

        tokens = settings.security.tokens
        public = steadfast_server(public_options(settings.max_streams), [Gate(tokens)])
        tls = settings.security.tls
        if settings.metrics_listen:
            check_free(settings.metrics_listen, "--metrics-listen")
        port = _listen(public, settings.listen, tls.credentials() if tls else None)
        private = steadfast_server(SERVER_OPTIONS)
        address = _listen_for_workers(private, data_dir.root, settings.worker_transport)

        manager = RunManager(
            history=history,
            disk=history_thread,
            look=look,
            models=models,
            datasets=datasets,
            launcher=LocalLauncher(run_store.log_path, settings.worker_command),
            settings=settings.runs,
            address=address,
        )

        def processes() -> list[Known]:
            workers = [Known("worker", pid, run) for run, pid in manager.workers()]
            suggesting = [Known("policy", policy.pid)] if policy.pid else []
            return [Known("server", os.getpid()), *workers, *suggesting]

        sampler = Sampler(Machine(data_dir.root), processes)
        stack.callback(sampler.close)

        async def keep(entry: system_pb2.Activity) -> int:
            return await history_thread(history.activity.add, entry)

        binder, worker_binder = Binder(Trail(keep), max_streams=settings.max_streams), Binder()
        trainer = TrainerServicer(
            manager,
            models,
            datasets,
            Scores(history.scores, look),
            history=history,
            look=look,
        )
        binder.register(public, _TRAINER, trainer)
        start_time = Timestamp()
        start_time.GetCurrentTime()
        dashboard = Dashboard(
            history=lambda: look(history.stats),
            models=models,
            datasets=datasets,
            data_dir=data_dir.root,
            start_time=start_time,
        )
        system = SystemServicer(
            manager=manager,
            models=models,
            list_activity=lambda **asked: look(history.activity.page, **asked),
            dashboard=dashboard,
            start_time=start_time,
            data_dir=data_dir.root,
            max_runs=settings.runs.max_runs,
            watchers=lambda: binder.open_streams,
            tokens_required=tokens.required,
            policy=policy,
            sampler=sampler,
        )
        binder.register(public, _SYSTEM, system)
        binder.register(public, _POLICY, PolicyServicer(policy))
        services = [service.full_name for service in (_TRAINER, _POLICY, _SYSTEM, _HEALTH)]
        health = HealthServicer(services)
        # Apart: who asks how the server is should be told so for as long as there is one.
        asking = Binder(max_streams=settings.max_streams)
        asking.register(public, _HEALTH, health)
        add_reflection(public, asking, services)
        worker_binder.register(private, _WORKER, WorkerServicer(manager, models, datasets))

        guard = SpaceGuard(
            Reserve(data_dir.root),
            pause=manager.pause_for_space,
            resume=manager.resume_for_space,
            tell=lambda text: manager.events.notice("", text),
        )
        history_thread.on_full = models_thread.on_full = guard.notice_full
        stack.callback(guard.end)
        keeper = Keeper(history.retention, history_thread, look)
        stack.callback(keeper.end)

        await manager.open()
        await guard.begin()
        keeper.begin()
        await private.start()
        stack.push_async_callback(private.stop, _STOP_S)
        stack.push_async_callback(manager.close)
        await public.start()

        async def end_public() -> None:
            # First of all: who asks is sent elsewhere, who watches is told, who calls is answered.
            health.end()
            await binder.close_streams()
            await manager.close()
            await binder.finish_calls(0.2)
            # In order, so that nobody misses the last word, as one whose call is cut off may.
            await health.told(_STOP_S)
            await asking.close_streams()
            await public.stop(_STOP_S)

        stack.push_async_callback(end_public)
        address = settings.listen
        if not address.startswith("unix:"):
            address = f"{address.rpartition(':')[0]}:{port}"
        server = cls(address, data_dir.root, manager)
        if settings.metrics_listen:
            # Who does not want the page does not wait for its library.
            from mltetris_server.service.measuring.page import Page, Sources

            page = Page(
                Sources(
                    version=metadata.version("mltetris"),
                    stats=dashboard.stats,
                    metrics=sampler.now,
                    open_streams=lambda: binder.open_streams,
                )
            )
            server.metrics_url = await page.begin(settings.metrics_listen)
            stack.push_async_callback(page.end)
            binder.note = page.calls.note
        return server

    async def stop(self) -> None:
        """Ends everything in order: runs keep their last checkpoints, no process is left."""
        await self._stack.aclose()

    def kill_workers(self) -> None:
        """Ends all workers at once, for a process that cannot wait for `stop`."""
        self._manager.kill()


def _listen(
    server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials | None = None
) -> int:
    """Takes `address` for `server`, with TLS where there are `credentials`; returns the port."""
    if not address.startswith("unix:"):
        check_free(address)
    try:
        if credentials is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise CannotListen(f"cannot listen on {address}: {error}") from error
    if port == 0:
        raise CannotListen(f"cannot listen on {address}")
    return port


def _listen_for_workers(server: grpc.aio.Server, data_dir: Path, transport: WorkerTransport) -> str:
    """Takes the private address, if possible the one of the server before; returns it."""
    try:
        address = worker_address(data_dir, transport)
    except OSError as error:
        raise CannotListen(f"cannot listen for workers: {error}") from error
    if address.startswith("unix:"):
        _listen(server, address)
        return address
    try:
        port = _listen(server, address)
    except CannotListen as error:
        # Somebody took the port meanwhile; workers of the server before will not find this one.
        _log.warning("the former port for workers is taken", error=str(error))
        port = _listen(server, "127.0.0.1:0")
    remember_port(data_dir, port)
    return f"127.0.0.1:{port}"

"""WorkerService: the private side, for the workers of this server's runs."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator

from mltetris_api.v1 import run_pb2
from mltetris_api.worker.v1 import worker_pb2

from mltetris_server.errors import (
    DataLoss,
    DomainError,
    InvalidArgument,
    PermissionDenied,
    Unauthenticated,
    WrongState,
)
from mltetris_server.runs import states
from mltetris_server.runs.attachment import Attachment
from mltetris_server.runs.datasets import Datasets
from mltetris_server.runs.manager import RunManager
from mltetris_server.runs.models import Models
from mltetris_server.runs.run import LiveRun
from mltetris_server.runs.uses import players
from mltetris_server.service.handlers import Context
from mltetris_server.service.worker_events import check_dataset, check_event, check_header
from mltetris_server.storage.dataset_record import TRAJECTORIES

_CHUNK_BYTES = 1024 * 1024
_MOST_BYTES = 256 * 1024 * 1024


class WorkerServicer:
    """Answers `mltetris.worker.v1.WorkerService`."""

    def __init__(self, manager: RunManager, models: Models, datasets: Datasets) -> None:
        self._manager = manager
        self._models = models
        self._datasets = datasets

    async def Attach(
        self, requests: AsyncIterator[worker_pb2.AttachRequest], context: Context
    ) -> AsyncGenerator[worker_pb2.AttachResponse, None]:
        """Talks with a worker until it has said everything, or the line breaks."""
        live = await self._run_of(context)
        first = await anext(requests, None)
        if first is None or not first.HasField("hello"):
            raise InvalidArgument.field("hello", "must come first")
        attachment = await live.attach(first.hello)
        reader = asyncio.create_task(_read(live, attachment, requests))
        try:
            async for response in attachment.outgoing():
                yield response
        finally:
            reader.cancel()
            live.detach(attachment)
        if reader.done() and not reader.cancelled():
            reader.result()

    async def PutCheckpoint(
        self, requests: AsyncIterator[worker_pb2.PutCheckpointRequest], context: Context
    ) -> worker_pb2.PutCheckpointResponse:
        """Stores a checkpoint of the caller's run, whole or not at all."""
        live = await self._run_of(context)
        first = await anext(requests, None)
        if first is None or not first.HasField("header"):
            raise InvalidArgument.field("header", "must come first")
        header = first.header
        check_header(header, _MOST_BYTES)
        files = await _files(header, requests)
        # Once more: the run may have got another worker meanwhile, or be over.
        live = await self._run_of(context)
        live.heard()
        info = await self._models.write(live.run, header, files)
        await live.checkpoint_stored(info)
        return worker_pb2.PutCheckpointResponse(checkpoint=info)

    async def GetCheckpoint(
        self, request: worker_pb2.GetCheckpointRequest, context: Context
    ) -> AsyncGenerator[worker_pb2.GetCheckpointResponse, None]:
        """Sends a model that the caller's run was told to use, and no other."""
        live = await self._run_of(context)
        if not _is_told_to_use(live.run, request):
            raise PermissionDenied(f"run {live.id} was not told to use that model")
        checkpoint = await self._models.read(request)
        manifest = checkpoint.manifest
        header = worker_pb2.CheckpointHeader(
            kind=request.checkpoint.kind,
            model_json=manifest.model_json,
            placements=manifest.placements,
            evaluation=manifest.evaluation,
            files=[
                worker_pb2.CheckpointFile(name=name, size_bytes=entry.size, sha256=entry.sha256)
                for name, entry in manifest.files.items()
            ],
            manifest_sha256=checkpoint.sha256,
        )
        yield worker_pb2.GetCheckpointResponse(header=header)
        for name in manifest.files:
            content = checkpoint.files[name]
            for start in range(0, len(content), _CHUNK_BYTES):
                yield worker_pb2.GetCheckpointResponse(chunk=content[start : start + _CHUNK_BYTES])

    async def PutDataset(
        self, requests: AsyncIterator[worker_pb2.PutDatasetRequest], context: Context
    ) -> worker_pb2.PutDatasetResponse:
        """Stores the dataset of the caller's run, whole or not at all."""
        live = await self._run_of(context)
        spec = _simulation_of(live.run)
        first = await anext(requests, None)
        if first is None or not first.HasField("header"):
            raise InvalidArgument.field("header", "must come first")
        check_dataset(first.header, spec.dataset)
        with live.sending():
            dataset = await self._datasets.receive(
                spec.dataset, live.id, first.header, self._chunks(live, requests, context)
            )
            await live.dataset_stored(dataset)
        return worker_pb2.PutDatasetResponse(dataset=dataset)

    async def _chunks(
        self,
        live: LiveRun,
        requests: AsyncIterator[worker_pb2.PutDatasetRequest],
        context: Context,
    ) -> AsyncGenerator[bytes, None]:
        """Yields what follows a header, as long as the run has this worker."""
        async for request in requests:
            if request.HasField("header"):
                raise InvalidArgument.field("header", "comes once, first")
            live.heard()
            yield request.chunk
        # Once more: the run may have got another worker meanwhile, or be over.
        await self._run_of(context)

    async def GetTrajectories(
        self, request: worker_pb2.GetTrajectoriesRequest, context: Context
    ) -> AsyncGenerator[worker_pb2.GetTrajectoriesResponse, None]:
        """Sends the trajectories that the caller's run was told to learn from, and no others."""
        live = await self._run_of(context)
        name = live.run.training.warm_start.dataset
        if not name:
            raise PermissionDenied(f"run {live.id} was not told to learn from a dataset")
        parts = self._datasets.send(name, _CHUNK_BYTES, TRAJECTORIES)
        async with contextlib.aclosing(parts):
            async for part in parts:
                if isinstance(part, bytes):
                    yield worker_pb2.GetTrajectoriesResponse(chunk=part)
                else:
                    yield worker_pb2.GetTrajectoriesResponse(header=part)

    async def _run_of(self, context: Context) -> LiveRun:
        """The live run whose worker calls."""
        metadata = {key: value for key, value in context.invocation_metadata() or ()}
        run_id = str(metadata.get("mltetris-run", ""))
        live = self._manager.live(run_id)
        if live is None:
            # Told apart from a wrong secret only for runs that are over: nothing to guess there.
            run = await self._manager.get(run_id)
            raise WrongState(f"run {run.id} is {states.name(run.state)}: nothing to do")
        if not live.admits(str(metadata.get("mltetris-secret", ""))):
            raise Unauthenticated(f"this is not the worker of run {live.id}")
        if live.state in states.FINAL:
            raise WrongState(f"run {live.id} is {states.name(live.state)}: nothing to do")
        return live


async def _read(
    live: LiveRun, attachment: Attachment, requests: AsyncIterator[worker_pb2.AttachRequest]
) -> None:
    """Gives the run what its worker says, until that hangs up."""
    try:
        async for request in requests:
            check_event(request)
            await live.receive(attachment, request)
    except DomainError as error:
        attachment.end(error)
        raise
    finally:
        attachment.end()


async def _files(
    header: worker_pb2.CheckpointHeader,
    requests: AsyncIterator[worker_pb2.PutCheckpointRequest],
) -> dict[str, bytes]:
    """Returns the files that `header` announces, checked, from the chunks that follow it."""
    announced = sum(file.size_bytes for file in header.files)
    content = bytearray()
    async for request in requests:
        content += request.chunk
        if len(content) > announced:
            raise InvalidArgument.field("chunk", "more bytes came than the header says")
    if len(content) != announced:
        raise InvalidArgument.field("chunk", f"{len(content)} bytes came instead of {announced}")
    files: dict[str, bytes] = {}
    start = 0
    for file in header.files:
        data = bytes(content[start : start + file.size_bytes])
        start += file.size_bytes
        if hashlib.sha256(data).hexdigest() != file.sha256:
            raise DataLoss(f"{file.name} was damaged on its way")
        files[file.name] = data
    return files


def _simulation_of(run: run_pb2.Run) -> run_pb2.SimulationSpec:
    if not run.HasField("simulation"):
        raise PermissionDenied(f"run {run.id} is no simulation: it makes no dataset")
    return run.simulation


def _is_told_to_use(run: run_pb2.Run, request: worker_pb2.GetCheckpointRequest) -> bool:
    if run.restarts and request.checkpoint.run == run.id:
        return True
    wanted = run_pb2.Player()
    if request.HasField("slot"):
        wanted.slot = request.slot
    else:
        wanted.checkpoint.CopyFrom(request.checkpoint)
    return any(player == wanted for player in players(run))

"""TrainerService: slots."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

from mltetris_api.v1 import run_pb2, slot_pb2, trainer_pb2

from mltetris_server.errors import DataLoss, InvalidArgument, NotSupported, TooMany, WrongState
from mltetris_server.runs import control, uses
from mltetris_server.runs.manager import RunManager
from mltetris_server.runs.models import Models
from mltetris_server.runs.sb3 import export_sb3, import_sb3, is_sb3
from mltetris_server.runs.scores import Scores, check_suite
from mltetris_server.service.handlers import Context
from mltetris_server.service.options import CHUNK_BYTES
from mltetris_server.storage import slot_listing

_UPDATABLE = ("name", "notes", "tags")
_MOST_RECEIVING = 512 << 20
"""Bytes of all imports that are being received or read at the same time."""


class SlotMethods:
    """The methods of TrainerService that keep slots."""

    def __init__(self, manager: RunManager, models: Models, scores: Scores) -> None:
        self._runs = manager
        self._models = models
        self._scores = scores
        self._receiving = 0

    async def ListSlots(
        self, request: trainer_pb2.ListSlotsRequest, context: Context
    ) -> trainer_pb2.ListSlotsResponse:
        """Returns a page of slots, best first."""
        check_suite(request.suite)
        found = await self._models.disk(self._models.slots.list_slots)
        if request.suite:
            await self._scores.add_to(*found)
        slots, token = slot_listing.page(
            found, request.order_by, request.page_size, request.page_token, suite=request.suite
        )
        if not request.suite:
            await self._scores.add_to(*slots)
        return trainer_pb2.ListSlotsResponse(slots=slots, next_page_token=token)

    async def GetSlot(
        self, request: trainer_pb2.GetSlotRequest, context: Context
    ) -> trainer_pb2.GetSlotResponse:
        """Returns one slot, every byte of it checked."""
        slot = await self._models.disk(self._models.slots.get, request.name)
        await self._scores.add_to(slot)
        return trainer_pb2.GetSlotResponse(slot=slot)

    async def SaveSlot(
        self, request: trainer_pb2.SaveSlotRequest, context: Context
    ) -> trainer_pb2.SaveSlotResponse:
        """Saves a run's checkpoint or another slot under a name."""
        if request.HasField("checkpoint"):
            await self._runs.get(request.checkpoint.run)
            live = self._runs.live(request.checkpoint.run)
            if live is not None and request.checkpoint.kind == run_pb2.CHECKPOINT_KIND_LATEST:
                await control.save_latest(live)
        async with self._replacing(request.name, request.overwrite):
            slot = await self._models.save_slot(request)
        await self._scores.add_to(slot)
        return trainer_pb2.SaveSlotResponse(slot=slot)

    async def UpdateSlot(
        self, request: trainer_pb2.UpdateSlotRequest, context: Context
    ) -> trainer_pb2.UpdateSlotResponse:
        """Renames a slot, or changes its notes or tags."""
        paths = request.update_mask.paths
        if not paths:
            raise InvalidArgument.field(
                "update_mask", f"name at least one of {', '.join(_UPDATABLE)}"
            )
        for i, path in enumerate(paths):
            if path not in _UPDATABLE:
                raise InvalidArgument.field(
                    f"update_mask.paths[{i}]", f"must be one of {', '.join(_UPDATABLE)}"
                )
        update = request.update
        if "name" in paths and not update.HasField("name"):
            raise InvalidArgument.field("update.name", "a slot needs a name")
        async with contextlib.AsyncExitStack() as stack:
            if "name" in paths and update.name != request.name:
                # A run finds it by its name, and may have to once more.
                in_use = self._using(request.name)
                await stack.enter_async_context(self._runs.removing(*in_use))
            slot = await self._models.disk(
                self._models.slots.update,
                request.name,
                new_name=update.name if "name" in paths else None,
                notes=update.notes if "notes" in paths else None,
                tags=list(update.tags) if "tags" in paths else None,
            )
        await self._scores.add_to(slot)
        return trainer_pb2.UpdateSlotResponse(slot=slot)

    async def DeleteSlot(
        self, request: trainer_pb2.DeleteSlotRequest, context: Context
    ) -> trainer_pb2.DeleteSlotResponse:
        """Removes a slot; the active one only with `force`, and none that a run needs."""
        async with self._runs.removing(*self._using(request.name)):
            await self._models.disk(self._models.slots.delete, request.name, force=request.force)
        return trainer_pb2.DeleteSlotResponse()

    async def ActivateSlot(
        self, request: trainer_pb2.ActivateSlotRequest, context: Context
    ) -> trainer_pb2.ActivateSlotResponse:
        """Makes a slot the one used where none is named."""
        slot = await self._models.disk(self._models.slots.activate, request.name)
        await self._scores.add_to(slot)
        return trainer_pb2.ActivateSlotResponse(slot=slot)

    async def ExportSlot(
        self, request: trainer_pb2.ExportSlotRequest, context: Context
    ) -> AsyncGenerator[trainer_pb2.ExportSlotResponse, None]:
        """Sends a slot: a header, then chunks."""
        format_ = request.format or slot_pb2.SLOT_FORMAT_SLOT
        if format_ == slot_pb2.SLOT_FORMAT_ONNX:
            raise NotSupported("ONNX is declared, but this server does not export it yet")
        if format_ == slot_pb2.SLOT_FORMAT_SB3:
            if request.weights_only:
                raise InvalidArgument.field("weights_only", "is for the SLOT format only")
            slot = await self._models.disk(self._models.slots.get, request.name)
            if not slot.algorithm:
                raise WrongState(
                    f"slot {slot.name} is a reference player, which no algorithm of "
                    "stable-baselines3 has made. Export it in the SLOT format, or train it on "
                    "with cem and export that"
                )
        content = await self._models.disk(
            self._models.slots.to_bundle, request.name, weights_only=request.weights_only
        )
        file_name = f"{request.name}.slot.zip"
        if format_ == slot_pb2.SLOT_FORMAT_SB3:
            content = await export_sb3(content)
            file_name = f"{request.name}.sb3.zip"
        header = trainer_pb2.ExportHeader(
            file_name=file_name,
            size_bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            format=format_,
        )
        yield trainer_pb2.ExportSlotResponse(header=header)
        for start in range(0, len(content), CHUNK_BYTES):
            yield trainer_pb2.ExportSlotResponse(chunk=content[start : start + CHUNK_BYTES])

    async def ImportSlot(
        self, requests: AsyncIterator[trainer_pb2.ImportSlotRequest], context: Context
    ) -> trainer_pb2.ImportSlotResponse:
        """Receives a slot: a header, then chunks. Nothing is stored before the last has come.

        A stable-baselines3 .zip becomes a bundle first, in a process of its own.
        """
        request = await anext(requests, None)
        if request is None or not request.HasField("header"):
            raise InvalidArgument.field("header", "must come first")
        header = request.header
        if self._receiving + header.size_bytes > _MOST_RECEIVING:
            raise TooMany(
                f"imports of {self._receiving >> 20} MiB are on their way already, and this server "
                f"takes {_MOST_RECEIVING >> 20} MiB at a time: try again when they are through"
            )
        self._receiving += header.size_bytes
        try:
            data = await _received(header, requests)
            if await asyncio.to_thread(is_sb3, data):
                data = await import_sb3(data)
            async with self._replacing(header.name, header.overwrite):
                slot = await self._models.disk(
                    self._models.slots.from_bundle, header.name, data, overwrite=header.overwrite
                )
        finally:
            self._receiving -= header.size_bytes
        await self._scores.add_to(slot)
        return trainer_pb2.ImportSlotResponse(slot=slot)

    def _replacing(self, slot: str, overwrite: bool) -> AbstractAsyncContextManager[None]:
        """Refuses to overwrite what a run has yet to read."""
        return self._runs.replacing_slot(slot) if overwrite else contextlib.nullcontext()

    @staticmethod
    def _using(slot: str) -> tuple[str, Callable[[run_pb2.Run], bool]]:
        """What the slot is called in a refusal, and whether a run uses it."""
        return f"slot {slot}", lambda run: uses.uses_slot(run, slot)


async def _received(
    header: trainer_pb2.ImportHeader, requests: AsyncIterator[trainer_pb2.ImportSlotRequest]
) -> bytes:
    """The bytes that `header` announced."""
    content = bytearray()
    async for request in requests:
        if request.HasField("header"):
            raise InvalidArgument.field("header", "comes once, first")
        content += request.chunk
        if len(content) > header.size_bytes:
            raise InvalidArgument.field("chunk", "more bytes came than the header says")
    if len(content) != header.size_bytes:
        raise InvalidArgument.field(
            "header.size_bytes", f"{len(content)} bytes came instead of {header.size_bytes}"
        )
    if hashlib.sha256(content).hexdigest() != header.sha256:
        raise DataLoss("the slot was damaged on its way: its SHA-256 is not the header's")
    return bytes(content)

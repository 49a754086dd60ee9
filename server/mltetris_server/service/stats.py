"""SystemService: the dashboard's totals."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp
from mltetris_api.v1 import system_pb2

from mltetris_server.runs.datasets import Datasets
from mltetris_server.runs.models import Models
from mltetris_server.storage.disk_use import disk_use

_LOOKED_UP_S: Final = 10.0
"""For how long it is believed what the disk was found to hold."""


class Dashboard:
    """What GetStats tells.

    Args:
        history: what the history knows of it.
        start_time: when the server started.
    """

    def __init__(
        self,
        *,
        history: Callable[[], Awaitable[system_pb2.GetStatsResponse]],
        models: Models,
        datasets: Datasets,
        data_dir: Path,
        start_time: Timestamp,
    ) -> None:
        self._history = history
        self._models = models
        self._datasets = datasets
        self._data_dir = data_dir
        self._start_time = start_time
        self._begun = time.monotonic()
        self._looking: asyncio.Task[system_pb2.DiskUse] | None = None
        self._looked = 0.0

    async def stats(self) -> system_pb2.GetStatsResponse:
        """Returns the totals as they are now; the disk's as they were ten seconds ago at most."""
        response = await self._history()
        slots = await self._models.disk(self._models.slots.list_slots)
        kept = [slot for slot in slots if not slot.reference]
        response.slots = len(kept)
        # Best first, those without an evaluation last.
        if kept and kept[0].HasField("evaluation"):
            response.best_slot.CopyFrom(kept[0])
        response.active_slot = next((slot.name for slot in slots if slot.active), "")
        response.datasets = await self._datasets.count()
        response.disk.CopyFrom(await self._disk_use())
        response.start_time.CopyFrom(self._start_time)
        response.uptime.FromMicroseconds(round((time.monotonic() - self._begun) * 1e6))
        return response

    async def _disk_use(self) -> system_pb2.DiskUse:
        """What is used on disk; whoever asks while it is looked up waits for the same answer."""
        now = time.monotonic()
        if self._looking is None or (self._looking.done() and now - self._looked > _LOOKED_UP_S):
            self._looked = now
            self._looking = asyncio.create_task(asyncio.to_thread(disk_use, self._data_dir))
        return await asyncio.shield(self._looking)

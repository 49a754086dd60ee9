"""SystemService: the server itself."""

from __future__ import annotations

import platform
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from google.protobuf.timestamp_pb2 import Timestamp
from mltetris_api.v1 import system_pb2

from mltetris_server.runs.manager import RunManager
from mltetris_server.runs.models import Models
from mltetris_server.service.handlers import Context


class SystemServicer:
    """Answers `mltetris.v1.SystemService`.

    Args:
        watchers: counts the open streams.
    """

    def __init__(
        self,
        *,
        manager: RunManager,
        models: Models,
        data_dir: Path,
        max_runs: int,
        watchers: Callable[[], int],
    ) -> None:
        self._manager = manager
        self._models = models
        self._data_dir = data_dir
        self._max_runs = max_runs
        self._watchers = watchers
        self._start_time = Timestamp()
        self._start_time.GetCurrentTime()

    async def GetServerInfo(
        self, request: system_pb2.GetServerInfoRequest, context: Context
    ) -> system_pb2.GetServerInfoResponse:
        """Returns version, data directory, limits and load."""
        return system_pb2.GetServerInfoResponse(
            version=metadata.version("mltetris"),
            start_time=self._start_time,
            data_dir=str(self._data_dir),
            max_runs=self._max_runs,
            live_runs=self._manager.live_count,
            queued_runs=self._manager.queued_count,
            active_slot=await self._models.active(),
            python_version=platform.python_version(),
            platform=platform.platform(),
            watchers=self._watchers(),
        )

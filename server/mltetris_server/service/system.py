"""SystemService: the server itself."""

from __future__ import annotations

import platform
from collections.abc import Awaitable, Callable, Sequence
from importlib import metadata
from pathlib import Path

from google.protobuf.timestamp_pb2 import Timestamp
from mltetris_api.v1 import system_pb2

from mltetris_server.runs.manager import RunManager
from mltetris_server.runs.models import Models
from mltetris_server.runs.policy.keeper import PolicyKeeper
from mltetris_server.service.access import caller_role
from mltetris_server.service.handlers import Context
from mltetris_server.service.machine import MachineMethods
from mltetris_server.service.measuring.sampler import Sampler
from mltetris_server.service.stats import Dashboard


class SystemServicer(MachineMethods):
    """Answers `mltetris.v1.SystemService`.

    Args:
        list_activity: as `ActivityStore.page`.
        dashboard: what GetStats tells.
        watchers: counts the open streams.
        tokens_required: whether callers need one.
        policy: makes the suggestions of PolicyService.
        sampler: measures the machine.
    """

    def __init__(
        self,
        *,
        manager: RunManager,
        models: Models,
        list_activity: Callable[..., Awaitable[tuple[Sequence[system_pb2.Activity], str]]],
        dashboard: Dashboard,
        data_dir: Path,
        max_runs: int,
        start_time: Timestamp,
        watchers: Callable[[], int],
        tokens_required: bool,
        policy: PolicyKeeper,
        sampler: Sampler,
    ) -> None:
        super().__init__(sampler)
        self._manager = manager
        self._models = models
        self._list_activity = list_activity
        self._dashboard = dashboard
        self._data_dir = data_dir
        self._max_runs = max_runs
        self._watchers = watchers
        self._tokens_required = tokens_required
        self._policy = policy
        self._start_time = start_time

    async def GetServerInfo(
        self, request: system_pb2.GetServerInfoRequest, context: Context
    ) -> system_pb2.GetServerInfoResponse:
        """Returns version, data directory, limits and load."""
        role = caller_role()
        return system_pb2.GetServerInfoResponse(
            version=metadata.version("mltetris"),
            start_time=self._start_time,
            data_dir=str(self._data_dir) if role != system_pb2.ROLE_VIEWER else "",
            max_runs=self._max_runs,
            live_runs=self._manager.live_count,
            queued_runs=self._manager.queued_count,
            active_slot=await self._models.known_active(),
            python_version=platform.python_version(),
            platform=platform.platform(),
            watchers=self._watchers(),
            role=role,
            tokens_required=self._tokens_required,
        )

    async def ListActivity(
        self, request: system_pb2.ListActivityRequest, context: Context
    ) -> system_pb2.ListActivityResponse:
        """Returns a page of the audit trail, newest first."""
        entries, token = await self._list_activity(
            run=request.run,
            slot=request.slot,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return system_pb2.ListActivityResponse(activity=entries, next_page_token=token)

    async def GetStats(
        self, request: system_pb2.GetStatsRequest, context: Context
    ) -> system_pb2.GetStatsResponse:
        """Returns the dashboard's totals."""
        return await self._dashboard.stats()

    async def ReloadPolicy(
        self, request: system_pb2.ReloadPolicyRequest, context: Context
    ) -> system_pb2.ReloadPolicyResponse:
        """Reads the active slot anew for PolicyService."""
        return system_pb2.ReloadPolicyResponse(policy=await self._policy.reload())

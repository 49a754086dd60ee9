"""TrainerService: what was."""

from __future__ import annotations

from mltetris_api.v1 import trainer_pb2

from mltetris_server.errors import NotSupported
from mltetris_server.service.handlers import Context


class HistoryMethods:
    """The methods of TrainerService that look back."""

    async def GetMetricHistory(
        self, request: trainer_pb2.GetMetricHistoryRequest, context: Context
    ) -> trainer_pb2.GetMetricHistoryResponse:
        """Returns a run's metrics, thinned."""
        raise NotSupported("not yet")

    async def ListEpisodes(
        self, request: trainer_pb2.ListEpisodesRequest, context: Context
    ) -> trainer_pb2.ListEpisodesResponse:
        """Returns a page of a run's games."""
        raise NotSupported("not yet")

    async def GetLineage(
        self, request: trainer_pb2.GetLineageRequest, context: Context
    ) -> trainer_pb2.GetLineageResponse:
        """Returns what something was made of."""
        raise NotSupported("not yet")

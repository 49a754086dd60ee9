"""TrainerService: what was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mltetris_api.v1 import dataset_pb2, run_pb2, trainer_pb2

from mltetris_server.errors import DataLoss, NotFound
from mltetris_server.runs.datasets import Datasets
from mltetris_server.runs.lineage import Lineage, Stores
from mltetris_server.runs.models import Models
from mltetris_server.runs.threads import Thread
from mltetris_server.service.handlers import Context
from mltetris_server.storage.history import History

_POINTS: Final = 500


class HistoryMethods:
    """The methods of TrainerService that look back.

    Args:
        history: only read here.
        look: the threads that read it.
    """

    def __init__(self, history: History, look: Thread, models: Models, datasets: Datasets) -> None:
        self._history = history
        self._look = look
        self._models = models
        self._datasets = datasets

    async def GetMetricHistory(
        self, request: trainer_pb2.GetMetricHistoryRequest, context: Context
    ) -> trainer_pb2.GetMetricHistoryResponse:
        """Returns a run's metrics, thinned."""
        points, total = await self._look(
            self._history.thinned_points,
            request.run,
            request.max_points if request.HasField("max_points") else _POINTS,
            request.after_sequence,
        )
        return trainer_pb2.GetMetricHistoryResponse(points=points, total_points=total)

    async def ListEpisodes(
        self, request: trainer_pb2.ListEpisodesRequest, context: Context
    ) -> trainer_pb2.ListEpisodesResponse:
        """Returns a page of a run's games."""
        episodes, token = await self._look(
            self._history.list_episodes,
            request.run,
            player=request.player,
            view=request.view,
            order_by=request.order_by,
            ascending=request.ascending,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return trainer_pb2.ListEpisodesResponse(episodes=episodes, next_page_token=token)

    async def GetLineage(
        self, request: trainer_pb2.GetLineageRequest, context: Context
    ) -> trainer_pb2.GetLineageResponse:
        """Returns what something was made of."""

        async def runs(ids: Sequence[str]) -> dict[str, run_pb2.Run]:
            return await self._look(self._history.get_runs, ids)

        async def maker(dataset: str) -> str:
            return await self._look(self._history.maker_of, dataset)

        async def dataset(name: str) -> tuple[dataset_pb2.Dataset, str] | None:
            try:
                return await self._datasets.described(name)
            except (NotFound, DataLoss):
                return None

        slots = await self._models.disk(self._models.slots.list_slots, "name")
        kind = request.WhichOneof("subject") or ""
        lineage = Lineage(Stores(slots, runs, dataset, maker))
        return await lineage.of(kind, getattr(request, kind))

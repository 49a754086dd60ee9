"""TrainerService: datasets."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

from mltetris_api.v1 import trainer_pb2

from mltetris_server.runs.datasets import Datasets
from mltetris_server.runs.manager import RunManager
from mltetris_server.service.handlers import Context
from mltetris_server.service.options import CHUNK_BYTES


class DatasetMethods:
    """The methods of TrainerService that keep datasets."""

    _manager: RunManager
    _datasets: Datasets

    async def ListDatasets(
        self, request: trainer_pb2.ListDatasetsRequest, context: Context
    ) -> trainer_pb2.ListDatasetsResponse:
        """Returns a page of datasets, newest first."""
        datasets, token = await self._datasets.page(request.page_size, request.page_token)
        return trainer_pb2.ListDatasetsResponse(datasets=datasets, next_page_token=token)

    async def GetDataset(
        self, request: trainer_pb2.GetDatasetRequest, context: Context
    ) -> trainer_pb2.GetDatasetResponse:
        """Returns one dataset."""
        return trainer_pb2.GetDatasetResponse(dataset=await self._datasets.get(request.name))

    async def ExportDataset(
        self, request: trainer_pb2.ExportDatasetRequest, context: Context
    ) -> AsyncGenerator[trainer_pb2.ExportDatasetResponse, None]:
        """Sends a dataset: a header, then chunks."""
        async with contextlib.aclosing(self._datasets.send(request.name, CHUNK_BYTES)) as parts:
            async for part in parts:
                if isinstance(part, bytes):
                    yield trainer_pb2.ExportDatasetResponse(chunk=part)
                else:
                    yield trainer_pb2.ExportDatasetResponse(header=part)

    async def DeleteDataset(
        self, request: trainer_pb2.DeleteDatasetRequest, context: Context
    ) -> trainer_pb2.DeleteDatasetResponse:
        """Removes a dataset that no run needs."""
        await self._manager.delete_dataset(request.name)
        return trainer_pb2.DeleteDatasetResponse()

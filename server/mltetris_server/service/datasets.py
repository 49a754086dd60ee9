"""TrainerService: datasets."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from mltetris_api.v1 import trainer_pb2

from mltetris_server.errors import NotSupported
from mltetris_server.service.handlers import Context


class DatasetMethods:
    """The methods of TrainerService that keep datasets."""

    async def ListDatasets(
        self, request: trainer_pb2.ListDatasetsRequest, context: Context
    ) -> trainer_pb2.ListDatasetsResponse:
        """Returns a page of datasets, newest first."""
        raise NotSupported("not yet")

    async def GetDataset(
        self, request: trainer_pb2.GetDatasetRequest, context: Context
    ) -> trainer_pb2.GetDatasetResponse:
        """Returns one dataset."""
        raise NotSupported("not yet")

    async def ExportDataset(
        self, request: trainer_pb2.ExportDatasetRequest, context: Context
    ) -> AsyncGenerator[trainer_pb2.ExportDatasetResponse, None]:
        """Sends a dataset: a header, then chunks."""
        raise NotSupported("not yet")
        yield

    async def DeleteDataset(
        self, request: trainer_pb2.DeleteDatasetRequest, context: Context
    ) -> trainer_pb2.DeleteDatasetResponse:
        """Removes a dataset that no run needs."""
        raise NotSupported("not yet")

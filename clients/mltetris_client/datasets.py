"""The part of `Trainer` that keeps datasets."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from mltetris_api.v1 import dataset_pb2, trainer_pb2

from mltetris_client.dataset_files import default_root, download_dataset
from mltetris_client.link import Link

_PAGE = 500


class DatasetCalls:
    """What a `Trainer` can do with datasets: games that simulations have played."""

    _link: Link

    def list_datasets(self, *, limit: int | None = None) -> list[dataset_pb2.Dataset]:
        """Datasets, newest first: all, or the first ``limit``."""
        request = trainer_pb2.ListDatasetsRequest()
        datasets: list[dataset_pb2.Dataset] = []
        while limit is None or len(datasets) < limit:
            request.page_size = _PAGE if limit is None else min(_PAGE, limit - len(datasets))
            response = self._link.unary(self._link.trainer.ListDatasets, request)
            datasets.extend(response.datasets)
            request.page_token = response.next_page_token
            if not response.next_page_token:
                break
        return datasets

    def get_dataset(self, name: str) -> dataset_pb2.Dataset:
        """One dataset.

        Raises:
            InvalidArgument, NotFound, DataLoss.
        """
        request = trainer_pb2.GetDatasetRequest(name=name)
        return self._link.unary(self._link.trainer.GetDataset, request).dataset

    def export_dataset(
        self,
        name: str,
        root: str | os.PathLike[str] | None = None,
        *,
        overwrite: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> Path:
        """Writes a dataset below a Minari root, whole or not at all, and returns its folder.

        Afterwards ``minari.load_dataset("mltetris/NAME-v0")`` opens it, if ``root`` is Minari's.

        Args:
            name: the dataset's name.
            root: the folder of all datasets; the dataset's is ``root/mltetris/NAME-v0``. None:
                Minari's own, the environment's MINARI_DATASETS_PATH or ~/.minari/datasets.
            overwrite: whether to replace what is there.
            progress: called with the bytes that have come and those there are.

        Raises:
            InvalidArgument, NotFound; DataLoss: damaged there or on the way;
            AlreadyExists: the folder does, and ``overwrite`` is False; OSError.
        """
        return download_dataset(
            self._link.trainer,
            name,
            default_root() if root is None else Path(root),
            overwrite=overwrite,
            progress=progress,
            address=self._link.address,
        )

    def delete_dataset(self, name: str) -> None:
        """Removes a dataset.

        Raises:
            InvalidArgument, NotFound; WrongState: a run that has not ended needs it.
        """
        request = trainer_pb2.DeleteDatasetRequest(name=name)
        self._link.unary(self._link.trainer.DeleteDataset, request)

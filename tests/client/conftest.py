"""Servers with small workers, which come up in a fraction of the real ones' time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import mltetris_client
import pytest
from mltetris_client import Trainer
from support.server import ServerProcess
from support.small import small_service


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One server for all tests of a module; they must not mind each other's runs and slots."""
    with small_service(tmp_path_factory.mktemp("shared") / "data", "--max-runs", "8") as server:
        yield server


@pytest.fixture
def own(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server for one test, to be killed and restarted."""
    with small_service(tmp_path / "data", "--grace", "10") as server:
        yield server


@pytest.fixture
def trainer(shared: ServerProcess) -> Iterator[Trainer]:
    with mltetris_client.connect(shared.address) as connection:
        yield connection

"""The command, and a server with small workers for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import mltetris_client
import pytest
from mltetris_client import Trainer
from support.cli import Cli
from support.server import ServerProcess
from support.small import small_service


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One server for all tests of a module; they must not mind each other's runs and slots."""
    with small_service(tmp_path_factory.mktemp("shared") / "data", "--max-runs", "8") as server:
        yield server


@pytest.fixture
def trainer(shared: ServerProcess) -> Iterator[Trainer]:
    with mltetris_client.connect(shared.address) as connection:
        yield connection


@pytest.fixture
def cli(shared: ServerProcess, tmp_path: Path) -> Cli:
    """The command, with the shared server."""
    return Cli(tmp_path, shared.address)


@pytest.fixture
def alone(tmp_path: Path) -> Cli:
    """The command, without a server."""
    return Cli(tmp_path)


@pytest.fixture
def small(tmp_path: Path) -> Cli:
    """The command, without a server; those it starts have small workers."""
    return Cli(tmp_path, module="support.small_cli")

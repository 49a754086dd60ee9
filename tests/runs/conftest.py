"""Fixtures for runs: servers whose workers are small."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from support.small_server import SmallServer, small_server

TESTS = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _find_small_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    path = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", f"{TESTS}{os.pathsep}{path}" if path else str(TESTS))


@pytest_asyncio.fixture
async def small(tmp_path: Path) -> AsyncIterator[SmallServer]:
    """A server with two places and small workers."""
    async with small_server(tmp_path / "data") as running:
        yield running

"""Fixtures for runs: servers whose workers are small."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from support.small_server import SmallServer, small_server


@pytest_asyncio.fixture
async def small(tmp_path: Path) -> AsyncIterator[SmallServer]:
    """A server with two places and small workers."""
    async with small_server(tmp_path / "data") as running:
        yield running

"""Fixtures for all rooms."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.server import ServerProcess

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A script's background jobs ignore it, and so would every process that a test interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A real server process on a free port, with an empty data directory of its own."""
    with ServerProcess(tmp_path / "data") as process:
        yield process

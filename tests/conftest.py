"""Fixtures for all rooms."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.server import ServerProcess

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A script's background jobs ignore it, and so would every process that a test interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)


# Processes that tests start, and those that they start, find `support` as the tests do.
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A real server process on a free port, with an empty data directory of its own."""
    with ServerProcess(tmp_path / "data") as process:
        yield process

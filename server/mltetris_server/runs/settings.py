"""Limits that all runs of a server share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MAX_QUEUED: Final = 1000
MAX_WATCHERS: Final = 1000


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How many runs may go, and how long anything may take; times in seconds."""

    max_runs: int
    """Runs that may be live at once, at least 1."""
    max_queued: int = MAX_QUEUED
    """Runs that may wait for a place, at least 1."""
    max_watchers: int = MAX_WATCHERS
    """Streams that may be open on one run at once, at least 1."""
    grace_s: float = 60.0
    """How long a worker goes on without a server, and a restarted server waits for its workers."""
    start_s: float = 60.0
    """From starting a worker's process to its attachment."""
    silence_s: float = 30.0
    """Without a word of a worker; it says something at least every second, but compiling code
    may hold all of its threads for some."""
    answer_s: float = 30.0
    """From a command to the worker's answer."""
    stop_s: float = 60.0
    """From Stop to the run's end: an evaluation and the last checkpoint fit in."""
    leave_s: float = 5.0
    """From the run's end to that of its process."""
    shutdown_s: float = 3.0
    """For all workers to write their last checkpoints when the server ends."""

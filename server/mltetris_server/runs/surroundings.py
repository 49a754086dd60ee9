"""What all runs of a server share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from mltetris_api.v1 import run_pb2

from mltetris_server.runs.events import RunEvents
from mltetris_server.runs.launchers import Launcher
from mltetris_server.runs.settings import RunSettings
from mltetris_server.runs.threads import Thread
from mltetris_server.storage.history import History


@dataclass(frozen=True)
class Surroundings:
    """The stores, the watchers, the launcher and the limits of a server's runs."""

    history: History
    disk: Thread
    """The one thread that touches the history."""
    events: RunEvents
    launcher: Launcher
    settings: RunSettings
    address: str
    """Where workers dial back."""
    checkpoints: Callable[[str], Awaitable[Sequence[run_pb2.CheckpointInfo]]]
    """Makes of a run's id the checkpoints it has, every byte of them checked."""
    take_spooled: Callable[[run_pb2.Run], Awaitable[run_pb2.CheckpointInfo | None]]
    """Stores what a run's worker left when its server was gone, if it left anything."""
    on_final: Callable[[str], None]
    """Is told the id of each run that has become final."""

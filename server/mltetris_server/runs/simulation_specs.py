"""What is asked of a simulation, checked beyond the contract's own rules, and filled in."""

from __future__ import annotations

import re
from typing import Final

from mltetris_api.v1 import run_pb2

from mltetris_server.player_names import player_name
from mltetris_server.storage import names

_GAMES: Final = 100
_LONGEST_NAME: Final = 64


def check(spec: run_pb2.SimulationSpec) -> None:
    """Raises InvalidArgument where no simulation can come of `spec`, whoever plays."""
    if spec.dataset:
        names.check_dataset_name(spec.dataset, field="simulation.dataset")


def resolved(
    spec: run_pb2.SimulationSpec, player: run_pb2.Player, run_id: str
) -> run_pb2.SimulationSpec:
    """Returns `spec` with its player and its dataset named, and defaults that need no worker."""
    full = run_pb2.SimulationSpec()
    full.CopyFrom(spec)
    full.player.CopyFrom(player)
    if not full.HasField("games") and not full.HasField("placements"):
        full.games = _GAMES
    full.observation = full.observation or run_pb2.OBSERVATION_BCTS
    if not full.dataset:
        suffix = run_id.rpartition("-")[2]
        name = re.sub("[^A-Za-z0-9_-]", "-", player_name(player))
        full.dataset = f"{name[: _LONGEST_NAME - len(suffix) - 1]}-{suffix}"
    return full

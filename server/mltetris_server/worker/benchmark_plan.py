"""From a benchmark's spec to what is played: every default filled in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mltetris_api.v1.run_pb2 import BenchmarkSpec

from mltetris_server.worker.cores import available_cores
from mltetris_server.worker.specs import draw_seed, game_spec, plan_game


def plan_benchmark(asked: BenchmarkSpec, first_game: Mapping[str, Any]) -> BenchmarkSpec:
    """The benchmark's spec with every default filled in.

    Args:
        asked: as the server sent it: what a suite decides stands in it.
        first_game: the game of the first player's model, for what is left open.

    Raises:
        SpecError: the game asked for cannot be.
    """
    spec = BenchmarkSpec()
    spec.CopyFrom(asked)
    spec.game.CopyFrom(game_spec(plan_game(asked.game, first_game)))
    if not asked.HasField("seed"):
        spec.seed = draw_seed()
    if not asked.HasField("threads"):
        spec.threads = available_cores()
    return spec

"""What came of a benchmark, as the contract has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from mltetris_api.v1.benchmark_pb2 import (
    BenchmarkResult,
    PlayerDifference,
    PlayerResult,
    ScoreKind,
)

from mltetris_server.learning.benchmark.figures import Difference, PlayerFigures


def result_message(
    suite: str,
    score: str,
    players: Sequence[tuple[str, str]],
    figures: Sequence[PlayerFigures],
    differences: Sequence[Difference],
    *,
    complete: bool,
) -> BenchmarkResult:
    """The message; whether it is official, the server says.

    Args:
        suite: the suite's name; empty: none.
        score: what a score is: `mean_lines` or `sprint_efficiency`.
        players: name and fingerprint of each.
        figures: how each did, in the same order.
        differences: every two of them.
        complete: whether every game has been played.
    """
    return BenchmarkResult(
        suite=suite,
        score_kind=ScoreKind.Value(f"SCORE_KIND_{score.upper()}"),
        players=[
            PlayerResult(name=name, sha256=sha256, **asdict(figure))
            for (name, sha256), figure in zip(players, figures, strict=True)
        ],
        differences=[
            PlayerDifference(
                first=players[difference.first][0],
                second=players[difference.second][0],
                mean=difference.mean,
                low=difference.low,
                high=difference.high,
                games=difference.games,
                wins=difference.wins,
                ties=difference.ties,
            )
            for difference in differences
        ],
        complete=complete,
    )

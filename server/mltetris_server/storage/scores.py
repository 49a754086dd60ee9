"""Scores of official benchmarks in the history's database: which model got which, and when."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from mltetris_api.v1 import benchmark_pb2, run_pb2
from sqlalchemy import Connection, Engine, func, insert, select

from mltetris_server.storage import paging
from mltetris_server.storage.database import translated
from mltetris_server.storage.schema import benchmark_scores

_AT_ONCE: Final = 500
"""Models asked for in one query: SQLite does not take any number of parameters."""

Newest = Mapping[str, list[benchmark_pb2.BenchmarkScore]]
"""The newest score in each suite, in the order of the suites' names, by a model's SHA-256."""


def record(connection: Connection, number: int, run: run_pb2.Run) -> None:
    """Store the scores of a run that is an official benchmark, one for each player.

    Args:
        connection: in the transaction in which the run comes to its end.
        number: the run's, in the history.
        run: as it is then.
    """
    result = run.benchmark_result
    if run.state != run_pb2.RUN_STATE_SUCCEEDED or not result.official:
        return
    rows = []
    for player in result.players:
        score = benchmark_pb2.BenchmarkScore(
            suite=result.suite,
            run=run.id,
            player=player.name,
            sha256=player.sha256,
            score=player.score,
            score_error=player.score_error,
            score_kind=result.score_kind,
            mean_lines=player.mean_lines,
            games=player.games,
            cut_off_games=player.cut_off_games,
            create_time=run.end_time,
        )
        rows.append(
            {
                "run_number": number,
                "suite": score.suite,
                "player": score.player,
                "sha256": score.sha256,
                "score": score.SerializeToString(),
            }
        )
    if rows:
        connection.execute(insert(benchmark_scores), rows)


class ScoreStore:
    """The scores, newest first. They go with their runs. Errors are those of `History`.

    Args:
        engine: of the history's database.
        path: its file, for messages.
    """

    def __init__(self, engine: Engine, path: Path) -> None:
        self._engine = engine
        self._path = path

    def page(
        self, *, suite: str = "", player: str = "", page_size: int = 0, page_token: str = ""
    ) -> tuple[list[benchmark_pb2.BenchmarkScore], str]:
        """A page of scores, newest first, and the token of the next page, empty on the last.

        ``suite`` and ``player``: only those. ``page_size`` 0 is 50. Raises InvalidArgument for a
        token of another list.
        """
        table = benchmark_scores.c
        length = paging.page_length(page_size)
        filters = f"scores:{zlib.crc32(repr((suite, player)).encode()):x}"
        query = select(table.number, table.score).order_by(table.number.desc()).limit(length + 1)
        if suite:
            query = query.where(table.suite == suite)
        if player:
            query = query.where(table.player == player)
        if page_token:
            (before,) = paging.read_token(page_token, filters, (int,))
            query = query.where(table.number < before)
        with translated(self._path), self._engine.begin() as connection:
            rows = connection.execute(query).all()
            scores = [benchmark_pb2.BenchmarkScore.FromString(row.score) for row in rows[:length]]
        if len(rows) <= length:
            return scores, ""
        return scores, paging.make_token(filters, [rows[length - 1].number])

    def newest(self, models: Iterable[str]) -> Newest:
        """The newest scores of ``models``, which are SHA-256s of manifests, hex."""
        table = benchmark_scores.c
        found: dict[str, list[benchmark_pb2.BenchmarkScore]] = {}
        asked = sorted(set(models))
        with translated(self._path), self._engine.begin() as connection:
            for start in range(0, len(asked), _AT_ONCE):
                numbers = (
                    select(func.max(table.number))
                    .where(table.sha256.in_(asked[start : start + _AT_ONCE]))
                    .group_by(table.sha256, table.suite)
                )
                query = select(table.score).where(table.number.in_(numbers)).order_by(table.suite)
                for blob in connection.scalars(query):
                    score = benchmark_pb2.BenchmarkScore.FromString(blob)
                    found.setdefault(score.sha256, []).append(score)
        return found

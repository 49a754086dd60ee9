"""What becomes of a history that grows too long: older metric points and episodes are thinned.

Points go by their levels (levels.py), so that every peak that a curve of that length can show
stays. The work is cut into small transactions, so that whoever stores something waits for some
milliseconds at most. What is freed is used again; the file itself does not shrink.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from mltetris_api.v1 import run_pb2
from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Row,
    and_,
    delete,
    func,
    select,
    update,
)

from mltetris_server.storage import levels
from mltetris_server.storage.database import translated
from mltetris_server.storage.listing import FINAL_STATES
from mltetris_server.storage.schema import episodes, metric_points, runs

POINTS_A_RUN: Final = 10_000
POINTS: Final = 10_000_000
EPISODES_A_RUN: Final = 10_000
LEAST_POINTS: Final = 500
"""Points that a run keeps in any case."""
_BEST_EPISODES: Final = 100
"""Episodes of a run with the most lines, which stay."""
_SLACK: Final = 1.1
"""Work begins where there is so much more than allowed, so that it is not begun for each point."""
_BATCH: Final = 400
"""Rows removed in one transaction."""

Step: TypeAlias = Callable[[Connection], None]
"""What is done in one transaction."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a history is kept."""

    points_a_run: int = POINTS_A_RUN
    """Metric points of one run, at least 1,000."""
    points: int = POINTS
    """Metric points of all runs together; runs that have ended give theirs, the oldest first, but
    for ``LEAST_POINTS`` each."""
    episodes_a_run: int = EPISODES_A_RUN
    """Episodes of one run, at least 200; a benchmark keeps all of its own."""


class Retention:
    """Keeps a history within its limits, a small step at a time. Errors are those of `History`.

    Args:
        engine: of the history's database, to write.
        reader: of the same, to read.
        path: its file, for messages.
    """

    def __init__(self, engine: Engine, reader: Engine, path: Path, limits: Limits) -> None:
        self._engine = engine
        self._reader = reader
        self._path = path
        self._limits = limits

    def plan(self) -> deque[Step]:
        """What is to be done next, of one run: steps for `do`, none where nothing has too much."""
        with translated(self._path), self._reader.begin() as connection:
            behind = runs.c.last_point - runs.c.leveled >= 1 << levels.LEAST
            if run := _first(connection, behind):
                return deque([_leveling(run.number)])
            limit = self._limits.points_a_run
            if run := _first(connection, runs.c.points > limit * _SLACK):
                newest = _newest(connection, run.number, limit // 2)
                return _thinning(connection, run, newest, limit // 4)
            limit = self._limits.episodes_a_run
            others = runs.c.kind != run_pb2.RUN_KIND_BENCHMARK
            if run := _first(connection, and_(others, runs.c.episodes > limit * _SLACK)):
                return _forgetting(connection, run.number, limit)
            total = connection.scalar(select(func.sum(runs.c.points)).where(_LISTED)) or 0
            ended = runs.c.state.in_(sorted(FINAL_STATES))
            if total > self._limits.points and (
                run := _first(connection, and_(ended, runs.c.points > LEAST_POINTS * _SLACK))
            ):
                return _thinning(connection, run, levels.ENDLESS, LEAST_POINTS)
        return deque()

    def do(self, step: Step) -> None:
        """Do a step, in one small transaction; of a run that is gone by now, nothing."""
        with translated(self._path), self._engine.begin() as connection:
            step(connection)


_LISTED: Final = runs.c.state.in_(list(run_pb2.RunState.values()))
"""Every run, by the index of lists alone."""


def _first(connection: Connection, condition: ColumnElement[bool]) -> Row[int, int, int] | None:
    """Number, last point and last leveled point of the oldest run that is so."""
    query = select(runs.c.number, runs.c.last_point, runs.c.leveled).where(_LISTED, condition)
    return connection.execute(query.order_by(runs.c.number).limit(1)).one_or_none()


def _leveling(number: int) -> Step:
    def step(connection: Connection) -> None:
        query = select(runs.c.leveled, runs.c.last_point).where(runs.c.number == number)
        if row := connection.execute(query).one_or_none():
            leveled = levels.raise_levels(connection, number, row.leveled, row.last_point)
            connection.execute(update(runs).where(runs.c.number == number).values(leveled=leveled))

    return step


def _newest(connection: Connection, number: int, count: int) -> int:
    """The sequence before the run's newest ``count`` points."""
    column = metric_points.c
    query = select(column.sequence).where(column.run_number == number)
    return connection.scalar(query.order_by(column.sequence.desc()).offset(count).limit(1)) or 0


def _thinning(
    connection: Connection, run: Row[int, int, int], until: int, most: int
) -> deque[Step]:
    """Leaves at most ``most`` points, as near as levels come to it, of those up to ``until``."""
    end = min(until, run.leveled)
    column = metric_points.c
    query = select(column.sequence, column.level).where(
        column.run_number == run.number, column.sequence <= end, column.sequence < run.last_point
    )
    points = [(row.sequence, row.level) for row in connection.execute(query)]
    doomed: list[int] = []
    for level in range(levels.LEAST, max(end.bit_length(), levels.LEAST + 1)):
        doomed = [
            sequence
            for part in levels.parts(end, level)
            for sequence, its_level in _within(points, part)
            if its_level < part.level
        ]
        if len(points) - len(doomed) <= most:
            break
    return deque(
        _removal(run.number, doomed[start : start + _BATCH])
        for start in range(0, len(doomed), _BATCH)
    )


def _within(points: list[tuple[int, int]], part: levels.Part) -> list[tuple[int, int]]:
    """Those of ``points``, which are in order, that are in ``part``."""
    return points[bisect_left(points, (part.low, 0)) : bisect_left(points, (part.high + 1, 0))]


def _removal(number: int, sequences: list[int]) -> Step:
    def step(connection: Connection) -> None:
        column = metric_points.c
        removed = connection.execute(
            delete(metric_points).where(column.run_number == number, column.sequence.in_(sequences))
        ).rowcount
        left = runs.c.points - removed
        connection.execute(update(runs).where(runs.c.number == number).values(points=left))

    return step


def _forgetting(connection: Connection, number: int, limit: int) -> deque[Step]:
    """Leaves the newest episodes and those with the most lines."""
    mine = episodes.c.run_number == number
    oldest_kept = connection.scalar(
        select(episodes.c.id)
        .where(mine)
        .order_by(episodes.c.id.desc())
        .offset(limit - _BEST_EPISODES - 1)
        .limit(1)
    )
    by_lines = (episodes.c.lines.desc(), episodes.c.id.desc())
    best = set(
        connection.scalars(
            select(episodes.c.id).where(mine).order_by(*by_lines).limit(_BEST_EPISODES)
        )
    )
    old = connection.scalars(select(episodes.c.id).where(mine, episodes.c.id < oldest_kept))
    doomed = [number for number in old if number not in best]
    return deque(
        _dropping(number, doomed[start : start + _BATCH]) for start in range(0, len(doomed), _BATCH)
    )


def _dropping(number: int, ids: list[int]) -> Step:
    def step(connection: Connection) -> None:
        removed = connection.execute(delete(episodes).where(episodes.c.id.in_(ids))).rowcount
        left = runs.c.episodes - removed
        connection.execute(update(runs).where(runs.c.number == number).values(episodes=left))

    return step

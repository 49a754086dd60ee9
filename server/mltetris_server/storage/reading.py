"""Reading the history, beside whoever writes it."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mltetris_api.v1 import run_pb2, system_pb2
from sqlalchemy import ColumnElement, Connection, Engine, func, select, tuple_

from mltetris_server import errors
from mltetris_server.storage import levels, paging, totals
from mltetris_server.storage.database import translated
from mltetris_server.storage.listing import RunQuery, unfinished
from mltetris_server.storage.schema import (
    episodes,
    metric_points,
    run_sources,
    runs,
    state_changes,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
_CHOICE = 200
"""Points read to choose from; of a history that is to have more, its levels decide alone, for
reading points is what takes the time."""
_MOST_SEQUENCE = 2**63 - 1
_MOST_PAGE_BYTES = 3 << 20
"""Of the runs of one page, beyond which it ends: a message of gRPC has 4 MiB at most."""


@dataclass(frozen=True, slots=True)
class StateChange:
    """A run came into a state."""

    time: datetime
    state: run_pb2.RunState.ValueType
    reason: run_pb2.RunReason.ValueType


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """How a restarted server knows a run's worker again.

    ``pid`` is 0 before there is one; ``last_event`` is the number of its last event stored here.
    """

    secret_hash: bytes
    pid: int
    last_event: int


class HistoryReader:
    """What a history has been asked for, from any thread.

    Every method sees what was committed before it was called. Methods that take a run's id raise
    NotFound for an unknown one, and any of them DataLoss where the file is damaged.

    Args:
        engine: of `open_reader`.
        path: the history's file, for messages.
    """

    def __init__(self, engine: Engine, path: Path) -> None:
        self._reader = engine
        self._path = path

    def get_run(self, run_id: str) -> run_pb2.Run | None:
        """The run, or None."""
        return self._one_run(runs.c.id == run_id)

    def get_runs(self, ids: Sequence[str]) -> dict[str, run_pb2.Run]:
        """Those of the runs that there are, by id."""
        query = select(runs.c.id, runs.c.run).where(runs.c.id.in_(ids))
        with self._reading() as connection:
            return {row.id: run_pb2.Run.FromString(row.run) for row in connection.execute(query)}

    def maker_of(self, dataset: str) -> str:
        """The id of the last simulation that was to make the dataset; empty: there is none."""
        query = (
            select(runs.c.id)
            .join(run_sources, run_sources.c.run_number == runs.c.number)
            .where(run_sources.c.kind == "dataset", run_sources.c.name == dataset)
            .where(runs.c.kind == run_pb2.RUN_KIND_SIMULATION)
            .order_by(runs.c.number.desc())
            .limit(1)
        )
        with self._reading() as connection:
            return connection.scalar(query) or ""

    def find_by_request_id(self, request_id: str) -> run_pb2.Run | None:
        """The run that was made for this key, or None; None for the empty key."""
        return self._one_run(runs.c.request_id == request_id) if request_id else None

    def worker(self, run_id: str) -> WorkerRecord:
        """How to know the run's worker."""
        query = select(runs.c.secret_hash, runs.c.worker_pid, runs.c.last_event)
        with self._reading() as connection:
            row = connection.execute(query.where(runs.c.id == run_id)).one_or_none()
        if row is None:
            raise unknown(run_id)
        return WorkerRecord(*row)

    def last_sequence(self, run_id: str) -> int:
        """The number of the run's last worker event stored; 0 before the first."""
        return self.worker(run_id).last_event

    def unfinished_runs(self) -> list[run_pb2.Run]:
        """Every run that is not final, oldest first."""
        query = select(runs.c.run).where(unfinished()).order_by(runs.c.number)
        with self._reading() as connection:
            return [run_pb2.Run.FromString(blob) for blob in connection.scalars(query)]

    def list_runs(
        self,
        kinds: Collection[run_pb2.RunKind.ValueType] = (),
        states: Collection[run_pb2.RunState.ValueType] = (),
        page_size: int = 0,
        page_token: str = "",
    ) -> tuple[list[run_pb2.Run], str]:
        """A page of runs, newest first, and the token of the next page, empty on the last.

        No kinds, or UNSPECIFIED among them: every kind; likewise states. ``page_size`` 0 is 50.
        Raises InvalidArgument for a token of another list.
        """
        query = RunQuery(kinds=kinds, states=states)
        page, token, _ = self.find_runs(query, page_size, page_token)
        return page, token

    def find_runs(
        self, query: RunQuery, page_size: int = 0, page_token: str = ""
    ) -> tuple[list[run_pb2.Run], str, int]:
        """A page of what ``query`` asks for, the next page's token, and how many match in all.

        Large runs make a page shorter than ``page_size``.
        """
        length = paging.page_length(page_size)
        with self._reading() as connection:
            keys = connection.execute(query.page(page_token, length + 1)).all()
            total = connection.scalar(query.matching()) or 0
            # The blobs of what is shown alone.
            numbers = [row.number for row in keys[:length]]
            chosen = select(runs.c.number, runs.c.run).where(runs.c.number.in_(numbers))
            blobs = {row.number: row.run for row in connection.execute(chosen)}
            page: list[run_pb2.Run] = []
            size = 0
            for number in numbers:
                size += len(blobs[number])
                if page and size > _MOST_PAGE_BYTES:
                    break
                page.append(run_pb2.Run.FromString(blobs[number]))
        if len(keys) <= len(page):
            return page, "", total
        last = keys[len(page) - 1]
        return page, query.token(last.key, last.number), total

    def points(self, run_id: str, after: int = 0, limit: int = 500) -> list[run_pb2.MetricPoint]:
        """The run's points with a sequence above ``after``, at most ``limit``, in order."""
        with self._reading() as connection:
            query = (
                select(metric_points.c.point)
                .where(
                    metric_points.c.run_number == number_of(connection, run_id),
                    # More than SQLite can be asked for is more than any point has.
                    metric_points.c.sequence > min(after, _MOST_SEQUENCE),
                )
                .order_by(metric_points.c.sequence)
                .limit(limit)
            )
            return [run_pb2.MetricPoint.FromString(blob) for blob in connection.scalars(query)]

    def thinned_points(
        self, run_id: str, most: int, after: int = 0
    ) -> tuple[list[run_pb2.MetricPoint], int]:
        """At most ``most`` (10 or more) of the points above ``after``, and how many there are.

        They are the first, the last, and the extremes of every curve over stretches between.
        """
        after = min(after, _MOST_SEQUENCE)
        column = metric_points.c
        with self._reading() as connection:
            query = select(runs.c.number, runs.c.leveled).where(runs.c.id == run_id)
            row = connection.execute(query).one_or_none()
            if row is None:
                raise unknown(run_id)
            mine = (column.run_number == row.number, column.sequence > after)
            counts = connection.execute(
                select(column.level, func.count().label("points"))
                .where(*mine)
                .group_by(column.level)
            ).all()
            total = sum(row.points for row in counts)
            read = max(most, min(2 * most, _CHOICE))
            level = _level({row.level: row.points for row in counts}, read)
            points = [
                run_pb2.MetricPoint.FromString(blob)
                for part in levels.parts(row.leveled, level)
                for blob in connection.scalars(
                    select(column.point)
                    .where(
                        *mine,
                        column.sequence.between(part.low, part.high),
                        column.level >= part.level,
                    )
                    .order_by(column.sequence)
                )
            ]
            if level:
                points = _with_ends(connection, row.number, after, points)
        if len(points) <= most:
            return points, total
        kept = levels.thinned([levels.sample(point) for point in points], most, level)
        return [point for point in points if point.sequence in kept], total

    def episodes(self, run_id: str, limit: int = 100) -> list[run_pb2.Episode]:
        """The run's last ``limit`` episodes, in the order they were stored."""
        with self._reading() as connection:
            query = (
                select(episodes.c.episode)
                .where(episodes.c.run_number == number_of(connection, run_id))
                .order_by(episodes.c.id.desc())
                .limit(limit)
            )
            blobs = connection.scalars(query).all()
            return [run_pb2.Episode.FromString(blob) for blob in reversed(blobs)]

    def list_episodes(
        self,
        run_id: str,
        *,
        player: str = "",
        view: int = 0,
        order_by: str = "",
        ascending: bool = False,
        page_size: int = 0,
        page_token: str = "",
    ) -> tuple[list[run_pb2.Episode], str]:
        """A page of the run's episodes, and the token of the next page, empty on the last.

        ``order_by`` is "time" (as they were stored) or "lines". Raises InvalidArgument for another
        one, and for a token of another list.
        """
        if order_by not in ("", "time", "lines"):
            raise errors.InvalidArgument.field("order_by", 'one of "time" and "lines"')
        length = paging.page_length(page_size)
        by_lines = order_by == "lines"
        asked = (run_id, player, view, by_lines, ascending)
        list_name = f"episodes:{zlib.crc32(repr(asked).encode()):x}"
        column = episodes.c
        keys = [column.lines, column.id] if by_lines else [column.id]
        with self._reading() as connection:
            query = select(column.id, column.lines, column.episode)
            query = query.where(column.run_number == number_of(connection, run_id))
            if player:
                query = query.where(column.player == player)
            if view:
                query = query.where(column.view == view)
            if page_token:
                at = paging.read_token(page_token, list_name, (int,) * len(keys))
                query = query.where(_beyond(keys, at, ascending))
            query = query.order_by(*((k.asc() if ascending else k.desc()) for k in keys))
            rows = connection.execute(query.limit(length + 1)).all()
            page = [run_pb2.Episode.FromString(row.episode) for row in rows[:length]]
        if len(rows) <= length:
            return page, ""
        last = rows[length - 1]
        return page, paging.make_token(list_name, [last.lines, last.id] if by_lines else [last.id])

    def state_changes(self, run_id: str) -> list[StateChange]:
        """Every state the run was in, in order, the first included."""
        table = state_changes.c
        with self._reading() as connection:
            query = (
                select(table.time_us, table.state, table.reason)
                .where(table.run_number == number_of(connection, run_id))
                .order_by(table.id)
            )
            rows = connection.execute(query).all()
        return [
            StateChange(
                EPOCH + row.time_us * MICROSECOND,
                run_pb2.RunState.ValueType(row.state),
                run_pb2.RunReason.ValueType(row.reason),
            )
            for row in rows
        ]

    def stats(self) -> system_pb2.GetStatsResponse:
        """What the history knows of the dashboard: runs, placements, games, metric points."""
        every = runs.c.state.in_(list(run_pb2.RunState.values()))
        counts = (
            select(runs.c.kind, runs.c.state, func.count(), func.sum(runs.c.points))
            .where(every)
            .group_by(runs.c.state, runs.c.kind)
            .order_by(runs.c.state, runs.c.kind)
        )
        with self._reading() as connection:
            rows = connection.execute(counts).all()
            sums = totals.read(connection)
        return system_pb2.GetStatsResponse(
            runs=sorted(
                (
                    system_pb2.RunCount(kind=kind, state=state, count=count)
                    for kind, state, count, _ in rows
                ),
                key=lambda counted: (counted.kind, counted.state),
            ),
            metric_points=sum(points for *_, points in rows),
            placements=sums["placements"],
            games=sums["games"],
        )

    def _one_run(self, condition: ColumnElement[bool]) -> run_pb2.Run | None:
        with self._reading() as connection:
            blob = connection.scalar(select(runs.c.run).where(condition))
            return None if blob is None else run_pb2.Run.FromString(blob)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with translated(self._path), self._reader.begin() as connection:
            yield connection


def number_of(connection: Connection, run_id: str) -> int:
    """The number of a run. Raises NotFound."""
    number = connection.scalar(select(runs.c.number).where(runs.c.id == run_id))
    if number is None:
        raise unknown(run_id)
    return int(number)


def unknown(run_id: str) -> errors.NotFound:
    """What is said of a run that there is not."""
    return errors.NotFound(f"there is no run {run_id}")


def _level(counts: dict[int, int], most: int) -> int:
    """The lowest level whose points, with those above it, are at most ``most``."""
    left = sum(counts.values())
    if left <= most:
        return 0
    left -= counts.get(0, 0)
    level = levels.LEAST
    while left > most and level < levels.FIRST - 1:
        left -= counts.get(level, 0)
        level += 1
    return level


def _with_ends(
    connection: Connection, number: int, after: int, points: list[run_pb2.MetricPoint]
) -> list[run_pb2.MetricPoint]:
    """``points`` with the first and the last beyond ``after``, where they are not among them."""
    column = metric_points.c
    query = select(column.point).where(column.run_number == number, column.sequence > after)
    known = {point.sequence for point in points}
    first, last = (
        [p for p in ends if p.sequence not in known]
        for ends in (
            [
                run_pb2.MetricPoint.FromString(blob)
                for blob in connection.scalars(query.order_by(order).limit(1))
            ]
            for order in (column.sequence.asc(), column.sequence.desc())
        )
    )
    return [*first, *points, *last]


def _beyond(
    keys: Sequence[ColumnElement[int]], at: Sequence[object], ascending: bool
) -> ColumnElement[bool]:
    """What follows the position ``at`` of the sort ``keys``."""
    left = tuple_(*keys)
    right = tuple_(*at)
    return left > right if ascending else left < right

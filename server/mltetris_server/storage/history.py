"""The history: every run with its metric points, episodes and state changes, in SQLite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from mltetris_api.v1 import run_pb2
from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from mltetris_server import errors
from mltetris_server.storage import levels, names, scores, totals
from mltetris_server.storage.activity import ActivityStore
from mltetris_server.storage.database import open_engine, open_reader, translated
from mltetris_server.storage.listing import FINAL_STATES
from mltetris_server.storage.reading import (
    EPOCH,
    MICROSECOND,
    HistoryReader,
    StateChange,
    WorkerRecord,
    number_of,
    unknown,
)
from mltetris_server.storage.retention import Limits, Retention
from mltetris_server.storage.run_columns import columns, sources
from mltetris_server.storage.schema import (
    episodes,
    metric_points,
    run_sources,
    runs,
    state_changes,
)
from mltetris_server.storage.scores import ScoreStore

__all__ = ["FINAL_STATES", "History", "StateChange", "WorkerEvent", "WorkerRecord"]


@dataclass(frozen=True, slots=True)
class WorkerEvent:
    """One event of a worker that must not be lost: its number, and what of it is kept."""

    sequence: int
    points: Sequence[run_pb2.MetricPoint] = ()
    episodes: Sequence[run_pb2.Episode] = ()
    begins_anew: bool = False
    """Whether the run plays from its first game again: the episodes before it go."""


class History(HistoryReader):
    """The history in one SQLite file. What a method stored is on the device when it returns.

    What writes does so in order, in a transaction of its own; what reads does not wait for it.
    Methods that take a run's id raise NotFound for an unknown one. Any of them raises DataLoss
    where the file is damaged and Unavailable where the disk refuses; a failed call changes nothing.
    """

    def __init__(self, path: Path, limits: Limits | None = None) -> None:
        """Open the history, made or brought to the newest schema where needed.

        Raises WrongState where a newer mlTetris wrote it.
        """
        self._engine = open_engine(path)
        super().__init__(open_reader(path), path)
        self.activity = ActivityStore(self._engine, self._reader, path)
        """Who did what."""
        self.scores = ScoreStore(self._reader, path)
        """What official benchmarks have measured."""
        self.retention = Retention(self._engine, self._reader, path, limits or Limits())
        """What becomes of what is too much."""

    def close(self) -> None:
        """Close the file. Closing twice is allowed."""
        # Whoever closes last takes the write-ahead log into the file: that has to be one who may.
        self._reader.dispose()
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def create_run(
        self, run: run_pb2.Run, *, request_id: str = "", secret_hash: bytes = b""
    ) -> None:
        """Store a new run. Raises AlreadyExists where its id or ``request_id`` is taken."""
        names.check_run_id(run.id)
        counted = totals.at_first(run)
        with self._transaction() as connection:
            try:
                result = connection.execute(
                    insert(runs).values(
                        id=run.id,
                        request_id=request_id or None,
                        create_time_us=run.create_time.ToMicroseconds(),
                        secret_hash=secret_hash,
                        worker_pid=0,
                        last_event=0,
                        counted_placements=counted.placements,
                        counted_games=counted.games,
                        **columns(run),
                    )
                )
            except IntegrityError:
                raise errors.AlreadyExists(
                    f"there is a run {run.id} already, or one of the same request_id"
                ) from None
            made_of = [
                {"run_number": result.lastrowid, "kind": kind, "name": name}
                for kind, name in sources(run)
            ]
            if made_of:
                connection.execute(insert(run_sources), made_of)
            _add_state_change(connection, result.lastrowid, run)

    def save_run(self, run: run_pb2.Run) -> None:
        """Store the run as it is now; a change of its state or reason is recorded with the time."""
        with self._transaction() as connection:
            _save_run(connection, run)

    def set_worker(
        self,
        run_id: str,
        *,
        pid: int | None = None,
        secret_hash: bytes | None = None,
        last_event: int | None = None,
    ) -> None:
        """Record how to know the run's worker; what is None stays as it is."""
        values: dict[str, int | bytes] = {}
        if pid is not None:
            values["worker_pid"] = pid
        if secret_hash is not None:
            values["secret_hash"] = secret_hash
        if last_event is not None:
            values["last_event"] = last_event
        with self._transaction() as connection:
            number = number_of(connection, run_id)
            if values:
                connection.execute(update(runs).where(runs.c.number == number).values(**values))

    def append(
        self, run_id: str, events: Sequence[WorkerEvent], *, run: run_pb2.Run | None = None
    ) -> int:
        """Store a worker's events, and the run as they leave it, in one transaction.

        Events that are stored already (the worker sent them again) are passed over. Returns the
        number of the last event stored, which may be acknowledged.
        """
        with self._transaction() as connection:
            query = select(runs.c.number, runs.c.last_event).where(runs.c.id == run_id)
            row = connection.execute(query).one_or_none()
            if row is None:
                raise unknown(run_id)
            number, last = int(row.number), int(row.last_event)
            fresh = []
            for event in events:
                if event.sequence > last:
                    fresh.append(event)
                    last = event.sequence
            if run is not None:
                _save_run(connection, run)
            _add_points(connection, number, run_id, fresh, run)
            _add_episodes(connection, number, fresh)
            if fresh:
                connection.execute(
                    update(runs).where(runs.c.number == number).values(last_event=last)
                )
        return last

    def delete_run(self, run_id: str) -> None:
        """Remove the run with everything that is stored of it."""
        with self._transaction() as connection:
            number = number_of(connection, run_id)
            connection.execute(delete(runs).where(runs.c.number == number))

    def drop_episodes(self, run_id: str, most: int = 0) -> int:
        """Remove the run's oldest ``most`` episodes (0: all of them); returns how many."""
        with self._transaction() as connection:
            number = number_of(connection, run_id)
            doomed = select(episodes.c.id).where(episodes.c.run_number == number)
            if most:
                doomed = doomed.order_by(episodes.c.id).limit(most)
            dropped = connection.execute(delete(episodes).where(episodes.c.id.in_(doomed))).rowcount
            left = runs.c.episodes - dropped
            connection.execute(update(runs).where(runs.c.number == number).values(episodes=left))
        return dropped

    def drop_points(self, run_id: str, most: int) -> int:
        """Remove the run's oldest ``most`` metric points; returns how many."""
        with self._transaction() as connection:
            number = number_of(connection, run_id)
            mine = metric_points.c.run_number == number
            sequences = select(metric_points.c.sequence).where(mine)
            doomed = sequences.order_by(metric_points.c.sequence).limit(most).subquery()
            dropped = connection.execute(
                delete(metric_points).where(
                    mine, metric_points.c.sequence.in_(select(doomed.c.sequence))
                )
            ).rowcount
            left = runs.c.points - dropped
            connection.execute(update(runs).where(runs.c.number == number).values(points=left))
        return dropped

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with translated(self._path), self._engine.begin() as connection:
            yield connection


def _save_run(connection: Connection, run: run_pb2.Run) -> None:
    query = select(runs.c.number, runs.c.state, runs.c.reason, runs.c.restarts)
    row = connection.execute(query.where(runs.c.id == run.id)).one_or_none()
    if row is None:
        raise unknown(run.id)
    values = columns(run)
    if run.restarts > row.restarts:
        counted = totals.after_restart(run)
        values |= {"counted_placements": counted.placements, "counted_games": counted.games}
    connection.execute(update(runs).where(runs.c.number == row.number).values(**values))
    if (row.state, row.reason) != (run.state, run.reason):
        _add_state_change(connection, row.number, run)
        scores.record(connection, row.number, run)


def _add_state_change(connection: Connection, number: int, run: run_pb2.Run) -> None:
    connection.execute(
        insert(state_changes).values(
            run_number=number,
            time_us=(datetime.now(UTC) - EPOCH) // MICROSECOND,
            state=run.state,
            reason=run.reason,
        )
    )


def _add_points(
    connection: Connection,
    number: int,
    run_id: str,
    events: Sequence[WorkerEvent],
    run: run_pb2.Run | None,
) -> None:
    points = [point for event in events for point in event.points]
    if not points:
        return
    rows = [
        {
            "run_number": number,
            "sequence": point.sequence,
            "time_us": point.time.ToMicroseconds(),
            "placements": point.placements,
            "point": point.SerializeToString(),
        }
        for point in points
    ]
    try:
        connection.execute(insert(metric_points), rows)
    except IntegrityError:
        raise errors.InvalidArgument.field(
            "metrics.sequence", f"run {run_id} has a point of that number already"
        ) from None
    table = runs.c
    query = select(table.leveled, table.counted_placements, table.counted_games)
    row = connection.execute(query.where(table.number == number)).one()
    last = points[-1]
    counted = totals.add(
        connection,
        totals.Counted(row.counted_placements, row.counted_games),
        last,
        run.first_placements if run is not None else 0,
    )
    connection.execute(
        update(runs)
        .where(table.number == number)
        .values(
            points=table.points + len(points),
            last_point=last.sequence,
            leveled=levels.raise_levels(connection, number, row.leveled, last.sequence),
            counted_placements=counted.placements,
            counted_games=counted.games,
        )
    )


def _add_episodes(connection: Connection, number: int, events: Sequence[WorkerEvent]) -> None:
    anew = [i for i, event in enumerate(events) if event.begins_anew]
    if anew:
        connection.execute(delete(episodes).where(episodes.c.run_number == number))
        connection.execute(update(runs).where(runs.c.number == number).values(episodes=0))
        events = events[anew[-1] :]
    rows = [
        {
            "run_number": number,
            "view": episode.view,
            "lines": episode.lines,
            "end_time_us": episode.end_time.ToMicroseconds(),
            "player": episode.player,
            "episode": episode.SerializeToString(),
        }
        for event in events
        for episode in event.episodes
    ]
    if rows:
        connection.execute(insert(episodes), rows)
        kept = runs.c.episodes + len(rows)
        connection.execute(update(runs).where(runs.c.number == number).values(episodes=kept))

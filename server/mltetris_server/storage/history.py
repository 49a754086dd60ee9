"""The history: every run with its metric points, episodes and state changes, in SQLite."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from mltetris_api.v1 import run_pb2
from sqlalchemy import ColumnElement, Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from mltetris_server import errors
from mltetris_server.storage import names, paging, scores
from mltetris_server.storage.activity import ActivityStore
from mltetris_server.storage.database import open_engine, translated
from mltetris_server.storage.schema import episodes, metric_points, runs, state_changes
from mltetris_server.storage.scores import ScoreStore

FINAL_STATES = frozenset(
    [run_pb2.RUN_STATE_SUCCEEDED, run_pb2.RUN_STATE_STOPPED, run_pb2.RUN_STATE_FAILED]
)
"""The states that a run never leaves."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MOST_SEQUENCE = 2**63 - 1


@dataclass(frozen=True, slots=True)
class WorkerEvent:
    """One event of a worker that must not be lost: its number, and what of it is kept."""

    sequence: int
    points: Sequence[run_pb2.MetricPoint] = ()
    episodes: Sequence[run_pb2.Episode] = ()
    begins_anew: bool = False
    """Whether the run plays from its first game again: the episodes before it go."""


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


class History:
    """The history in one SQLite file. What a method stored is on the device when it returns.

    Methods that take a run's id raise NotFound for an unknown one. Any of them raises DataLoss
    where the file is damaged and Unavailable where the disk refuses; a failed call changes nothing.
    """

    def __init__(self, path: Path) -> None:
        """Open the history, made or brought to the newest schema where needed.

        Raises WrongState where a newer mlTetris wrote it.
        """
        self._path = path
        self._engine = open_engine(path)
        self.activity = ActivityStore(self._engine, path)
        """Who did what."""
        self.scores = ScoreStore(self._engine, path)
        """What official benchmarks have measured."""

    def close(self) -> None:
        """Close the file. Closing twice is allowed."""
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
        with self._transaction() as connection:
            try:
                result = connection.execute(
                    insert(runs).values(
                        id=run.id,
                        kind=run.kind,
                        state=run.state,
                        reason=run.reason,
                        request_id=request_id or None,
                        create_time_us=run.create_time.ToMicroseconds(),
                        secret_hash=secret_hash,
                        worker_pid=0,
                        last_event=0,
                        run=run.SerializeToString(),
                    )
                )
            except IntegrityError:
                raise errors.AlreadyExists(
                    f"there is a run {run.id} already, or one of the same request_id"
                ) from None
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
            number = _number(connection, run_id)
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
            number, last = _number_and_last_event(connection, run_id)
            fresh = []
            for event in events:
                if event.sequence > last:
                    fresh.append(event)
                    last = event.sequence
            _add_points(connection, number, run_id, fresh)
            _add_episodes(connection, number, fresh)
            if fresh:
                connection.execute(
                    update(runs).where(runs.c.number == number).values(last_event=last)
                )
            if run is not None:
                _save_run(connection, run)
        return last

    def last_sequence(self, run_id: str) -> int:
        """The number of the run's last worker event stored; 0 before the first."""
        return self.worker(run_id).last_event

    def worker(self, run_id: str) -> WorkerRecord:
        """How to know the run's worker."""
        query = select(runs.c.secret_hash, runs.c.worker_pid, runs.c.last_event)
        with self._transaction() as connection:
            row = connection.execute(query.where(runs.c.id == run_id)).one_or_none()
        if row is None:
            raise _unknown(run_id)
        return WorkerRecord(*row)

    def get_run(self, run_id: str) -> run_pb2.Run | None:
        """The run, or None."""
        return self._one_run(runs.c.id == run_id)

    def find_by_request_id(self, request_id: str) -> run_pb2.Run | None:
        """The run that was made for this key, or None; None for the empty key."""
        return self._one_run(runs.c.request_id == request_id) if request_id else None

    def unfinished_runs(self) -> list[run_pb2.Run]:
        """Every run that is not final, oldest first."""
        query = (
            select(runs.c.run)
            .where(*_listed([], [s for s in run_pb2.RunState.values() if s not in FINAL_STATES]))
            .order_by(runs.c.number)
        )
        with self._transaction() as connection:
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
        length = paging.page_length(page_size)
        only_kinds = [] if 0 in kinds else sorted(set(kinds))
        only_states = [] if 0 in states else sorted(set(states))
        filters = f"runs:{zlib.crc32(repr((only_kinds, only_states)).encode()):x}"
        # The page's numbers come from the index alone, so that a rare kind or state does not
        # read through every other run.
        numbers = select(runs.c.number).order_by(runs.c.number.desc()).limit(length + 1)
        if only_kinds or only_states:
            numbers = numbers.where(*_listed(only_kinds, only_states))
        if page_token:
            (before,) = paging.read_token(page_token, filters, (int,))
            numbers = numbers.where(runs.c.number < before)
        query = (
            select(runs.c.number, runs.c.run)
            .where(runs.c.number.in_(numbers))
            .order_by(runs.c.number.desc())
        )
        with self._transaction() as connection:
            rows = connection.execute(query).all()
            page = [run_pb2.Run.FromString(row.run) for row in rows[:length]]
        if len(rows) <= length:
            return page, ""
        return page, paging.make_token(filters, [rows[length - 1].number])

    def delete_run(self, run_id: str) -> None:
        """Remove the run with its points, episodes and state changes."""
        with self._transaction() as connection:
            number = _number(connection, run_id)
            connection.execute(delete(runs).where(runs.c.number == number))

    def points(self, run_id: str, after: int = 0, limit: int = 500) -> list[run_pb2.MetricPoint]:
        """The run's points with a sequence above ``after``, at most ``limit``, in order."""
        with self._transaction() as connection:
            query = (
                select(metric_points.c.point)
                .where(
                    metric_points.c.run_number == _number(connection, run_id),
                    # More than SQLite can be asked for is more than any point has.
                    metric_points.c.sequence > min(after, _MOST_SEQUENCE),
                )
                .order_by(metric_points.c.sequence)
                .limit(limit)
            )
            return [run_pb2.MetricPoint.FromString(blob) for blob in connection.scalars(query)]

    def episodes(self, run_id: str, limit: int = 100) -> list[run_pb2.Episode]:
        """The run's last ``limit`` episodes, in the order they were stored."""
        with self._transaction() as connection:
            query = (
                select(episodes.c.episode)
                .where(episodes.c.run_number == _number(connection, run_id))
                .order_by(episodes.c.id.desc())
                .limit(limit)
            )
            blobs = connection.scalars(query).all()
            return [run_pb2.Episode.FromString(blob) for blob in reversed(blobs)]

    def state_changes(self, run_id: str) -> list[StateChange]:
        """Every state the run was in, in order, the first included."""
        table = state_changes.c
        with self._transaction() as connection:
            query = (
                select(table.time_us, table.state, table.reason)
                .where(table.run_number == _number(connection, run_id))
                .order_by(table.id)
            )
            rows = connection.execute(query).all()
        return [
            StateChange(
                _EPOCH + row.time_us * _MICROSECOND,
                run_pb2.RunState.ValueType(row.state),
                run_pb2.RunReason.ValueType(row.reason),
            )
            for row in rows
        ]

    def _one_run(self, condition: ColumnElement[bool]) -> run_pb2.Run | None:
        with self._transaction() as connection:
            blob = connection.scalar(select(runs.c.run).where(condition))
            return None if blob is None else run_pb2.Run.FromString(blob)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with translated(self._path), self._engine.begin() as connection:
            yield connection


def _listed(
    kinds: Sequence[run_pb2.RunKind.ValueType], states: Sequence[run_pb2.RunState.ValueType]
) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """The condition of a list; an empty filter names every value, for the index needs both."""
    return (
        runs.c.kind.in_(kinds or run_pb2.RunKind.values()),
        runs.c.state.in_(states or run_pb2.RunState.values()),
    )


def _number_and_last_event(connection: Connection, run_id: str) -> tuple[int, int]:
    query = select(runs.c.number, runs.c.last_event).where(runs.c.id == run_id)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise _unknown(run_id)
    return int(row.number), int(row.last_event)


def _number(connection: Connection, run_id: str) -> int:
    return _number_and_last_event(connection, run_id)[0]


def _unknown(run_id: str) -> errors.NotFound:
    return errors.NotFound(f"there is no run {run_id}")


def _save_run(connection: Connection, run: run_pb2.Run) -> None:
    query = select(runs.c.number, runs.c.state, runs.c.reason).where(runs.c.id == run.id)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise _unknown(run.id)
    connection.execute(
        update(runs)
        .where(runs.c.number == row.number)
        .values(state=run.state, reason=run.reason, run=run.SerializeToString())
    )
    if (row.state, row.reason) != (run.state, run.reason):
        _add_state_change(connection, row.number, run)
        scores.record(connection, row.number, run)


def _add_state_change(connection: Connection, number: int, run: run_pb2.Run) -> None:
    connection.execute(
        insert(state_changes).values(
            run_number=number,
            time_us=(datetime.now(UTC) - _EPOCH) // _MICROSECOND,
            state=run.state,
            reason=run.reason,
        )
    )


def _add_points(
    connection: Connection, number: int, run_id: str, events: Sequence[WorkerEvent]
) -> None:
    rows = [
        {
            "run_number": number,
            "sequence": point.sequence,
            "time_us": point.time.ToMicroseconds(),
            "placements": point.placements,
            "point": point.SerializeToString(),
        }
        for event in events
        for point in event.points
    ]
    if not rows:
        return
    try:
        connection.execute(insert(metric_points), rows)
    except IntegrityError:
        raise errors.InvalidArgument.field(
            "metrics.sequence", f"run {run_id} has a point of that number already"
        ) from None


def _add_episodes(connection: Connection, number: int, events: Sequence[WorkerEvent]) -> None:
    anew = [i for i, event in enumerate(events) if event.begins_anew]
    if anew:
        connection.execute(delete(episodes).where(episodes.c.run_number == number))
        events = events[anew[-1] :]
    rows = [
        {
            "run_number": number,
            "view": episode.view,
            "lines": episode.lines,
            "end_time_us": episode.end_time.ToMicroseconds(),
            "episode": episode.SerializeToString(),
        }
        for event in events
        for episode in event.episodes
    ]
    if rows:
        connection.execute(insert(episodes), rows)

"""The history: nothing acknowledged is lost, nothing stored twice, pages join."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mltetris_api.v1 import run_pb2
from mltetris_server import errors
from mltetris_server.storage import History, WorkerEvent
from mltetris_server.storage.schema import runs
from sqlalchemy import insert

TRAINING = run_pb2.RUN_KIND_TRAINING
DEMO = run_pb2.RUN_KIND_DEMO
QUEUED = run_pb2.RUN_STATE_QUEUED
RUNNING = run_pb2.RUN_STATE_RUNNING
SUCCEEDED = run_pb2.RUN_STATE_SUCCEEDED
FAILED = run_pb2.RUN_STATE_FAILED


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mltetris.db"


@pytest.fixture
def history(path: Path) -> Iterator[History]:
    with History(path) as history:
        yield history


def a_run(
    run_id: str = "train-1",
    kind: run_pb2.RunKind.ValueType = TRAINING,
    state: run_pb2.RunState.ValueType = QUEUED,
) -> run_pb2.Run:
    run = run_pb2.Run(id=run_id, kind=kind, state=state, display_name="ü")
    run.create_time.FromMilliseconds(1_900_000_000_123)
    run.training.td.gamma = 0.5
    return run


def a_point(sequence: int) -> run_pb2.MetricPoint:
    point = run_pb2.MetricPoint(sequence=sequence, placements=sequence * 64, loss=0.25)
    point.time.FromMilliseconds(1_900_000_000_000 + sequence)
    return point


def an_event(sequence: int, *, episodes: int = 0) -> WorkerEvent:
    games = [
        run_pb2.Episode(run="train-1", number=100 * sequence + i, lines=i) for i in range(episodes)
    ]
    return WorkerEvent(sequence, points=[a_point(sequence)], episodes=games)


def sequences(history: History, after: int = 0, limit: int = 500) -> list[int]:
    return [point.sequence for point in history.points("train-1", after, limit)]


def test_a_run_is_read_as_it_was_stored_also_after_a_restart(path: Path) -> None:
    run = a_run()
    with History(path) as history:
        history.create_run(run, request_id="key-1", secret_hash=b"\x01\x02")
        history.set_worker("train-1", pid=4321)
    with History(path) as history:
        assert history.get_run("train-1") == run
        assert history.find_by_request_id("key-1") == run
        worker = history.worker("train-1")
    assert (worker.secret_hash, worker.pid, worker.last_event) == (b"\x01\x02", 4321, 0)


def test_what_is_not_there_is_none_or_not_found(history: History) -> None:
    assert history.get_run("none") is None
    assert history.find_by_request_id("none") is None
    history.create_run(a_run("train-1"))
    history.create_run(a_run("train-2"))
    assert history.find_by_request_id("") is None, "no key is no key"
    for attempt in (
        lambda: history.save_run(a_run("none")),
        lambda: history.append("none", [an_event(1)]),
        lambda: history.delete_run("none"),
        lambda: history.points("none"),
        lambda: history.episodes("none"),
        lambda: history.state_changes("none"),
        lambda: history.worker("none"),
        lambda: history.last_sequence("none"),
        lambda: history.set_worker("none", pid=1),
    ):
        with pytest.raises(errors.NotFound, match="none"):
            attempt()


def test_an_id_and_a_request_id_are_used_once(history: History) -> None:
    history.create_run(a_run("train-1"), request_id="key")
    with pytest.raises(errors.AlreadyExists):
        history.create_run(a_run("train-1"))
    with pytest.raises(errors.AlreadyExists):
        history.create_run(a_run("train-2"), request_id="key")
    assert history.get_run("train-2") is None
    with pytest.raises(errors.InvalidArgument):
        history.create_run(a_run("../x"))


def test_every_state_is_recorded_once_in_order(history: History) -> None:
    run = a_run()
    history.create_run(run)
    for state in (run_pb2.RUN_STATE_STARTING, RUNNING, RUNNING, RUNNING):
        run.state = state
        run.revision += 1
        history.save_run(run)
    run.state, run.reason = FAILED, run_pb2.RUN_REASON_WORKER_DIED
    history.append("train-1", [an_event(1)], run=run)
    changes = history.state_changes("train-1")
    assert [(change.state, change.reason) for change in changes] == [
        (QUEUED, 0),
        (run_pb2.RUN_STATE_STARTING, 0),
        (RUNNING, 0),
        (FAILED, run_pb2.RUN_REASON_WORKER_DIED),
    ]
    times = [change.time for change in changes]
    assert times == sorted(times)
    assert history.get_run("train-1") == run


def test_points_come_in_order_in_slices_without_gap_or_repeat(history: History) -> None:
    history.create_run(a_run())
    history.create_run(a_run("train-2"))
    history.append("train-1", [an_event(sequence) for sequence in range(1, 11)])
    history.append("train-2", [an_event(1)])
    assert history.points("train-1", 0, 1) == [a_point(1)]
    assert sequences(history) == list(range(1, 11))
    assert sequences(history, after=4, limit=3) == [5, 6, 7]
    assert sequences(history, after=10) == []


def test_the_last_episodes_come_in_the_order_they_ended(history: History) -> None:
    history.create_run(a_run())
    history.append("train-1", [an_event(1, episodes=3), an_event(2, episodes=2)])
    numbers = [episode.number for episode in history.episodes("train-1")]
    assert numbers == [100, 101, 102, 200, 201]
    assert [episode.number for episode in history.episodes("train-1", limit=2)] == [200, 201]


def test_events_sent_again_are_stored_once(history: History) -> None:
    history.create_run(a_run())
    assert history.append("train-1", [an_event(1, episodes=1), an_event(2)]) == 2
    assert history.append("train-1", [an_event(1, episodes=1), an_event(2)]) == 2
    # After a reconnect the worker sends what was not acknowledged and goes on.
    assert history.append("train-1", [an_event(2, episodes=9), an_event(3, episodes=1)]) == 3
    assert sequences(history) == [1, 2, 3]
    assert [episode.number for episode in history.episodes("train-1")] == [100, 300]
    assert history.last_sequence("train-1") == 3
    assert history.append("train-1", []) == 3


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.tuples(st.integers(1, 20), st.integers(1, 20)), max_size=8))
def test_however_a_worker_repeats_itself_nothing_is_lost_or_doubled(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[tuple[int, int]]
) -> None:
    with History(tmp_path_factory.mktemp("history") / "h.db") as history:
        history.create_run(a_run())
        acknowledged = 0
        for begin, length in cuts:
            first = min(begin, acknowledged + 1)  # a worker never leaves one out
            batch = [an_event(number) for number in range(first, first + length)]
            acknowledged = history.append("train-1", batch)
        assert sequences(history) == list(range(1, acknowledged + 1))


def test_a_batch_is_stored_whole_or_not_at_all(history: History) -> None:
    history.create_run(a_run())
    history.append("train-1", [an_event(1)])
    run = a_run(state=RUNNING)
    twice = WorkerEvent(3, points=[a_point(1)])
    with pytest.raises(errors.InvalidArgument, match="number"):
        history.append("train-1", [an_event(2, episodes=2), twice], run=run)
    assert sequences(history) == [1]
    assert history.episodes("train-1") == []
    assert history.last_sequence("train-1") == 1
    assert history.get_run("train-1") == a_run()
    # A run that is not there takes the events with it.
    with pytest.raises(errors.NotFound):
        history.append("train-1", [an_event(2)], run=a_run("train-9"))
    assert history.last_sequence("train-1") == 1


def test_a_deleted_run_takes_everything_with_it_and_nothing_else(
    history: History, path: Path
) -> None:
    for run_id in ("train-1", "train-2"):
        history.create_run(a_run(run_id), request_id=run_id)
        history.append(run_id, [an_event(1, episodes=2)])
    history.delete_run("train-1")
    assert history.get_run("train-1") is None
    assert len(history.points("train-2")) == 1
    history.close()
    with sqlite3.connect(path) as connection:
        for table in ("runs", "metric_points", "state_changes"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (1,), table
        assert connection.execute("SELECT count(*) FROM episodes").fetchone() == (2,)
    connection.close()
    with History(path) as history:
        history.create_run(a_run("train-1"), request_id="train-1")
        assert history.points("train-1") == []


def test_runs_that_are_not_final_are_found_oldest_first(history: History) -> None:
    for number, state in enumerate(run_pb2.RunState.values()[1:]):
        history.create_run(a_run(f"train-{number}", state=state))
    unfinished = [run.state for run in history.unfinished_runs()]
    assert unfinished == [1, 2, 3, 4, 5]


def test_it_may_be_used_from_several_threads(history: History) -> None:
    """One after the other, as an executor does, and at the same time."""
    history.create_run(a_run())
    with ThreadPoolExecutor(4) as pool:
        jobs = [
            pool.submit(history.create_run, a_run(f"demo-{number}", DEMO)) for number in range(40)
        ]
        for job in jobs:
            job.result()
    assert len(history.list_runs(page_size=1000)[0]) == 41


# Listing


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    """10,000 runs: every third a demo, every hundredth failed, one running, the rest succeeded."""
    with History(tmp_path_factory.mktemp("many") / "mltetris.db") as history:
        rows = []
        for number in range(10_000):
            state = FAILED if number % 100 == 0 else SUCCEEDED
            state = RUNNING if number == 5_000 else state
            run = a_run(f"run-{number}", DEMO if number % 3 == 0 else TRAINING, state)
            run.log_tail = "x" * 1000
            rows.append(
                {
                    "id": run.id,
                    "kind": run.kind,
                    "state": run.state,
                    "reason": 0,
                    "create_time_us": 0,
                    "secret_hash": b"",
                    "worker_pid": 0,
                    "last_event": 0,
                    "run": run.SerializeToString(),
                }
            )
        with history._engine.begin() as connection:
            connection.execute(insert(runs), rows)
        yield history


def numbers(page: list[run_pb2.Run]) -> list[int]:
    return [int(run.id.removeprefix("run-")) for run in page]


def all_pages(history: History, **query: object) -> list[int]:
    seen: list[int] = []
    token = ""
    while True:
        page, token = history.list_runs(page_token=token, **query)  # type: ignore[arg-type]
        seen += numbers(page)
        if not token:
            return seen
        assert page
        assert len(token) <= 200


@pytest.mark.parametrize(
    ("kinds", "states"),
    [
        ([], []),
        ([DEMO], []),
        ([], [FAILED]),
        ([DEMO], [FAILED]),
        ([DEMO, TRAINING], [RUNNING]),
        ([0], [0, FAILED]),
        ([run_pb2.RUN_KIND_BENCHMARK], []),
        ([DEMO], [RUNNING, FAILED]),
    ],
)
def test_the_pages_of_ten_thousand_runs_join_to_the_whole_list(
    many: History, kinds: list[int], states: list[int]
) -> None:
    expected = [
        number
        for number in reversed(range(10_000))
        if (not kinds or 0 in kinds or (DEMO if number % 3 == 0 else TRAINING) in kinds)
        and (
            not states
            or 0 in states
            or (RUNNING if number == 5_000 else FAILED if number % 100 == 0 else SUCCEEDED)
            in states
        )
    ]
    assert all_pages(many, kinds=kinds, states=states, page_size=1000) == expected
    if len(expected) < 200:
        assert all_pages(many, kinds=kinds, states=states, page_size=7) == expected


def test_a_page_has_fifty_runs_unless_asked_otherwise(many: History) -> None:
    page, token = many.list_runs()
    assert numbers(page) == list(range(9_999, 9_949, -1))
    assert token
    page, token = many.list_runs(page_size=1, page_token=token)
    assert numbers(page) == [9_949]
    for size in (-1, 1001):
        with pytest.raises(errors.InvalidArgument):
            many.list_runs(page_size=size)


def test_pages_stay_true_while_runs_come_and_go(history: History) -> None:
    for number in range(6):
        history.create_run(a_run(f"run-{number}"))
    page, token = history.list_runs(page_size=2)
    assert numbers(page) == [5, 4]
    history.create_run(a_run("run-6"))
    history.delete_run("run-4")
    history.delete_run("run-2")
    page, token = history.list_runs(page_size=2, page_token=token)
    assert numbers(page) == [3, 1]
    page, token = history.list_runs(page_size=2, page_token=token)
    assert (numbers(page), token) == ([0], "")


@pytest.mark.parametrize("token", ["x", "W10", "bnVsbA", "_" * 40, "WyJydW5zOjAiLFtdXQ", "é", "=="])
def test_a_token_of_something_else_is_refused(many: History, token: str) -> None:
    with pytest.raises(errors.InvalidArgument) as caught:
        many.list_runs(page_token=token)
    assert caught.value.fields[0].field == "page_token"


def test_a_token_of_another_filter_is_refused(many: History) -> None:
    _, token = many.list_runs(kinds=[DEMO])
    with pytest.raises(errors.InvalidArgument):
        many.list_runs(kinds=[TRAINING], page_token=token)
    assert many.list_runs(kinds=[DEMO, DEMO], page_token=token)[0]


# A file or a disk that is not as it should be


def test_a_file_that_is_no_database_is_data_loss_and_stays(path: Path) -> None:
    path.write_bytes(b"this was never a database, whatever its name says" * 100)
    with pytest.raises(errors.DataLoss, match=r"mltetris\.db is damaged"):
        History(path)
    assert path.read_bytes().startswith(b"this was")


def test_a_damaged_database_is_data_loss(path: Path) -> None:
    with History(path) as history:
        for number in range(200):
            run = a_run(f"run-{number}")
            run.log_tail = "x" * 3000
            history.create_run(run)
    data = bytearray(path.read_bytes())
    for place in range(4096, len(data), 4096):
        data[place : place + 200] = bytes(range(200))
    path.write_bytes(data)
    with pytest.raises(errors.DataLoss, match=r"mltetris\.db is damaged"), History(path) as history:
        history.list_runs(page_size=1000)


def test_a_full_disk_refuses_and_loses_nothing(history: History) -> None:
    history.create_run(a_run())
    history.append("train-1", [an_event(1)])
    with history._engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    large = run_pb2.Run()
    large.CopyFrom(a_run())
    large.log_tail = "x" * 1_000_000
    with pytest.raises(errors.Unavailable, match=r"full.*free some space"):
        history.append("train-1", [an_event(2)], run=large)
    assert history.get_run("train-1") == a_run()
    assert sequences(history) == [1]
    with history._engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
    assert history.append("train-1", [an_event(2)], run=large) == 2


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(errors.Unavailable, match="unable to open"):
        History(tmp_path / "missing" / "mltetris.db")


def test_committed_means_on_the_device(history: History) -> None:
    with history._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1

"""Histories of metrics: thinned for whoever looks, and kept within limits, every peak staying."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mltetris_api.v1 import run_pb2
from mltetris_server import errors
from mltetris_server.storage import History, WorkerEvent, levels
from mltetris_server.storage.retention import LEAST_POINTS, Limits
from mltetris_server.storage.schema import metric_points, runs
from sqlalchemy import func, select, update

RUN = "train-1"
SUCCEEDED = run_pb2.RUN_STATE_SUCCEEDED
LIMITS = Limits(points_a_run=1000, points=10_000_000, episodes_a_run=300)


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    with History(tmp_path / "mltetris.db", LIMITS) as history:
        yield history


def a_run(history: History, run_id: str = RUN, kind: int = 1) -> run_pb2.Run:
    run = run_pb2.Run(id=run_id, state=run_pb2.RUN_STATE_RUNNING)
    run.kind = run_pb2.RunKind.ValueType(kind)
    history.create_run(run)
    return run


def a_point(sequence: int, chance: random.Random) -> run_pb2.MetricPoint:
    point = run_pb2.MetricPoint(sequence=sequence, placements=64 * sequence)
    point.loss = chance.random()
    point.mean_lines = sequence + chance.random()
    point.placements_per_second = 1000.0
    if sequence % 7 == 0:
        point.evaluation.mean_lines = chance.random()
    return point


def write(history: History, count: int, run_id: str = RUN, batch: int = 97) -> None:
    """The run's next ``count`` points, in batches as a busy disk makes them."""
    chance = random.Random(run_id)
    stored = history.points(run_id, limit=10**6)
    first = stored[-1].sequence + 1 if stored else 1
    event = history.last_sequence(run_id)
    for start in range(first, first + count, batch):
        stop = min(start + batch, first + count)
        event += 1
        points = [a_point(sequence, chance) for sequence in range(start, stop)]
        history.append(run_id, [WorkerEvent(event, points)])


def keep(history: History) -> int:
    """Everything that retention has to do; returns the steps it took."""
    done = 0
    while steps := history.retention.plan():
        for step in steps:
            history.retention.do(step)
            done += 1
        assert done < 10_000, "it comes to no end"
    return done


def sequences(history: History, run_id: str = RUN) -> list[int]:
    return [point.sequence for point in history.points(run_id, limit=10**6)]


def kept_points(history: History, run_id: str = RUN) -> int:
    with history._reader.begin() as connection:
        return connection.scalar(select(runs.c.points).where(runs.c.id == run_id)) or 0


def peaks(points: list[run_pb2.MetricPoint]) -> list[tuple[float, float]]:
    """The least and the greatest value of each curve."""
    columns = zip(*(levels.sample(point).values for point in points), strict=True)
    present = [[value for value in column if value is not None] for column in columns]
    return [(min(values), max(values)) for values in present if values]


@pytest.mark.parametrize("count", [1, 9, 10, 31, 32, 33, 500, 3000])
@pytest.mark.parametrize("most", [10, 11, 50, 500])
def test_a_history_is_thinned_to_so_many_points_with_its_ends_and_peaks(
    history: History, count: int, most: int
) -> None:
    a_run(history)
    write(history, count)
    everything = history.points(RUN, limit=10**6)
    points, total = history.thinned_points(RUN, most)
    assert total == count
    assert len(points) <= most
    assert len(points) >= min(count, most // 4), "more could have been shown"
    found = [point.sequence for point in points]
    assert found == sorted(set(found))
    assert (found[0], found[-1]) == (1, count)
    # Points as they were taken.
    assert all(point == everything[point.sequence - 1] for point in points)
    if most >= 11:
        assert peaks(points) == peaks(everything)
    else:
        assert peaks(points)[0] == peaks(everything)[0], "the lines of evaluations come first"


def test_each_stretch_has_its_least_and_its_greatest(history: History) -> None:
    a_run(history)
    write(history, 4000)
    everything = history.points(RUN, limit=10**6)
    points, _ = history.thinned_points(RUN, 400)
    shown = {point.sequence for point in points}
    # 400 points have room for the extremes of stretches of 128 at least.
    for start in range(0, 4000 - 128, 128):
        stretch = everything[start : start + 128]
        for low_and_high in (min, max):
            extreme = low_and_high(stretch, key=lambda point: point.loss)
            assert extreme.sequence in shown


def test_only_what_comes_after_a_sequence(history: History) -> None:
    a_run(history)
    write(history, 3000)
    points, total = history.thinned_points(RUN, 100, after=1234)
    assert total == 3000 - 1234
    assert (points[0].sequence, points[-1].sequence) == (1235, 3000)
    assert history.thinned_points(RUN, 100, after=3000) == ([], 0)
    assert history.thinned_points(RUN, 100, after=2**64 - 1) == ([], 0)
    with pytest.raises(errors.NotFound):
        history.thinned_points("none", 100)


def test_what_is_no_number_hides_no_peak(history: History) -> None:
    a_run(history)
    points = [run_pb2.MetricPoint(sequence=n, loss=math.nan if n % 2 else n) for n in range(1, 200)]
    history.append(RUN, [WorkerEvent(1, points)])
    shown, _ = history.thinned_points(RUN, 10)
    assert {2, 198} <= {point.sequence for point in shown}


def test_a_run_without_curves_is_shown_by_its_ends(history: History) -> None:
    a_run(history)
    points = [run_pb2.MetricPoint(sequence=n) for n in range(1, 200)]
    history.append(RUN, [WorkerEvent(1, points)])
    shown = [point.sequence for point in history.thinned_points(RUN, 10)[0]]
    assert (shown[0], shown[-1]) == (1, 199)
    assert len(shown) <= 10


@settings(max_examples=25, deadline=None)
@given(
    values=st.lists(st.none() | st.floats(), min_size=1, max_size=300),
    level=st.integers(1, 9),
    batches=st.integers(1, 60),
)
def test_levels_say_what_looking_at_every_point_says(
    tmp_path_factory: pytest.TempPathFactory,
    values: list[float | None],
    level: int,
    batches: int,
) -> None:
    """However points came in: those of a level are the extremes of the stretches of that length."""
    with History(tmp_path_factory.mktemp("levels") / "h.db") as history:
        a_run(history)
        points = [run_pb2.MetricPoint(sequence=n, loss=v) for n, v in enumerate(values, 1)]
        for event, start in enumerate(range(0, len(points), batches), 1):
            history.append(RUN, [WorkerEvent(event, points[start : start + batches])])
        keep(history)
        level = max(level, levels.LEAST)
        whole = len(points) >> level << level
        expected = levels.extremes([levels.sample(point) for point in points[:whole]], level)
        with history._reader.begin() as connection:
            column = metric_points.c
            query = select(column.sequence).where(column.level >= level)
            found = set(connection.scalars(query))
        assert found - {1} == expected - {1}


def test_a_history_from_before_there_were_levels_gets_them_in_small_steps(
    history: History,
) -> None:
    a_run(history)
    write(history, 900)
    with history._engine.begin() as connection:
        connection.execute(update(metric_points).values(level=0))
        connection.execute(update(runs).values(leveled=0))
    before = history.thinned_points(RUN, 100)
    assert keep(history) > 2
    assert history.thinned_points(RUN, 100) == before
    with history._reader.begin() as connection:
        found = connection.scalar(select(func.count()).where(metric_points.c.level >= 9))
    assert found


def test_a_run_that_goes_on_and_on_is_kept_within_its_limit(history: History) -> None:
    a_run(history)
    everything: list[run_pb2.MetricPoint] = []
    for _ in range(12):
        write(history, 500)
        everything += history.points(RUN, after=everything[-1].sequence if everything else 0)
        keep(history)
        assert kept_points(history) == len(sequences(history)) <= 1100
    kept = sequences(history)
    assert kept[0] == 1
    assert kept[-500:] == list(range(5501, 6001)), "the newest half stays as it is"
    assert len(kept) > 600
    assert peaks(history.points(RUN, limit=10**6)) == peaks(everything)
    points, total = history.thinned_points(RUN, 200)
    assert (total, peaks(points)) == (len(kept), peaks(everything))


def test_thinning_is_done_in_small_transactions(history: History) -> None:
    a_run(history)
    write(history, 4000)
    steps = history.retention.plan()
    assert len(steps) > 2
    before = kept_points(history)
    history.retention.do(steps[0])
    assert 0 < before - kept_points(history) <= 400


def test_the_oldest_ended_runs_give_room_to_all(tmp_path: Path) -> None:
    limits = Limits(points_a_run=20_000, points=5000, episodes_a_run=300)
    with History(tmp_path / "mltetris.db", limits) as history:
        for number in range(4):
            run = a_run(history, f"run-{number}")
            write(history, 2000, run.id)
            if number != 0:
                run.state = SUCCEEDED
                history.save_run(run)
        keep(history)
        counts = [kept_points(history, f"run-{number}") for number in range(4)]
        assert counts[0] == 2000, "it goes on"
        assert LEAST_POINTS / 4 < counts[1] <= LEAST_POINTS * 1.1
        assert counts[2] <= LEAST_POINTS * 1.1
        assert counts[3] == 2000, "there was room by then"
        assert history.stats().metric_points == sum(counts) <= 5000
        assert [sequences(history, "run-1")[i] for i in (0, -1)] == [1, 2000]


def test_ended_runs_with_little_keep_it_whatever_the_sum(tmp_path: Path) -> None:
    with History(tmp_path / "mltetris.db", Limits(points=10)) as history:
        run = a_run(history)
        write(history, LEAST_POINTS)
        run.state = SUCCEEDED
        history.save_run(run)
        assert keep(history) == 0
        assert kept_points(history) == LEAST_POINTS


def test_of_many_episodes_the_newest_and_the_best_stay(history: History) -> None:
    a_run(history)
    a_run(history, "bench-1", kind=run_pb2.RUN_KIND_BENCHMARK)
    chance = random.Random(3)
    lines = [chance.randrange(10_000) for _ in range(2000)]
    for run_id in (RUN, "bench-1"):
        games = [run_pb2.Episode(number=n, lines=x) for n, x in enumerate(lines)]
        history.append(run_id, [WorkerEvent(1, episodes=games)])
    keep(history)
    kept = {episode.number for episode in history.episodes(RUN, 10**6)}
    assert 200 <= len(kept) <= 300
    assert set(range(1800, 2000)) <= kept
    best = sorted(range(2000), key=lambda n: (lines[n], n))[-100:]
    assert set(best) <= kept
    assert len(history.episodes("bench-1", 10**6)) == 2000, "a benchmark's are its result"
    page, _ = history.list_episodes(RUN, order_by="lines", page_size=100)
    assert [episode.number for episode in page] == best[::-1]


def test_a_run_that_is_deleted_meanwhile_is_passed_over(history: History) -> None:
    a_run(history)
    write(history, 3000)
    steps = history.retention.plan()
    history.delete_run(RUN)
    for step in steps:
        history.retention.do(step)
    assert keep(history) == 0

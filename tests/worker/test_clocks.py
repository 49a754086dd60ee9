"""Clocks, by a clock of our own."""

from __future__ import annotations

import pytest
from mltetris_api.v1.run_pb2 import MetricPoint
from mltetris_api.worker.v1.worker_pb2 import AttachRequest
from mltetris_server.worker.clocks import Pace, RateLimit, RunClock
from mltetris_server.worker.metrics import MetricLog


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def now() -> Hand:
    return Hand()


def test_pauses_do_not_count(now: Hand) -> None:
    clock = RunClock(now)
    now.time += 5
    assert clock.elapsed == 0
    clock.start()
    now.time += 3
    clock.stop()
    now.time += 100
    assert clock.elapsed == 3
    clock.start()
    clock.start()
    now.time += 1
    assert clock.elapsed == 4


def test_a_pace_keeps_its_beat(now: Hand) -> None:
    pace = Pace(now)
    assert pace.due(4) == 100
    pace.happened(4)
    assert pace.due(4) == 100.25
    now.time = 100.3  # a little late
    pace.happened(4)
    assert pace.due(4) == 100.5


def test_a_pace_does_not_make_up_for_a_long_stop(now: Hand) -> None:
    pace = Pace(now)
    pace.happened(4)
    now.time = 200.0
    assert pace.due(4) == 100.25
    pace.happened(4)
    assert pace.due(4) == 200.25


def test_a_new_pace_holds_at_once(now: Hand) -> None:
    pace = Pace(now)
    pace.happened(0.1)
    assert pace.due(0.1) == 110
    assert pace.due(10) == pytest.approx(100.1)


def test_beats_are_made_up_for_within_bounds(now: Hand) -> None:
    pace = Pace(now)
    assert pace.beats(100, most=5) == 1
    now.time += 0.035
    assert pace.beats(100, most=5) == 3
    now.time += 0.004
    assert pace.beats(100, most=5) == 0
    now.time += 0.001
    assert pace.beats(100, most=5) == 1
    now.time += 10
    assert pace.beats(100, most=50) == 5
    assert pace.beats(100, most=5) == 0
    assert pace.due(100) == pytest.approx(now.time + 0.01)


def test_after_a_pause_a_slow_pace_makes_no_jump(now: Hand) -> None:
    pace = Pace(now)
    pace.beats(8, most=10)
    now.time += 60
    assert pace.beats(8, most=10) == 1
    assert pace.beats(8, most=10) == 0


class Line:
    def __init__(self) -> None:
        self.points: list[MetricPoint] = []

    def send(self, event: AttachRequest) -> None:
        self.points.append(event.metrics)


def test_metric_points_are_numbered_and_timed(now: Hand) -> None:
    clock, line = RunClock(now), Line()
    log = MetricLog(line, clock)
    clock.start()
    log.begin(1_000)
    assert not log.due
    now.time += 0.25
    assert log.due
    changes = ["learning_rate 0.003 -> 0.001"]
    log.write(MetricPoint(placements=1_500), changes)
    now.time += 0.5
    log.write(MetricPoint(placements=1_500), changes)
    first, second = line.points
    assert (first.sequence, second.sequence) == (1, 2)
    assert first.placements_per_second == 2_000
    assert second.placements_per_second == 0
    assert first.changes == ["learning_rate 0.003 -> 0.001"]
    assert second.changes == []
    assert second.elapsed.ToMilliseconds() == 750


def test_metric_points_become_rarer(now: Hand) -> None:
    clock = RunClock(now)
    log = MetricLog(Line(), clock)
    clock.start()
    assert log.period == 0.05
    log.write(MetricPoint(), [])
    assert log.period == 0.2
    now.time += 30
    assert log.period == 0.5
    now.time += 3_600
    assert log.period == 1.0


def test_a_limit_holds_work_back_until_its_time(now: Hand) -> None:
    limit = RateLimit(now)
    assert limit.due(1_000, 100) <= now.time
    assert limit.due(1_050, 100) == pytest.approx(now.time + 0.5)
    now.time += 0.5
    assert limit.due(1_050, 100) == pytest.approx(now.time)
    assert limit.due(1_100, 100) == pytest.approx(now.time + 0.5)


def test_a_limit_may_change_or_go(now: Hand) -> None:
    limit = RateLimit(now)
    limit.due(0, 10)
    assert limit.due(100, 10) == pytest.approx(now.time + 10)
    assert limit.due(100, 0) <= now.time
    assert limit.due(100, 1_000) <= now.time
    assert limit.due(200, 1_000) == pytest.approx(now.time + 0.1)


def test_a_limit_makes_up_for_little(now: Hand) -> None:
    limit = RateLimit(now)
    limit.due(0, 100)
    now.time += 60
    assert limit.due(0, 100) <= now.time
    assert limit.due(100, 100) == pytest.approx(now.time + 0.9)

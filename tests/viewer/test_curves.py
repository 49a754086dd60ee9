"""Curves, axes and words."""

from __future__ import annotations

import math

import pytest
from mltetris_viewer.axes import axis_for, span_axis, thin, tick_labels
from mltetris_viewer.model import words
from mltetris_viewer.model.curves import RESOLUTION, Curves, Series
from viewer.making import point


def test_a_long_series_stays_small_and_keeps_its_shape() -> None:
    series = Series()
    count = 20 * RESOLUTION + 7
    for i in range(count):
        series.append(float(i), 3.0 * i)
    assert RESOLUTION // 2 < len(series) <= 2 * RESOLUTION
    points = series.points()
    assert all(y == pytest.approx(3 * x) for x, y in points)
    assert points[0][0] < 20
    assert points[-1] == (count - 1, 3.0 * (count - 1))
    assert [x for x, _ in points] == sorted(x for x, _ in points)


def test_a_value_that_is_no_number_has_no_place_on_a_curve() -> None:
    series = Series()
    series.append(1.0, math.nan)
    series.append(2.0, 5.0)
    assert series.points() == [(2.0, 5.0)]


def test_points_seen_before_are_left_out() -> None:
    curves = Curves()
    assert curves.add([point(1, 100, mean_lines=1.0), point(2, 200, mean_lines=2.0)])
    assert not curves.add([point(1, 100, mean_lines=1.0), point(2, 200, mean_lines=2.0)])
    assert curves.mean_lines.points() == [(100.0, 1.0), (200.0, 2.0)]
    assert curves.last_sequence == 2


def test_what_is_not_measured_every_time_lasts() -> None:
    curves = Curves()
    first = point(1, 100, loss=0.5, progress=0.25)
    first.evaluation.mean_lines = 7.0
    first.evaluation.cut_off_games = 3
    curves.add([first])
    second = point(2, 200, exploration=0.1)
    curves.add([second])
    assert curves.latest.placements == 200
    assert curves.latest.loss == 0.5
    assert curves.latest.evaluation.mean_lines == 7.0
    assert curves.latest.exploration == 0.1
    # Progress says how things are now: a point without it has none.
    assert not curves.latest.HasField("progress")


def test_an_evaluation_replaces_the_one_before_whole() -> None:
    curves = Curves()
    first, second = point(1, 100), point(2, 200)
    first.evaluation.cut_off_games = 3
    second.evaluation.mean_lines = 9.0
    curves.add([first, second])
    assert curves.latest.evaluation == second.evaluation


@pytest.mark.parametrize(
    "values",
    [[], [0.0], [5.0], [-3.0], [0.0, 1.0], [-10.0, -9.5], [1e6, 1e6 + 1], [0.2, 40_000.0]],
)
@pytest.mark.parametrize("may_log", [True, False])
def test_every_value_stands_on_its_axis(values: list[float], may_log: bool) -> None:
    axis = axis_for(values, may_log=may_log)
    assert axis.low < axis.high
    assert len(axis.ticks) >= 2
    for value in values:
        assert axis.low <= value <= axis.high
        assert 0.0 <= axis.share(value) <= 1.0
    assert all(0.0 <= axis.share(tick) <= 1.0 for tick in axis.ticks)


def test_magnitudes_go_on_a_logarithmic_axis() -> None:
    axis = axis_for([0.0, 2.0, 1043.0], may_log=True, most_ticks=5)
    assert axis.log
    assert axis.ticks == (0.0, 1.0, 10.0, 100.0, 1000.0)
    assert axis.share(10.0) - axis.share(1.0) > 0.2
    assert not axis_for([0.0, 2.0, 30.0], may_log=True).log
    assert not axis_for([-1.0, 1043.0], may_log=True).log


def test_ticks_can_be_told_apart() -> None:
    axis = span_axis(10_000_000, 10_050_000, 5)
    labels = tick_labels(axis.ticks)
    assert len(set(labels)) == len(labels) > 2
    assert labels[0] == "10M"


def test_thinning_keeps_both_ends_and_at_most_a_point_a_column() -> None:
    points = [(float(x), float(x % 7)) for x in range(5000)]
    thinned = thin(points, 0.0, 4999.0, 300)
    assert len(thinned) <= 302
    assert thinned[-1] == points[-1]
    assert thinned[0][0] < 20
    assert thin(points[:10], 0.0, 9.0, 300) == points[:10]


@pytest.mark.parametrize(
    ("value", "said"),
    [(0, "0"), (0.03, "0.03"), (950, "950"), (999.9, "1k"), (12_345, "12.3k"), (3.5e6, "3.5M"),
     (2e9, "2B"), (4e12, "4T"), (-1.414, "−1.41")],
)  # fmt: skip
def test_numbers_are_compact(value: float, said: str) -> None:
    assert words.compact(value) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [(0, "0.00"), (3.968, "3.97"), (48.24, "48.2"), (1043.4, "1,043"), (2_500_000, "2.5M"),
     (math.nan, "nan")],
)  # fmt: skip
def test_lines_are_said_as_people_say_them(value: float, said: str) -> None:
    assert words.lines(value) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [(0, "0 s"), (59, "59 s"), (59.7, "1:00 min"), (185, "3:05 min"), (3600, "1:00 h"),
     (7650, "2:08 h"), (3 * 86400, "3.0 days"), (-1, "0 s")],
)  # fmt: skip
def test_times(value: float, said: str) -> None:
    assert words.seconds(value) == said

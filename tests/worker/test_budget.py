"""Budgets: when a training ends, and how far it says it is."""

from __future__ import annotations

import pytest
from google.protobuf.duration_pb2 import Duration
from mltetris_api.v1.run_pb2 import Budget, Evaluation, RunReason
from mltetris_server.worker.budget import BudgetMeter
from mltetris_server.worker.clocks import RunClock


class World:
    def __init__(self, budget: Budget, placements: int = 0) -> None:
        self.now = 0.0
        clock = RunClock(lambda: self.now)
        clock.start()
        self.meter = BudgetMeter(budget, clock, placements)


def test_without_a_budget_there_is_no_end() -> None:
    world = World(Budget())
    world.now = 1e6
    world.meter.measured(1000)
    world.meter.examined(Evaluation(mean_lines=1e6))
    assert world.meter.verdict(10**9) is None
    assert world.meter.progress(10**9) is None
    assert world.meter.eta(10**9) is None


def test_placements_run_out_and_those_before_do_not_count() -> None:
    world = World(Budget(max_placements=1_000), placements=500)
    world.meter.measured(100)
    assert world.meter.verdict(1_499) is None
    assert world.meter.progress(1_000) == 0.5
    assert world.meter.eta(1_000) == 5
    assert world.meter.verdict(1_500) == RunReason.RUN_REASON_BUDGET_SPENT
    assert world.meter.progress(2_000) == 1
    assert world.meter.eta(2_000) == 0


def test_time_runs_out() -> None:
    world = World(Budget(max_duration=Duration(seconds=10)))
    world.now = 4
    assert world.meter.verdict(0) is None
    assert world.meter.progress(0) == 0.4
    assert world.meter.eta(0) == 6
    world.now = 10
    assert world.meter.verdict(0) == RunReason.RUN_REASON_BUDGET_SPENT


def test_a_goal_is_reached_by_an_evaluation() -> None:
    world = World(Budget(target_mean_lines=1_000))
    assert world.meter.progress(0) == 0
    assert world.meter.verdict(0) is None
    world.meter.examined(Evaluation(mean_lines=250))
    assert world.meter.progress(0) == 0.25
    assert world.meter.eta(0) is None
    world.meter.examined(Evaluation(mean_lines=1_000))
    assert world.meter.verdict(0) == RunReason.RUN_REASON_GOAL_REACHED
    assert world.meter.progress(0) == 1


def test_a_goal_of_nothing_needs_an_evaluation_all_the_same() -> None:
    world = World(Budget(target_mean_lines=0))
    assert world.meter.verdict(0) is None
    world.meter.examined(Evaluation(mean_lines=0))
    assert world.meter.verdict(0) == RunReason.RUN_REASON_GOAL_REACHED


def test_progress_goes_by_the_nearest_end() -> None:
    world = World(Budget(max_placements=100, target_mean_lines=1_000))
    world.meter.examined(Evaluation(mean_lines=900))
    assert world.meter.progress(10) == 0.9
    assert world.meter.progress(95) == pytest.approx(0.95)


def test_the_estimate_follows_the_speed() -> None:
    world = World(Budget(max_placements=1_000))
    world.meter.measured(100)
    for _ in range(50):
        world.meter.measured(10)
    eta = world.meter.eta(0)
    assert eta is not None
    assert 99 < eta <= 100


def test_a_budget_can_be_changed() -> None:
    world = World(Budget(max_placements=1_000, target_mean_lines=50))
    changes = world.meter.change(Budget(max_duration=Duration(seconds=90), target_mean_lines=60))
    assert changes == [
        "max_placements 1000 -> none",
        "max_duration none -> 90 s",
        "target_mean_lines 50 -> 60",
    ]
    assert world.meter.verdict(5_000) is None
    assert world.meter.change(Budget()) != []
    assert world.meter.progress(0) is None

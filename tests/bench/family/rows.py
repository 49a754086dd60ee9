"""The rows of the table: what each measures on one seed, and what is wanted of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mltetris_server.game.config import FeatureSet, GameConfig, Randomizer, Rule

from bench.family.cold import seconds_to_goal
from bench.family.learning import Learner, Task, examine, periods

Figures = Mapping[str, float]
"""What one seed gave, by name; a goal that was not reached is absent."""

STANDARD = GameConfig()
SMALL_PUBLISHED = GameConfig(10, 10, Rule.PUBLISHED, Randomizer.UNIFORM)
SMALL_GYMNASIUM = GameConfig(10, 10, Rule.GYMNASIUM, Randomizer.BAG7)

GAMES = 20
LAST_GAMES = 500
NO_LIMIT = 10**9


@dataclass(frozen=True)
class Figure:
    """One figure of a row, over all seeds the median.

    Attributes:
        name: Its key in what a seed gives.
        what: For people.
        unit: Of the value.
        wanted: At least or at most what, and the aim.
    """

    name: str
    what: str
    unit: str
    wanted: str


@dataclass(frozen=True)
class Measurement:
    """A part of the table.

    Attributes:
        measure: Seed and seconds to spend at most, to figures.
        seconds: Those seconds, where nothing else is said.
        cores: Cores that it needs to itself.
        figures: What it gives.
    """

    measure: Callable[[int, float], Figures]
    seconds: float
    cores: int
    figures: tuple[Figure, ...]


def times_to(task: Task, goals: tuple[int, ...]) -> Callable[[int, float], Figures]:
    """Seconds of learning until 20 greedy games have a mean of so many lines."""

    def measure(seed: int, seconds: float) -> Figures:
        learner = Learner(task, seed)
        figures: dict[str, float] = {}
        left = list(goals)
        for stretch in periods(0.05, 1.15, 5.0):
            learner.learn(stretch)
            while left:
                # Games are cut off past the goal: a mean with cut-off games is a lower bound.
                result = learner.examine(GAMES, round(2.5 * left[0]))
                if result.mean_lines < left[0]:
                    break
                figures[f"seconds_to_{left[0]}"] = learner.seconds
                figures[f"placements_to_{left[0]}"] = learner.placements
                left.pop(0)
            if not left or learner.seconds >= seconds:
                return figures
        raise AssertionError("periods() does not end")

    return measure


def speed(task: Task, placements: int) -> Callable[[int, float], Figures]:
    """Placements a second while learning, past the beginning."""

    def measure(seed: int, seconds: float) -> Figures:
        learner = Learner(task, seed)
        learner.learn(min(1.0, seconds / 5))
        made, spent = learner.placements, learner.seconds
        while learner.placements - made < placements and learner.seconds - spent < seconds:
            learner.learn(0.5)
        return {"speed": (learner.placements - made) / (learner.seconds - spent)}

    return measure


def staying(task: Task, goal: int, aim: int) -> Callable[[int, float], Figures]:
    """The worst examinations after the goal was first reached, and what the best model is worth.

    Games are cut off past the aim, as everywhere here.
    """
    limit = round(2.5 * aim)

    def measure(seed: int, seconds: float) -> Figures:
        learner = Learner(task, seed)
        for stretch in periods(0.2, 1.2, 2.0):
            learner.learn(stretch)
            if learner.examine(GAMES, 3 * goal).mean_lines >= goal:
                break
        reached, best, best_lines = learner.seconds, learner.agent.player(), 0.0
        worst = float("inf")
        while learner.seconds - reached < seconds:
            learner.learn(seconds / 12)
            result = learner.examine(10, limit)
            worst = min(worst, result.mean_lines)
            if result.mean_lines > best_lines:
                best, best_lines = learner.agent.player(), result.mean_lines
        kept = examine(best, task.game, 10, seed, limit, last=True)
        return {"worst": worst, "kept": kept.mean_lines}

    return measure


def best_within(task: Task, enough: float, *, games: int = 500) -> Callable[[int, float], Figures]:
    """Mean lines of the best policy within a time, on games seen nowhere else.

    The time is the clock's, and choosing the best is within it: every eighth of the time is
    learning and an examination; oftener would find luck and not skill. It ends early where an
    examination is clearly above `enough`: its mean less two standard errors.
    """

    def measure(seed: int, seconds: float) -> Figures:
        learner = Learner(task, seed)
        best, best_lines, when = learner.agent.player(), -1.0, 0.0
        begin, examining = time.perf_counter(), 0.0
        for part in range(1, 9):
            left = begin + part * seconds / 8 - time.perf_counter()
            learner.learn(max(left - examining, seconds / 80))
            before = time.perf_counter()
            result = learner.examine(games, NO_LIMIT)
            examining = time.perf_counter() - before
            if result.mean_lines > best_lines:
                best, best_lines = learner.agent.player(), result.mean_lines
                when = time.perf_counter() - begin
            if result.mean_lines - 2 * result.standard_error > enough:
                break
        last = examine(best, task.game, LAST_GAMES, seed, NO_LIMIT, last=True)
        return {
            "lines": last.mean_lines,
            "error": last.standard_error,
            "median": last.median_lines,
            "seconds": when,
            "placements": learner.placements,
        }

    return measure


def _goals(algorithm: str, bounds: Mapping[int, str]) -> tuple[Figure, ...]:
    return tuple(
        Figure(f"seconds_to_{goal}", f"{algorithm}: to a mean of {goal:,} lines, 10x20", "s", bound)
        for goal, bound in bounds.items()
    )


def _speed(algorithm: str, threads: int, wanted: str) -> tuple[Figure, ...]:
    cores = "one core" if threads == 1 else f"{threads} threads"
    return (Figure("speed", f"{algorithm}, learning included, {cores}", "placements/s", wanted),)


def _lines(what: str, wanted: str) -> tuple[Figure, ...]:
    return (
        Figure("lines", what, "lines", wanted),
        Figure("error", "  its standard error", "lines", ""),
        Figure("seconds", "  reached after", "s", ""),
    )


MEASUREMENTS: dict[str, Measurement] = {
    "td-speed": Measurement(
        speed(Task("td", STANDARD), 2_000_000), 20, 1, _speed("td", 1, ">= 130,000, aim 250,000")
    ),
    "td-speed-2": Measurement(
        speed(Task("td", STANDARD, threads=2), 4_000_000),
        20,
        2,
        _speed("td", 2, ">= 200,000, aim 400,000"),
    ),
    "dqn-speed": Measurement(
        speed(Task("dqn", STANDARD), 400_000), 20, 1, _speed("dqn", 1, ">= 12,000, aim 25,000")
    ),
    "ppo-speed": Measurement(speed(Task("ppo", STANDARD), 400_000), 20, 1, _speed("ppo", 1, "")),
    "cem-speed": Measurement(speed(Task("cem", STANDARD), 4_000_000), 20, 1, _speed("cem", 1, "")),
    "td": Measurement(
        times_to(Task("td", STANDARD), (1_000, 10_000, 100_000)),
        120,
        1,
        _goals(
            "td",
            {
                1_000: "<= 3, aim 1",
                10_000: "<= 10, aim 2",
                100_000: "<= 60, aim 15",
            },
        ),
    ),
    "dqn": Measurement(
        times_to(Task("dqn", STANDARD), (1_000, 10_000)),
        120,
        1,
        _goals("dqn", {1_000: "", 10_000: ""}),
    ),
    "ppo": Measurement(
        times_to(Task("ppo", STANDARD), (1_000, 10_000)),
        180,
        1,
        _goals("ppo", {1_000: "<= 60, aim 15", 10_000: ""}),
    ),
    "cem": Measurement(
        times_to(Task("cem", STANDARD), (1_000, 10_000, 100_000)),
        120,
        1,
        _goals("cem", {1_000: "", 10_000: "", 100_000: ""}),
    ),
    "staying": Measurement(
        staying(Task("td", STANDARD), 10_000, 100_000),
        120,
        1,
        (
            Figure(
                "worst",
                "td: worst of 12 examinations in the two minutes after 10,000",
                "lines",
                ">= 10,000, aim 100,000",
            ),
            Figure("kept", "  the best model of them, on fresh games", "lines", ""),
        ),
    ),
    "published": Measurement(
        best_within(Task("cem", SMALL_PUBLISHED, FeatureSet.DT, threads=2), 5_000),
        600,
        2,
        _lines("cem: 10x10, uniform, published, best of 10 min", ">= 4,200, aim 5,000"),
    ),
    "gymnasium": Measurement(
        best_within(Task("cem", SMALL_GYMNASIUM, FeatureSet.DT, threads=2), 6_800),
        600,
        2,
        _lines("cem: 10x10, 7-bag, gymnasium, best of 10 min", ">= 5,800, aim 6,800"),
    ),
    "board": Measurement(
        times_to(Task("td", STANDARD, FeatureSet.BOARD), (100, 1_000, 10_000)),
        600,
        1,
        _goals(
            "td from the raw board",
            {100: "<= 600", 1_000: "<= 600 is the aim", 10_000: ""},
        ),
    ),
    "cold": Measurement(
        lambda seed, seconds: {"seconds": seconds_to_goal(seed)},
        60,
        2,
        (Figure("seconds", "td: StartRun to 1,000 lines, new process", "s", "<= 15, aim 6"),),
    ),
    "empty": Measurement(
        lambda seed, seconds: {"seconds": seconds_to_goal(seed, compiled=False)},
        120,
        2,
        (Figure("seconds", "  with nothing compiled yet", "s", ""),),
    ),
}

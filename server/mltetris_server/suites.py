"""Benchmark suites: fixed games on fixed pieces, so that results of different days compare.

The server fills a benchmark's spec in from its suite; the worker scores by it. A suite that has
been published is never changed: another one gets another name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

ScoreName = Literal["mean_lines", "sprint_efficiency"]


@dataclass(frozen=True, slots=True)
class Suite:
    """One suite."""

    name: str
    """What it is called, of a-z 0-9 -."""
    description: str
    """One sentence for people."""
    width: int
    """Columns."""
    height: int
    """Rows."""
    rule: str
    """When a game is over: `gymnasium` or `published`."""
    randomizer: str
    """How pieces come: `bag7` or `uniform`."""
    games: int
    """Games a player."""
    seed: int
    """Seed of the pieces."""
    max_lines: int
    """Lines after which a game is cut off; 0: never."""
    score: ScoreName
    """What its score is."""


_SUITES: Final = (
    Suite(
        "standard-10x20-bag",
        "The game as most people know it: 10x20 and 7-bag; 50 games, cut off at 100,000 lines.",
        width=10,
        height=20,
        rule="gymnasium",
        randomizer="bag7",
        games=50,
        seed=0,
        max_lines=100_000,
        score="mean_lines",
    ),
    Suite(
        "literature-10x10",
        "The small board of the literature: 10x10, uniform pieces, published rule; 400 games to "
        "their end.",
        width=10,
        height=10,
        rule="published",
        randomizer="uniform",
        games=400,
        seed=0,
        max_lines=0,
        score="mean_lines",
    ),
    Suite(
        "sprint-40-lines",
        "40 lines with as few pieces as possible: 10x20 and 7-bag; 100 games.",
        width=10,
        height=20,
        rule="gymnasium",
        randomizer="bag7",
        games=100,
        seed=0,
        max_lines=40,
        score="sprint_efficiency",
    ),
)

SUITES: Final[Mapping[str, Suite]] = {suite.name: suite for suite in _SUITES}
"""Every suite by its name, the standard one first."""

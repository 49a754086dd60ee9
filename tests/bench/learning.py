"""How fast `td` learns: bare `learn()`, without the service.

Seconds are of CPU time where one core learns, and on the clock where two do, for which the machine
should be quiet; compiling and evaluating are not counted. "To 1,000 lines": until a greedy
evaluation of 20 games (10x20, 7-bag, rule gymnasium), taken every 20,000 placements, has a mean of
1,000 lines or more.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

from mltetris_server.hyperparameters import TdConfig
from mltetris_server.learning.evaluation import GreedyEvaluation
from mltetris_server.learning.td import TD
from mltetris_server.learning.warming import warm_up

from bench.report import Row, median

GOAL_LINES = 1000
LIMIT_SECONDS = 30.0
BETWEEN_EVALUATIONS = 20_000
FIRST_SEED = 1_000
"""Defaults were chosen on seeds 0 to 9; these were not looked at."""


@dataclass(frozen=True)
class Attempt:
    """How one seed fared. `seconds` of learning, `lines` of the last evaluation (fresh seeds)."""

    seed: int
    seconds: float
    placements: int
    lines: float


def attempts(
    seeds: int, config: TdConfig | None = None, limit: float = LIMIT_SECONDS
) -> Iterator[Attempt]:
    """Seeds from `FIRST_SEED` on, each until the goal or `limit` seconds of learning."""
    for seed in range(FIRST_SEED, FIRST_SEED + seeds):
        td, seconds, lines = TD(seed=seed, config=config), 0.0, 0.0
        while seconds < limit and lines < GOAL_LINES:
            start = time.process_time()
            td.learn(BETWEEN_EVALUATIONS, reset_num_timesteps=False)
            seconds += time.process_time() - start
            result = GreedyEvaluation(td.player(), td.game, 20, 10_000 + seed, 2500).run()
            lines = result.mean_lines
        yield Attempt(seed, seconds, td.num_timesteps, lines)


def speed(placements: int, threads: int = 1) -> float:
    """Placements per second of bare `learn()`, past its beginning; best of three.

    With one thread, seconds are of CPU time. With more they are on the clock: the two shares of
    a rollout are waited for, and what other work on the machine takes is missing.
    """
    clock = time.process_time if threads == 1 else time.perf_counter
    best = 0.0
    for attempt in range(3):
        td = TD(seed=FIRST_SEED + attempt, threads=threads)
        td.learn(100_000)
        start = clock()
        td.learn(placements, reset_num_timesteps=False)
        best = max(best, placements / (clock() - start))
    return best


def measure(*, quick: bool = False) -> list[Row]:
    """The figures, as rows of a report."""
    warm_up()
    seeds = 3 if quick else 10
    tries = list(attempts(seeds))
    reached = [attempt for attempt in tries if attempt.lines >= GOAL_LINES]
    return [
        Row("td, bare learn()", speed(300_000), "placements/s", ">= 130,000", "one core"),
        Row("td, two threads", speed(300_000, 2), "placements/s", ">= 200,000", "on the clock"),
        Row("seeds to 1,000 lines", len(reached), f"of {seeds}", ">= 9 of 10", "within 30 s"),
        Row("time to 1,000 lines", median(a.seconds for a in tries), "s", "< 30 s", "median"),
        Row("the slowest seed", max(a.seconds for a in tries), "s", "< 30 s"),
        Row("placements to 1,000 lines", median(a.placements for a in tries), "", "", "median"),
    ]


def main() -> None:
    """Print every seed, then the figures; `--set td_lambda=0.5` tries another setting."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--limit", type=float, default=LIMIT_SECONDS, help="seconds a seed")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    options = parser.parse_args()
    settings = dict(setting.split("=", 1) for setting in options.set)
    config = TdConfig.from_dict({name: json.loads(value) for name, value in settings.items()})
    warm_up()
    tries = []
    for attempt in attempts(options.seeds, config, options.limit):
        tries.append(attempt)
        print(
            f"seed {attempt.seed}: {attempt.lines:,.0f} lines after {attempt.seconds:.2f} s "
            f"and {attempt.placements:,} placements",
            flush=True,
        )
    reached = sorted(a.placements for a in tries if a.lines >= GOAL_LINES)
    print(f"reached {GOAL_LINES:,} lines: {len(reached)} of {len(tries)} seeds, {reached}")
    print(f"while learning, by default: {speed(300_000):,.0f} placements/s")
    print(f"with two threads, on the clock: {speed(300_000, 2):,.0f} placements/s")


if __name__ == "__main__":
    main()

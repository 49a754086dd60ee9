"""What the project promises of its learner, on ten seeds."""

import time

import pytest
from mltetris_server.learning.evaluation import GreedyEvaluation
from mltetris_server.learning.td import TD
from mltetris_server.learning.warming import warm_up

GOAL_LINES = 1000
LIMIT_SECONDS = 3.0
LATER_LINES = 10_000


def train_to_goal(seed: int) -> tuple[float, int, TD]:
    """Seconds of CPU time and placements until a greedy evaluation reaches the goal."""
    td, seconds = TD(seed=seed), 0.0
    while seconds < LIMIT_SECONDS:
        start = time.process_time()
        td.learn(20_000, reset_num_timesteps=False)
        seconds += time.process_time() - start
        found = GreedyEvaluation(td.player(), td.game, 20, 10_000 + seed, 2500).run()
        if found.mean_lines >= GOAL_LINES:
            break
    return seconds, td.num_timesteps, td


@pytest.mark.slow
def test_nine_seeds_of_ten_reach_a_thousand_lines_and_soon_ten_thousand(capsys):
    warm_up()
    reached = 0
    for seed in range(3_000, 3_010):  # the defaults were chosen on 0 to 9
        seconds, placements, td = train_to_goal(seed)
        best = GreedyEvaluation(td.player(), td.game, 20, 20_000 + seed, 2500).run()
        td.learn(1_000_000, reset_num_timesteps=False)
        later = GreedyEvaluation(td.player(), td.game, 10, 30_000 + seed, 12_000).run()
        with capsys.disabled():
            print(
                f"\nseed {seed}: goal after {seconds:.2f} s of CPU time and {placements:,} "
                f"placements; fresh games {best.mean_lines:,.0f} lines (cut off at 2,500), "
                f"{later.mean_lines:,.0f} (cut off at 12,000) a million placements later",
                end="",
            )
        reached += seconds < LIMIT_SECONDS and later.mean_lines >= LATER_LINES
    assert reached >= 9

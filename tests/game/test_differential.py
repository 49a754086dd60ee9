"""The engine plays exactly as tetris-gymnasium does.

Boards, legality, candidates, lines, rewards and game over, the simple features and the raw cells of
every afterstate, at every placement of every board; see `support.differential`.
"""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

import pytest
from mltetris_server.game.config import GameConfig, Randomizer
from support.differential import Seen, compare

UNIFORM = Randomizer.UNIFORM


@pytest.mark.parametrize(
    ("config", "placements", "recklessness"),
    [
        (GameConfig(), 400, 0.02),
        (GameConfig(), 200, 1.0),
        (GameConfig(10, 10, randomizer=UNIFORM), 400, 0.2),
        (GameConfig(6, 8), 500, 0.3),
        (GameConfig(5, 5, randomizer=UNIFORM), 500, 0.5),
        (GameConfig(4, 4), 300, 1.0),
        (GameConfig(32, 40), 20, 0.5),
    ],
    ids=lambda value: f"{value.width}x{value.height}" if isinstance(value, GameConfig) else None,
)
def test_a_slice(config: GameConfig, placements: int, recklessness: float) -> None:
    seen = compare(config, seed=placements, placements=placements, recklessness=recklessness)
    assert seen.placements == placements
    if config.height < 20:
        assert seen.lines > 0 or config.width == 4
        assert seen.blocked > 0
        assert seen.blocked_spawns > 0


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_hundred_thousand_placements() -> None:
    share = 2_500
    tasks = [
        (config, seed, share, recklessness)
        for seed, recklessness in enumerate((0.0, 0.05, 0.2, 0.5, 1.0))
        for config in (
            GameConfig(),
            GameConfig(10, 20, randomizer=UNIFORM),
            GameConfig(12, 24, randomizer=UNIFORM),
            GameConfig(10, 10),
            GameConfig(10, 10, randomizer=UNIFORM),
            GameConfig(8, 12),
            GameConfig(7, 9, randomizer=UNIFORM),
            GameConfig(4, 6),
        )
    ]
    seen = Seen()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
        jobs = [
            pool.submit(compare, config, 1000 * k + seed, placements, recklessness)
            for k, (config, seed, placements, recklessness) in enumerate(tasks)
        ]
        for job in jobs:
            seen += job.result()
    assert seen.placements >= 100_000
    assert seen.lines > 10_000
    assert seen.blocked > 1_000
    assert seen.blocked_spawns > 1_000
    assert seen.overhangs > 100

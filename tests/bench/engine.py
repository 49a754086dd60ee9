"""Placements per second: the compiled engine, and tetris-gymnasium's wrapper beside it.

Seconds are of CPU time, so that other work on the machine matters less. Both run on one core
and look at every placement of every piece: the engine computes the full BCTS set of each
afterstate, the wrapper (GroupedActionsObservations with FeatureVectorObservation) its features.
"""

from __future__ import annotations

import dataclasses
import time

import numpy as np
from mltetris_server.game.config import FeatureSet, GameConfig
from mltetris_server.game.players import PLAYERS, play_games

from bench.report import Row, as_table

ATTEMPTS = 3
ON_ONE = "one core, 10x20"


def engine_speed(player: str, placements: int, features: FeatureSet | None = None) -> float:
    """Placements per second of CPU time of a reference player on 10x20, best of three.

    `features`: of every afterstate, in place of those that the player plays by.
    """
    config = GameConfig()
    who = PLAYERS[player]
    if features is not None:
        who = dataclasses.replace(who, feature_set=features)
    play_games(who, config, 1, 1, 10)  # compiled by now
    games = 1 if player != "random" else placements // 25
    best = 0.0
    for attempt in range(ATTEMPTS):
        start = time.process_time()
        played = play_games(who, config, games, attempt, placements)
        best = max(best, float(played.placements.sum()) / (time.process_time() - start))
    return best


def upstream_speed(placements: int) -> float:
    """Placements per second of CPU time of tetris-gymnasium's wrapper: random legal play, 10x20."""
    from tetris_gymnasium.envs.tetris import Tetris
    from tetris_gymnasium.wrappers.grouped import GroupedActionsObservations
    from tetris_gymnasium.wrappers.observation import FeatureVectorObservation

    env = Tetris()
    grouped = GroupedActionsObservations(env, [FeatureVectorObservation(env)])
    rng = np.random.default_rng(1)
    grouped.reset(seed=1)
    best = 0.0
    for _ in range(ATTEMPTS):
        start = time.process_time()
        for _ in range(placements):
            action = rng.choice(np.flatnonzero(grouped.legal_actions_mask))
            if grouped.step(action)[2]:
                grouped.reset()
        best = max(best, placements / (time.process_time() - start))
    return best


def measure(*, quick: bool = False) -> list[Row]:
    """The figures, as rows of a report."""
    scale = 1 if quick else 4
    bcts = engine_speed("bcts", 250_000 * scale)
    dt10 = engine_speed("dt10", 250_000 * scale)
    random = engine_speed("random", 250_000 * scale)
    simple = engine_speed("random", 250_000 * scale, FeatureSet.SIMPLE)
    board = engine_speed("random", 250_000 * scale, FeatureSet.BOARD)
    upstream = upstream_speed(100 * scale)
    return [
        Row("engine, BCTS greedy play", bcts, "placements/s", ">= 400,000, aim 800,000", ON_ONE),
        Row("engine, DT-10 greedy play", dt10, "placements/s", "", ON_ONE),
        Row("engine, random play, bcts features", random, "placements/s", ">= 400,000", ON_ONE),
        Row("  simple features", simple, "placements/s", ">= 1.4 million, aim 3 million", ON_ONE),
        Row("  raw boards", board, "placements/s", "", ON_ONE),
        Row("tetris-gymnasium's wrapper", upstream, "placements/s", "", "random play, 10x20"),
        Row("engine / wrapper, random play", random / upstream, "times"),
    ]


def main() -> None:
    """Print the figures."""
    print(as_table(measure(quick=True)))


if __name__ == "__main__":
    main()

"""How far Stable-Baselines3's stock algorithms come on tetris-gymnasium's eight keys.

DQN and PPO with `MlpPolicy` and all of their defaults learn `mltetris/Keys-v0` (10x20, 7-bag) for
so many seconds of CPU time on one core, then play 20 greedy games on fresh pieces. Beside them:
the same two on `mltetris/Placement-v0`, and games by chance.

.venv/bin/python -m bench.keys                (in tests/) 60 s each, three seeds: 13 minutes
.venv/bin/python -m bench.keys --quick        10 s each, one seed
.venv/bin/python -m bench.keys --seconds 600 --seeds 1
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import torch
from mltetris_server.game.environments import PlacementEnv
from mltetris_server.game.keys_environment import KeysEnv
from mltetris_server.game.registration import KEYS_ENV, PLACEMENT_ENV
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.logger import Logger

from bench.report import Row, as_table, median

SECONDS, QUICK_SECONDS = 60.0, 10.0
SEEDS = 3
GAMES = 20
CHANCE_GAMES, QUICK_CHANCE_GAMES = 5_000, 500
FIRST_SEED = 3_000
"""Nothing was chosen by looking at these seeds; there is nothing to choose but the defaults."""

ENVIRONMENTS = {"keys": KEYS_ENV, "placements": PLACEMENT_ENV}
ALGORITHMS: dict[str, type[DQN] | type[PPO]] = {"PPO": PPO, "DQN": DQN}
_CALIBRATION = 4_096  # steps; two of PPO's rollouts

Env = KeysEnv | PlacementEnv
Chooser = Callable[[Env, Any], int]


@dataclass(frozen=True)
class Played:
    """Means over games: lines cleared and pieces settled a game, actions a piece."""

    lines: float
    pieces: float
    actions: float


@dataclass(frozen=True)
class Attempt:
    """How one seed fared: what was learnt in, and how it played then."""

    seconds: float
    steps: int
    played: Played


@contextmanager
def one_core() -> Iterator[None]:
    """So that a second of CPU time is a second."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def learnt(algorithm: str, env: str, seed: int, steps: int) -> tuple[DQN | PPO, float]:
    """A stock algorithm after so many steps, and the CPU seconds they took."""
    made = gymnasium.make(ENVIRONMENTS[env])
    model = ALGORITHMS[algorithm]("MlpPolicy", made, seed=seed, device="cpu")
    model.set_logger(Logger(None, []))  # the default one leaves a folder behind
    start = time.process_time()
    model.learn(steps)
    return model, time.process_time() - start


def play(env: Env, choose: Chooser, games: int, seed: int) -> Played:
    """Let `choose` play whole games of a seed."""
    observation, info = env.reset(seed=seed)
    lines = pieces = actions = 0
    for game in range(games):
        if game:
            observation, info = env.reset()
        over = False
        while not over:
            observation, _, over, _, info = env.step(np.int64(choose(env, observation)))
            actions += 1
        lines += info["lines"]
        pieces += info["placements"]
    return Played(lines / games, pieces / games, actions / pieces)


def by_chance(name: str, games: int) -> Played:
    """Random keys, or random placements out of those there are."""
    rng = np.random.default_rng(FIRST_SEED)

    def choose(env: Env, observation: Any) -> int:
        if isinstance(env, PlacementEnv):
            return int(rng.choice(np.flatnonzero(env.action_masks())))
        return int(rng.integers(8))

    return play(_made(name), choose, games, 10_000 + FIRST_SEED)


def attempts(algorithm: str, env: str, seeds: int, seconds: float) -> Iterator[Attempt]:
    """Seeds from `FIRST_SEED` on, each learning for `seconds` of CPU time, as near as may be.

    DQN's exploration falls over the first tenth of the steps it is told to make, so their
    number has to be known before: the speed is measured first.
    """
    _, spent = learnt(algorithm, env, 0, _CALIBRATION)
    steps = max(_CALIBRATION, int(_CALIBRATION * seconds / spent))
    for seed in range(FIRST_SEED, FIRST_SEED + seeds):
        model, spent = learnt(algorithm, env, seed, steps)

        def greedy(env: Env, observation: Any, model: DQN | PPO = model) -> int:
            return int(model.predict(observation, deterministic=True)[0])

        played = play(_made(env), greedy, GAMES, 10_000 + seed)
        yield Attempt(spent, model.num_timesteps, played)


def _made(name: str) -> Env:
    return KeysEnv() if name == "keys" else PlacementEnv()


def measure(*, quick: bool = False, seconds: float | None = None, seeds: int = 0) -> list[Row]:
    """The figures, as rows of a report.

    Args:
        quick: 10 seconds and one seed instead of 60 and three.
        seconds: Of learning, for each algorithm and seed, if not these.
        seeds: How many, if not these.
    """
    seconds = seconds or (QUICK_SECONDS if quick else SECONDS)
    seeds = seeds or (1 if quick else SEEDS)
    chance_games = QUICK_CHANCE_GAMES if quick else CHANCE_GAMES
    rows = []
    for env in ENVIRONMENTS:
        played = by_chance(env, chance_games)
        note = f"{chance_games:,} games, {played.actions:.2f} actions a piece"
        rows += _played_rows(f"random {env}", played, note)
    with one_core():
        for env in ENVIRONMENTS:
            for algorithm in ALGORITHMS:
                tries = list(attempts(algorithm, env, seeds, seconds))
                rows += _rows(f"stock {algorithm} on {env}", tries)
    return rows


def _rows(name: str, tries: list[Attempt]) -> list[Row]:
    mean = Played(
        sum(attempt.played.lines for attempt in tries) / len(tries),
        sum(attempt.played.pieces for attempt in tries) / len(tries),
        sum(attempt.played.actions for attempt in tries) / len(tries),
    )
    best = max(attempt.played.lines for attempt in tries)
    spent = median(attempt.seconds for attempt in tries)
    steps = median(attempt.steps for attempt in tries)
    note = f"{len(tries)} x {GAMES} games, {mean.actions:.2f} actions a piece"
    return [
        *_played_rows(name, mean, f"{note}, best seed {best:.2f} lines"),
        Row(f"{name}, learning", steps / spent, "steps/s", "", f"{steps:,.0f} in {spent:.0f} s"),
    ]


def _played_rows(name: str, played: Played, note: str) -> list[Row]:
    return [
        Row(f"{name}, a game", played.lines, "lines", "", note),
        Row(f"{name}, a game", played.pieces, "pieces"),
    ]


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="10 s and one seed")
    parser.add_argument("--seconds", type=float, help="of learning, for each")
    parser.add_argument("--seeds", type=int, default=0, help="how many, from 3000 on")
    options = parser.parse_args()
    print(as_table(measure(quick=options.quick, seconds=options.seconds, seeds=options.seeds)))


if __name__ == "__main__":
    main()

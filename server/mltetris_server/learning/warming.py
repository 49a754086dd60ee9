"""Compiles everything that learning and playing use, into the cache on disk."""

from __future__ import annotations

import numpy as np

from mltetris_server.game.config import FeatureSet, GameConfig
from mltetris_server.game.display import ShownGame
from mltetris_server.hyperparameters import CemConfig, DqnConfig, PpoConfig, TdConfig
from mltetris_server.learning.cem import CEM
from mltetris_server.learning.dqn import CandidateDQN
from mltetris_server.learning.evaluation import GreedyEvaluation
from mltetris_server.learning.ppo import CandidatePPO
from mltetris_server.learning.simulation.crew import load
from mltetris_server.learning.simulation.plan import Plan
from mltetris_server.learning.td import TD
from mltetris_server.learning.trajectories import Trajectories
from mltetris_server.learning.warm_start import CLONING, REPLAY, begin


def warm_up() -> None:
    """Learn, evaluate and play for a moment: every kernel is compiled, or loaded, after it.

    Kernels take sizes, rules and feature sets at run time, so that this is all there is.
    """
    least = TdConfig(boards=2, rollout_steps=2, batch_size=2, window=1)
    TD(features=FeatureSet.BOARD, config=least, seed=0).learn(4)
    td = TD(config=least, seed=0)
    td.learn(4)
    small = DqnConfig(boards=2, rollout_steps=2, batch_size=2, memory=4, learning_starts=1)
    CandidateDQN(config=small, seed=0).learn(4)
    CandidatePPO(config=PpoConfig(boards=2, rollout_steps=2, batch_size=2), seed=0).learn(4)
    CEM(config=CemConfig(boards=2, elite=1), seed=0).learn(2)
    _start_warm(least)
    player = td.player()
    GreedyEvaluation(player, td.game, games=1, seed=0, max_lines=1).advance(1)
    player.choose(ShownGame(GameConfig(), seed=0))
    load(Plan(player, GameConfig(), FeatureSet.SIMPLE, seed=0))


def _start_warm(config: TdConfig) -> None:
    """Learn from a game of one placement, in every way there is."""
    square, middle = np.full(1, 2, np.uint8), np.full(1, 16, np.uint8)
    none = np.zeros(1, np.int64)
    game = Trajectories(GameConfig(), square, square, middle, none, np.zeros(1, np.uint8), none)
    board = TD(features=FeatureSet.BOARD, config=config, seed=0)
    agents = ((TD(config=config, seed=0), CLONING), (CEM(seed=0), CLONING), (board, CLONING))
    for agent, method in (*agents, (board, REPLAY)):
        warm_start = begin(
            agent, game, method=method, epochs=1, max_placements=1, learning_rate=0.01
        )
        while not warm_start.done:
            warm_start.advance()
        warm_start.settle()

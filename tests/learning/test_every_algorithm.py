"""What every algorithm promises, in the same words."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch as th
from mltetris_server.game.config import FeatureSet, GameConfig
from mltetris_server.game.registration import PLACEMENT_ENV
from mltetris_server.hyperparameters import (
    TRAINABLE,
    CemConfig,
    DqnConfig,
    PpoConfig,
    TdConfig,
)
from mltetris_server.learning.algorithms import algorithm
from mltetris_server.learning.checkpoint import dump, load
from mltetris_server.learning.model import ModelDescription
from stable_baselines3.common.callbacks import BaseCallback

LOW = GameConfig(10, 6)
SMALL: dict[str, Any] = {
    "td": TdConfig(
        boards=4,
        rollout_steps=8,
        batch_size=16,
        epochs=2,
        window=3,
        hidden_units=6,
        training_height=6,
    ),
    "dqn": DqnConfig(
        boards=4,
        rollout_steps=8,
        gradient_steps=3,
        batch_size=16,
        memory=64,
        learning_starts=40,
        hidden_units=6,
        training_height=6,
    ),
    "ppo": PpoConfig(
        boards=4, rollout_steps=8, batch_size=10, epochs=2, hidden_units=6, training_height=6
    ),
    "cem": CemConfig(boards=12, elite=3, training_height=6),
}
STRETCH = {"td": 128, "dqn": 128, "ppo": 64, "cem": 3000}
"""Placements in which something is learnt."""
ENOUGH = {"td": 20_000, "dqn": 4_000, "ppo": 2_000, "cem": 30_000}
"""Placements after which a learner with its defaults has a policy worth looking at."""

every = pytest.mark.parametrize("name", SMALL)
seen = pytest.mark.parametrize(
    ("name", "features"),
    [(name, FeatureSet(features)) for name in SMALL for features in TRAINABLE[name].feature_sets],
)


def small(name: str, seed: int = 1) -> Any:
    description = ModelDescription(FeatureSet.BCTS, LOW, SMALL[name])
    return algorithm(name).create(description, seed=seed, threads=1, verbose=0)


class Dumper(BaseCallback):
    """Takes a checkpoint at every turn."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[Any] = []

    def _on_step(self) -> bool:
        self.taken.append(dump(self.model))
        return True


def test_they_are_all_here() -> None:
    assert set(SMALL) == set(STRETCH) == set(ENOUGH) == set(TRAINABLE)


@every
@pytest.mark.parametrize("seed", [0, 7, 2**64 - 1])
def test_the_same_seed_learns_the_same(name: str, seed: int) -> None:
    one, same, other = small(name, seed), small(name, seed), small(name, seed ^ 1)
    for _ in range(4):
        for agent in (one, same, other):
            agent.learn(STRETCH[name], reset_num_timesteps=False)
        assert dump(one) == dump(same)
    assert one.metrics.episodes > 0
    assert dump(one)[1] != dump(other)[1]


@every
def test_a_callback_may_dump_at_any_turn_and_each_dump_goes_on_exactly(name: str) -> None:
    watched, plain, dumper = small(name), small(name), Dumper()
    total = 2 * STRETCH[name]
    watched.learn(total, dumper)
    plain.learn(total)
    assert dump(watched) == dump(plain)
    assert len(dumper.taken) > 5
    for taken in dumper.taken[:: max(1, len(dumper.taken) // 8)]:
        other = load(*taken)
        other.learn(total - other.num_timesteps, reset_num_timesteps=False)
        assert dump(other) == dump(plain)


@seen
@pytest.mark.parametrize("flat", [True, False])
def test_predict_chooses_what_the_player_chooses(
    name: str, features: FeatureSet, flat: bool
) -> None:
    config = TRAINABLE[name].for_game(20, features)
    description = ModelDescription(features, GameConfig(), config)
    agent: Any = algorithm(name).create(description, seed=2, threads=1, verbose=0)
    agent.learn(ENOUGH[name])
    env = gymnasium.make(PLACEMENT_ENV, feature_set=features, flat=flat)
    model = type(agent)(env=env, config=config, seed=0)
    model.policy.load_state_dict(agent.policy.state_dict())
    player, observation = agent.player(), env.reset(seed=3)[0]
    for _ in range(60):
        action, _ = model.predict(observation, deterministic=True)
        values = player.values(env.unwrapped.game)
        # Sums in another order: a tie may be broken the other way.
        assert values[action] == pytest.approx(values.max(), abs=1e-4)
        observation, _, over, _, _ = env.step(int(action))
        if over:
            observation, _ = env.reset()
    batch = np.stack([observation, observation])
    assert model.predict(batch, deterministic=True)[0].shape == (2,)


@every
def test_torchs_threads_are_left_as_they_were(name: str) -> None:
    before = th.get_num_threads()
    try:
        th.set_num_threads(2)
        small(name).learn(STRETCH[name])
        assert th.get_num_threads() == 2
    finally:
        th.set_num_threads(before)

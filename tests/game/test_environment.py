"""`mltetris/Placement-v0` as Gymnasium and Stable-Baselines3 want it."""

from __future__ import annotations

import subprocess
import sys
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check_env
from mltetris_server.game.config import FeatureSet, GameConfig
from mltetris_server.game.display import ShownGame
from mltetris_server.game.engine import CANDIDATE, ENDS_GAME, LEGAL
from mltetris_server.game.environments import PlacementEnv
from mltetris_server.game.registration import PLACEMENT_ENV, register
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.logger import Logger

KINDS: list[dict[str, Any]] = [
    {},
    {"feature_set": "simple"},
    {"feature_set": "dt"},
    {"feature_set": "board", "height": 24},
    {"width": 6, "height": 8, "rule": "published", "randomizer": "uniform"},
    {"render_mode": "rgb_array"},
    {"render_mode": "ansi"},
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_both_checkers_pass_without_a_warning(kind: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(PLACEMENT_ENV, **kind), skip_render_check=False)
        made = gymnasium.make(PLACEMENT_ENV, **kind)
        gymnasium_check_env(made.unwrapped, skip_render_check="render_mode" not in kind)


def test_registering_twice_is_no_matter() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        register()
        register()


def test_it_is_found_by_its_modules_name() -> None:
    code = (
        "import gymnasium;"
        "env = gymnasium.make('mltetris_server.game.registration:mltetris/Placement-v0');"
        "print(env.observation_space.shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(400,)"


@pytest.mark.parametrize("feature_set", ["simple", "bcts", "dt"])
def test_an_observation_is_the_scaled_afterstates_and_two_flags(feature_set: str) -> None:
    config = GameConfig(7, 12)
    env = PlacementEnv(7, 12, feature_set=feature_set, flat=False)
    flat = PlacementEnv(7, 12, feature_set=feature_set)
    rows, _ = env.reset(seed=9)
    vector, _ = flat.reset(seed=9)
    game = ShownGame(config, 9)
    rng = np.random.default_rng(1)
    ended = 0
    for _ in range(150):
        features, flags = game.afterstates(FeatureSet(feature_set))
        np.testing.assert_array_equal(rows[:, :-2], features)
        np.testing.assert_array_equal(rows[:, -2], (flags & CANDIDATE) != 0)
        np.testing.assert_array_equal(rows[:, -1], (flags & ENDS_GAME) != 0)
        np.testing.assert_array_equal(rows.reshape(-1), vector)
        np.testing.assert_array_equal(env.action_masks(), (flags & CANDIDATE) != 0)
        assert env.observation_space.contains(rows)
        assert flat.observation_space.contains(vector)
        action = np.int64(rng.choice(np.flatnonzero(flags & LEGAL)))
        before = game.score
        lines = game.place(int(action))
        rows, reward, over, truncated, info = env.step(action)
        vector = flat.step(action)[0]
        assert (reward, over, truncated) == (game.score - before, game.game_over, False)
        assert info["lines_cleared"] == lines
        assert (info["lines"], info["score"]) == (game.lines, game.score)
        assert (info["placements"], info["game_number"]) == (game.placements, game.episode)
        if over:
            ended += 1
            rows, _ = env.reset()
            vector, _ = flat.reset()
            game.restart()
    assert ended > 0


@pytest.mark.parametrize("height", [8, 20, 23, 40])
def test_with_board_an_observation_is_the_cells_of_every_afterstate(height: int) -> None:
    env = PlacementEnv(5, height, feature_set="board", flat=False)
    rows, _ = env.reset(seed=2)
    assert rows.shape == (20, 5 * height + 2)
    rng = np.random.default_rng(1)
    lines = 0
    for _ in range(60):
        game = env.game
        _, flags = game.afterstates(FeatureSet.BCTS)
        for action in range(20):
            cells = rows[action, :-2].reshape(height, 5)
            if not flags[action] & LEGAL or flags[action] & ENDS_GAME:
                assert not cells.any()
                continue
            after = game.cells != 0
            after.flat[list(game.landing_cells(action))] = True
            full = after.all(axis=1)
            lines += int(full.sum())
            kept = after[~full]
            np.testing.assert_array_equal(cells[: height - len(kept)], 0)
            np.testing.assert_array_equal(cells[height - len(kept) :], kept)
        np.testing.assert_array_equal(rows[:, -2], (flags & CANDIDATE) != 0)
        np.testing.assert_array_equal(rows[:, -1], (flags & ENDS_GAME) != 0)
        rows, _, over, _, _ = env.step(np.int64(rng.choice(np.flatnonzero(flags & LEGAL))))
        if over:
            rows, _ = env.reset()
    assert lines > 0


def test_a_stock_algorithm_trains_on_it() -> None:
    model = PPO("MlpPolicy", gymnasium.make(PLACEMENT_ENV), n_steps=64, seed=7, device="cpu")
    model.set_logger(Logger(None, []))
    model.learn(128)
    assert model.num_timesteps == 128
    assert model.ep_info_buffer, "what the monitor tells of finished games"


def test_an_illegal_action_costs_a_little_and_ends_the_episode() -> None:
    env = PlacementEnv()
    before, info = env.reset(seed=1)
    illegal = np.int64(np.flatnonzero(info["action_mask"] == 0)[0])
    after, reward, over, truncated, info = env.step(illegal)
    assert (reward, over, truncated) == (-0.1, True, False)
    assert info["placements"] == 0
    np.testing.assert_array_equal(before, after)


def test_seeds() -> None:
    env, other = PlacementEnv(), PlacementEnv()
    for seed in (0, 2**64 - 1):
        first, _ = env.reset(seed=seed)
        again, _ = other.reset(seed=seed)
        np.testing.assert_array_equal(first, again)
        assert env.game.next_pieces(30) == ShownGame(GameConfig(), seed).next_pieces(30)
    # Without a seed every environment has its own game, and the next one is another.
    env, other = PlacementEnv(), PlacementEnv()
    env.reset()
    other.reset()
    first_pieces = env.game.next_pieces(30)
    assert first_pieces != other.game.next_pieces(30)
    env.reset()
    assert env.game.next_pieces(30) != first_pieces
    with pytest.raises(ValueError, match="seed"):
        env.reset(seed=2**64)


def test_what_is_not_possible_is_refused() -> None:
    with pytest.raises(ValueError, match="render_mode"):
        PlacementEnv(render_mode="human")
    with pytest.raises(ValueError, match="width"):
        PlacementEnv(width=3)
    with pytest.raises(ValueError):
        PlacementEnv(feature_set="raw")
    env = PlacementEnv(4, 4)
    with pytest.raises(RuntimeError, match="reset"):
        env.step(np.int64(0))
    env.reset(seed=1)
    over = False
    while not over:
        over = env.step(np.int64(np.flatnonzero(env.action_masks())[0]))[2]
    with pytest.raises(ValueError, match="over"):
        env.step(np.int64(np.flatnonzero(env.action_masks())[0]))


def test_rendering() -> None:
    env = PlacementEnv(6, 8, render_mode="ansi")
    env.reset(seed=1)
    text = env.render()
    assert len(text.splitlines()) == 8
    assert sum(cell != "." for cell in text.replace("\n", "")) == 4
    env = PlacementEnv(6, 8, render_mode="rgb_array")
    env.reset(seed=1)
    assert env.render().shape == (128, 96, 3)

"""`mltetris/Keys-v0` as Gymnasium and Stable-Baselines3 want it, and its rules one by one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env as gymnasium_check_env
from mltetris_server.game.config import GameConfig, Rule
from mltetris_server.game.display import ShownGame
from mltetris_server.game.keys import Key, new_key_games, observation_size, observe, press
from mltetris_server.game.keys_environment import KeysEnv, KeysGame
from mltetris_server.game.registration import KEYS_ENV
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.logger import Logger

DOCUMENT = Path(__file__).parents[2] / "docs" / "learning" / "keys.md"

KINDS: list[dict[str, Any]] = [
    {},
    {"width": 6, "height": 8, "randomizer": "uniform"},
    {"render_mode": "rgb_array"},
    {"render_mode": "ansi"},
]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Small networks gain nothing from threads, and lose much on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_both_checkers_pass_without_a_warning(kind: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(KEYS_ENV, **kind), skip_render_check=False)
        made = gymnasium.make(KEYS_ENV, **kind)
        gymnasium_check_env(made.unwrapped, skip_render_check="render_mode" not in kind)


def test_registering_imports_nothing_heavy() -> None:
    code = (
        "import sys, gymnasium, mltetris_server.game.registration;"
        "print({'numba', 'torch', 'stable_baselines3'} & set(sys.modules));"
        "env = gymnasium.make('mltetris/Keys-v0');"
        "print(env.observation_space.shape, env.action_space.n)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["set()", "(444,) 8"]


def _play(env: KeysEnv, seed: int, steps: int = 300) -> list[Any]:
    rng = np.random.default_rng(seed)
    observation, info = env.reset(seed=seed)
    seen: list[Any] = [observation.tolist(), info]
    for _ in range(steps):
        observation, reward, over, truncated, info = env.step(rng.integers(8))
        seen += [observation.tolist(), reward, over, truncated, info]
        if over:
            env.reset()
    return seen


def test_the_same_seed_repeats_exactly() -> None:
    env, other = KeysEnv(), KeysEnv()
    games = set()
    for seed in (0, 1, 2**64 - 1):
        first = _play(env, seed)
        assert first == _play(other, seed) == _play(env, seed)
        games.add(repr(first[0]))
    assert len(games) == 3
    # Without a seed every environment has its own game, and the next one is another.
    env, other = KeysEnv(), KeysEnv()
    env.reset()
    other.reset()
    # The seeds; two games in 2,520 begin with the same pieces.
    first_seed = env.game.keys.games.streams[0, 0]
    assert first_seed != other.game.keys.games.streams[0, 0]
    assert env.reset()[1]["game_number"] == 2
    assert env.game.keys.games.streams[0, 0] == first_seed
    with pytest.raises(ValueError, match="seed"):
        env.reset(seed=2**64)


def test_the_pieces_are_those_of_whole_placements() -> None:
    game, shown = KeysGame(GameConfig(), 5), ShownGame(GameConfig(), 5)
    for _ in range(2):
        pieces = (shown.piece, *shown.next_pieces(20))
        for k in range(8):
            assert (game.piece, *game.queue) == pieces[k : k + 5]
            game.press(Key.HARD_DROP)
        game.restart()
        shown.restart()


def test_gravity_takes_every_piece_down() -> None:
    game = KeysGame(GameConfig(10, 6), 1)
    for y in range(1, 5):
        game.press(Key.NO_OP)
        assert (game.active.y, game.placements) == (y, 0)
    for _ in range(2):  # a flat piece may have one row left
        if game.placements == 0:
            game.press(Key.NO_OP)
    assert (game.placements, game.active.y, game.score) == (1, 0, 1)
    assert np.count_nonzero(game.cells) == 4
    assert np.count_nonzero(game.cells[-1]) >= 2


def test_keys_move_turn_and_drop() -> None:
    game = KeysGame(GameConfig(), _seed_with((3, 1)))
    start = game.active
    assert (start.x, start.y, start.rotation) == (4, 0, 0)
    game.press(Key.MOVE_LEFT)
    assert (game.active.x, game.active.y) == (3, 1)
    game.press(Key.MOVE_RIGHT)
    assert (game.active.x, game.active.y) == (4, 2)
    game.press(Key.MOVE_DOWN)
    assert (game.active.x, game.active.y) == (4, 4), "one by the key, one by gravity"
    game.press(Key.ROTATE_CLOCKWISE)
    assert game.active.rotation == 1, "a quarter counterclockwise, as upstream's key does"
    game.press(Key.ROTATE_COUNTERCLOCKWISE)
    assert game.active.rotation == 0
    for _ in range(12):
        game.press(Key.MOVE_LEFT)
    assert game.active.x == 0, "the wall holds it"
    assert game.press(Key.HARD_DROP) == 0
    assert (game.placements, game.score) == (1, 1)
    assert (game.piece, game.active.y) == (1, 0), "no gravity in the step of a hard drop"
    np.testing.assert_array_equal(np.flatnonzero(game.cells), [181, 190, 191, 192])
    assert set(game.cells.flat) == {0, 3}


def test_a_swap_keeps_how_the_piece_was_turned_and_comes_once_a_piece() -> None:
    game = KeysGame(GameConfig(), _seed_with((3, 6)))
    game.press(Key.ROTATE_CLOCKWISE)
    game.press(Key.SWAP)
    assert game.held == (3, 1)
    assert (game.piece, game.active.rotation, game.active.y) == (6, 0, 1)
    assert not game.may_swap
    game.press(Key.SWAP)
    assert (game.held, game.piece, game.active.y) == ((3, 1), 6, 2)
    game.press(Key.HARD_DROP)
    assert game.may_swap
    coming = game.piece
    game.press(Key.SWAP)
    assert (game.piece, game.active.rotation, game.held) == (3, 1, (coming, 0))
    game.restart()
    assert (game.held, game.may_swap) == (None, True)


def test_lines_are_paid_by_their_square() -> None:
    env = KeysEnv(4, 8, "uniform")
    env.reset(seed=_seed_with((2, 2), env.config))
    env.step(np.int64(Key.MOVE_RIGHT))
    _, reward, *_ = env.step(np.int64(Key.HARD_DROP))
    assert reward == 1
    for key in (Key.MOVE_LEFT, Key.MOVE_LEFT):
        assert env.step(np.int64(key))[1] == 0
    _, reward, over, _, info = env.step(np.int64(Key.HARD_DROP))
    assert (reward, over) == (1 + 4 * 2**2, False)
    assert (info["lines_cleared"], info["lines"], info["placements"]) == (2, 2, 2)
    assert not env.game.cells.any()


def test_the_end_earns_nothing() -> None:
    env = KeysEnv(10, 6)
    _, info = env.reset(seed=3)
    rewards, over = [], False
    while not over:
        _, reward, over, truncated, info = env.step(np.int64(Key.HARD_DROP))
        rewards.append(reward)
        assert not truncated
    assert rewards == [1.0] * (len(rewards) - 1) + [0.0]
    assert info["score"] == sum(rewards)
    assert info["placements"] == len(rewards)
    with pytest.raises(ValueError, match="over"):
        env.step(np.int64(Key.NO_OP))
    before = env.game.keys.games.columns.copy()
    assert press(env.game.keys, 0, Key.HARD_DROP) == (0, True)
    np.testing.assert_array_equal(before, env.game.keys.games.columns)


def test_the_order_of_an_observation() -> None:
    game = KeysGame(GameConfig(6, 8), _seed_with((1, 7), GameConfig(6, 8)))
    game.press(Key.HARD_DROP)
    game.press(Key.ROTATE_CLOCKWISE)
    game.press(Key.SWAP)
    seen = game.observation()
    np.testing.assert_array_equal(seen[:48].reshape(8, 6), game.cells != 0)
    assert tuple(np.flatnonzero(seen[48:96])) == game.active.cells
    at = 96
    assert seen[at : at + 4].tolist() == [1, 0, 0, 0]
    assert seen[at + 4] == 0, "no second swap"
    assert np.flatnonzero(seen[at + 5 : at + 12]).tolist() == [7 - 1]
    assert seen[at + 12 : at + 16].tolist() == [0, 1, 0, 0], "it was turned when it was swapped"
    queue = seen[at + 16 :].reshape(4, 7)
    assert tuple(queue.argmax(axis=1) + 1) == game.queue
    assert (queue.sum(axis=1) == 1).all()
    assert seen.shape == (observation_size(game.config),)


def test_rendering() -> None:
    env = KeysEnv(6, 8, render_mode="ansi")
    env.reset(seed=1)
    for key in (Key.HARD_DROP, Key.MOVE_LEFT, Key.NO_OP):
        env.step(np.int64(key))
    lines = env.render().splitlines()
    shown = np.array([[cell != "." for cell in line] for line in lines])
    assert shown.shape == (8, 6)
    assert np.count_nonzero(shown) == 8
    assert shown.flat[list(env.game.active.cells)].all()
    env = KeysEnv(6, 8, render_mode="rgb_array")
    env.reset(seed=1)
    before = env.render()
    assert (before.shape, before.dtype) == ((128, 96, 3), np.uint8)
    env.step(np.int64(Key.NO_OP))
    assert not np.array_equal(before, env.render())
    assert KeysEnv().render() is None


def test_what_is_not_possible_is_refused() -> None:
    with pytest.raises(ValueError, match="render_mode"):
        KeysEnv(render_mode="human")
    with pytest.raises(ValueError, match="width"):
        KeysEnv(width=3)
    with pytest.raises(ValueError):
        KeysEnv(randomizer="tgm")
    with pytest.raises(ValueError, match="gymnasium"):
        new_key_games(GameConfig(rule=Rule.PUBLISHED), 1, 0)
    env = KeysEnv()
    with pytest.raises(RuntimeError, match="reset"):
        env.step(np.int64(0))
    env.reset(seed=1)
    before = env.game.observation()
    for key in (-1, 8):
        with pytest.raises(ValueError, match="no key"):
            env.step(np.int64(key))
    np.testing.assert_array_equal(before, env.game.observation())
    with pytest.raises(ValueError, match="fit"):
        observe(env.game.keys, 0, np.zeros(10, np.uint8))


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("algorithm", ["dqn", "ppo"])
def test_stock_algorithms_train_on_it(
    algorithm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    env = gymnasium.make(KEYS_ENV, width=6, height=8)
    model: DQN | PPO
    if algorithm == "dqn":
        model = DQN("MlpPolicy", env, learning_starts=100, buffer_size=1000, seed=7, device="cpu")
    else:
        model = PPO("MlpPolicy", env, n_steps=128, seed=7, device="cpu")
    model.set_logger(Logger(None, []))
    before = model.policy.state_dict()
    before = {name: tensor.clone() for name, tensor in before.items()}
    model.learn(256)
    assert model.num_timesteps == 256
    assert model.ep_info_buffer, "what the monitor tells of finished games"
    assert any((model.policy.state_dict()[name] != before[name]).any() for name in before)
    observation, _ = env.reset(seed=1)
    over = False
    for _ in range(1000):
        if over:
            break
        action, _ = model.predict(observation, deterministic=True)
        observation, _, over, _, _ = env.step(action)
    assert over, "gravity ends every game of bad play"
    assert list(tmp_path.glob("SB3*")) == []


@pytest.mark.usefixtures("one_thread")
def test_the_example_in_the_documentation_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    example = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)[0]
    for long, short in (("learn(50_000)", "learn(64)"), ("env, seed=7", "env, n_steps=64, seed=7")):
        assert long in example
        example = example.replace(long, short)
    exec(example, {})
    assert capsys.readouterr().out.endswith(" pieces\n")


CHECKED_PLAY = """
import numpy as np
from mltetris_server.game.config import GameConfig
from mltetris_server.game.keys import new_key_games, observation_size, observe, press, reset_keys

rng = np.random.default_rng(1)
for size in ((4, 4), (10, 20), (32, 40), (5, 40), (32, 4)):
    config = GameConfig(*size)
    keys = new_key_games(config, 2, seed=1)
    out = np.empty(observation_size(config), np.uint8)
    for key in rng.integers(8, size=3000):
        over = press(keys, 1, int(key))[1]
        observe(keys, 1, out)
        if over:
            reset_keys(keys, 1)
print("played")
"""


def test_no_kernel_reaches_outside_an_array(tmp_path: Path) -> None:
    # A file, because numba caches nothing that has none.
    script = tmp_path / "play.py"
    script.write_text(CHECKED_PLAY, "utf-8")
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "NUMBA_BOUNDSCHECK": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "played\n"), done.stderr


def _seed_with(pieces: tuple[int, int], config: GameConfig | None = None) -> int:
    """The lowest seed whose first game begins with these two pieces."""
    for seed in range(10_000):
        game = KeysGame(config or GameConfig(), seed)
        if (game.piece, game.queue[0]) == pieces:
            return seed
    raise AssertionError(f"no seed begins with {pieces}")

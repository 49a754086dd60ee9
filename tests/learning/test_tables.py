import io
import json
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch as th
from mltetris_server.game.config import FeatureSet, GameConfig
from mltetris_server.game.display import ShownGame
from mltetris_server.game.engine import CANDIDATE, ENDS_GAME, LINES_SHIFT, new_games
from mltetris_server.game.packing import unpack_cells
from mltetris_server.game.registration import PLACEMENT_ENV
from mltetris_server.hyperparameters import HyperparameterError, TdConfig
from mltetris_server.learning.checkpoint import dump, load
from mltetris_server.learning.evaluation import GreedyEvaluation
from mltetris_server.learning.kernels import NOT_A_CANDIDATE, Network, look, new_rollout, roll
from mltetris_server.learning.model import POLICY_FILE, TRAINING_FILE, CheckpointError
from mltetris_server.learning.player import Player, make_eye
from mltetris_server.learning.policy import PatternTable
from mltetris_server.learning.tables import EDGE, ENTRIES
from mltetris_server.learning.td import TD
from mltetris_server.learning.td.table import ROOM, table_gradient
from safetensors.numpy import load as parse
from safetensors.numpy import save as format_file
from stable_baselines3 import DQN
from stable_baselines3.common.callbacks import BaseCallback

SEED = np.uint64(2**64 - 3)
BOARD = FeatureSet.BOARD
SMALL = TdConfig(boards=4, rollout_steps=8, batch_size=16, epochs=2, window=3, learning_rate=0.01)
# So many gradient steps that the callback has a turn between them.
LONG_UPDATES = TdConfig(boards=4, rollout_steps=64, batch_size=1024, epochs=40, window=3)
FRESH_GAMES = 424_242


def random_table(seed=0, scale=0.1):
    random = np.random.default_rng(seed)
    weights = random.normal(scale=scale, size=ENTRIES).astype(np.float32)
    weights[[0, EDGE]] = 0
    none = (np.zeros((0, ENTRIES), np.float32), np.zeros(0, np.float32))
    return Network(*none, weights, np.array([0.5], np.float32))


def entries_by_the_book(board):
    """The entries of all windows of a board, [H, W] from the top."""
    width = board.shape[1]
    # From the floor upwards: a filled row below it, three empty ones above the board.
    rows = np.pad(board[::-1], ((0, 3), (0, 0)))
    rows = np.vstack([np.ones((1, width)), rows]).astype(np.int64)
    nibbles = sum(rows[k : k + board.shape[0] + 1] << k for k in range(4))
    between = sum(nibbles[:, j : width - 3 + j] << 4 * j for j in range(4))
    left = sum(nibbles[:, j] << 4 * j for j in range(3))
    right = sum(nibbles[:, width - 1 - j] << 4 * j for j in range(3))
    return np.concatenate([between.ravel(), EDGE + left, EDGE + right])


def value_by_the_book(board, network, death_reward):
    weights = network.output_weights.astype(np.float64)
    total = weights[entries_by_the_book(board)].sum() + network.output_bias[0]
    return death_reward / (1 + np.exp(total))


def played_boards(config, steps, seed=1, boards=6):
    """Games after so many placements, half of them random, and the eye they were looked at with."""
    games = new_games(config, boards, seed)
    # Nearly full rows: lines are soon cleared.
    games.columns[:] = 1 if config.height < 10 else 7
    games.columns[np.arange(boards), np.arange(boards) % config.width] = 0
    eye = make_eye(BOARD, config.width, -10)
    rollout = new_rollout(boards, 2 * config.width)
    ended = np.zeros((boards, 6), np.int64)
    network = random_table()
    for step in range(steps):
        yield games, eye
        roll(games, network, eye, rollout, 0.5, SEED, step, 0, boards, ended)


@pytest.mark.parametrize(
    "config",
    [
        GameConfig(10, 10),
        GameConfig(10, 10, "published", "uniform"),
        GameConfig(4, 4),
        GameConfig(5, 20),
        GameConfig(7, 40),
        GameConfig(32, 6),
    ],
    ids=str,
)
def test_placements_are_valued_by_the_book(config):
    network, death = random_table(), -10.0
    clears = fatal = 0
    for step, (games, eye) in enumerate(played_boards(config, 25 if config.height < 20 else 90)):
        for i in range(step % 2, 6, 3):
            best = look(games, i, network, eye)
            boards = unpack_cells(eye.features, config.height)
            values = np.full(config.actions, NOT_A_CANDIDATE)
            for action, flags in enumerate(eye.flags):
                if flags & ENDS_GAME and flags & CANDIDATE:
                    values[action] = death
                    fatal += 1
                elif flags & CANDIDATE:
                    board = boards[action].reshape(config.height, config.width)
                    values[action] = value_by_the_book(board, network, death)
                    clears += int(flags >> LINES_SHIFT > 0)
            np.testing.assert_allclose(eye.values, values, rtol=1e-5, atol=1e-7)
            assert eye.values[best] == eye.values.max()
    assert fatal > 0
    assert clears > 0


@pytest.mark.parametrize("size", [(10, 20), (4, 4), (7, 40)])
def test_torch_values_boards_by_the_book(size):
    width, height = size
    network = random_table(3)
    table = PatternTable(width, -10.0)
    with th.no_grad():
        table.weight.copy_(th.from_numpy(network.output_weights)[None])
        table.bias.copy_(th.from_numpy(network.output_bias))
    random = np.random.default_rng(4)
    boards = random.random((20, height, width)) < random.random((20, 1, 1))
    boards = np.cumsum(boards, axis=1).clip(0, 1) & (random.random(boards.shape) < 0.8)
    expected = [value_by_the_book(board, network, -10.0) for board in boards]
    cells = boards.reshape(20, -1).astype(np.float32)
    with th.no_grad():
        np.testing.assert_allclose(table(th.from_numpy(cells))[:, 0], expected, rtol=1e-5)


def test_hopeless_boards_still_differ_and_living_on_comes_first():
    network, config = random_table(), GameConfig(10, 10)
    network.output_bias[0] = -200  # in float32 every value is that of death
    different = 0
    for games, eye in played_boards(config, 40):
        best = look(games, 0, network, eye)
        survives = (eye.flags & (CANDIDATE | ENDS_GAME)) == CANDIDATE
        assert (eye.values[survives] == -10).all()
        if survives.any():
            assert survives[best]
            network.output_bias[0] = 0
            assert look(games, 0, network, eye) == best
            network.output_bias[0] = -200
            different += best != np.flatnonzero(survives)[0]
    assert different > 10


def mirrored(entry):
    if entry >= EDGE:
        return entry
    columns = [(entry >> 4 * j) & 15 for j in range(4)]
    return sum(bits << 4 * (3 - j) for j, bits in enumerate(columns))


def test_gradient_is_torchs_with_mirror_images_sharing():
    games, eye = list(played_boards(GameConfig(10, 10), 25))[-1]
    look(games, 0, random_table(), eye)
    features = eye.features[eye.features.any(axis=1)]
    size, batch = len(features), 64
    assert size > 5
    random = np.random.default_rng(5)
    targets = -10 * random.random(size).astype(np.float32)
    targets[::5] = np.nan
    network = random_table(6)
    slopes = [np.full(ENTRIES, 9, np.float32), np.full(1, 9, np.float32)]
    room = np.zeros(10 * ROOM, np.int64)
    arguments = (network.output_weights, network.output_bias, -10.0, *slopes, room)
    # Which rows it draws shows in the losses of targets that are known but for one.
    counts = np.zeros(size)
    for row in range(size):
        only = np.full(size, np.nan, np.float32)
        only[row] = -10
        table_gradient(features, only, size, batch, SEED, *arguments)
        counts[row] = slopes[1][0] != 0
    assert counts.sum() > size / 2
    loss = table_gradient(features, targets, size, batch, SEED, *arguments)

    weights = th.from_numpy(network.output_weights).double().requires_grad_()
    bias = th.from_numpy(network.output_bias).double().requires_grad_()
    boards = unpack_cells(features, 10).reshape(size, 10, 10)
    total = th.stack([weights[entries_by_the_book(board)].sum() for board in boards]) + bias
    rows = th.tensor([row for k in range(batch) if not np.isnan(targets[row := drawn(k, size)])])
    chances = th.from_numpy(targets).double()[rows] / -10
    expected = th.nn.functional.binary_cross_entropy_with_logits(-total[rows], chances)
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    assert slopes[1][0] == pytest.approx(bias.grad.item(), rel=1e-4)
    own = weights.grad.numpy()
    images = np.array([mirrored(entry) for entry in range(ENTRIES)])
    both = np.where(images == np.arange(ENTRIES), own, own + own[images])
    both[[0, EDGE]] = 0
    np.testing.assert_allclose(slopes[0], both, rtol=1e-3, atol=1e-6)
    assert np.count_nonzero(slopes[0]) > 50


def drawn(k: int, size: int) -> int:
    mask = 2**64 - 1
    z = (int(SEED) + k + 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return ((z ^ (z >> 31)) >> 32) * size >> 32


def test_a_batch_without_anything_to_learn_has_no_slope():
    network, features = random_table(), np.ones((4, 20), np.float32)
    slopes = [np.full(ENTRIES, 9, np.float32), np.full(1, 9, np.float32)]
    nothing, room = np.full(4, np.nan, np.float32), np.zeros(10 * ROOM, np.int64)
    arguments = (network.output_weights, network.output_bias, -10.0, *slopes, room)
    assert table_gradient(features, nothing, 4, 8, SEED, *arguments) == 0
    assert not any(part.any() for part in slopes)


def test_it_learns_to_clear_lines_from_the_cells():
    td = TD(features=BOARD, seed=1)
    before = GreedyEvaluation(td.player(), td.game, 10, FRESH_GAMES, 500).run()
    td.learn(360_000)
    after = GreedyEvaluation(td.player(), td.game, 10, FRESH_GAMES, 500).run()
    assert before.mean_lines < 20
    assert after.mean_lines > 100
    weights = td.player().network.output_weights
    # A board and its mirror image are worth the same; empty windows nothing.
    images = [mirrored(entry) for entry in range(0, ENTRIES, 7)]
    assert np.array_equal(weights[::7], weights[images])
    assert weights[0] == weights[EDGE] == 0 != weights[0xFFFF]
    # What it has learnt holds on boards of any size.
    for game in (GameConfig(11, 24), GameConfig(9, 20)):
        assert GreedyEvaluation(td.player(), game, 5, FRESH_GAMES, 200).run().mean_lines > 50


@pytest.mark.parametrize("game", [GameConfig(4, 4), GameConfig(32, 40), GameConfig(7, 25)])
def test_it_learns_on_boards_of_any_size(game):
    td = TD(game=game, features=BOARD, seed=3, config=replace(SMALL, training_height=game.height))
    td.learn(2_000)
    assert np.isfinite(td.player().network.output_weights).all()
    assert td.metrics.take_loss() > 0
    GreedyEvaluation(td.player(), game, 1, 0, 5).run()


class StopAt(BaseCallback):
    """Ends training at its n-th turn."""

    def __init__(self, turn: int) -> None:
        super().__init__()
        self._turn = turn

    def _on_step(self) -> bool:
        return self.n_calls < self._turn


@pytest.mark.parametrize(
    ("config", "placements", "turns"),
    [(SMALL, 1500, [1, 17]), (LONG_UPDATES, 512, [1, 2, 4, 9]), (TdConfig(window=2), 8000, [3])],
)
def test_going_on_is_exact_wherever_it_stopped(config, placements, turns):
    straight = TD(features=BOARD, config=config, seed=11)
    straight.learn(placements)
    expected = dump(straight)
    within_update = False
    for turn in turns:
        td = TD(features=BOARD, config=config, seed=11)
        td.learn(placements, StopAt(turn))
        within_update |= td.rounds.minibatch > 0
        model, files = dump(td)
        other = load(json.loads(json.dumps(model)), files)
        assert dump(other) == (model, files)
        other.learn(placements - other.num_timesteps, reset_num_timesteps=False)
        assert dump(other) == expected
    assert within_update or config is not LONG_UPDATES
    assert dump(TD(features=BOARD, config=config, seed=12).learn(placements)) != expected


@pytest.mark.parametrize("flat", [True, False])
def test_torch_and_the_player_agree_on_real_boards(flat):
    td = TD(features=BOARD, seed=2)
    td.learn(20_000)
    env = gymnasium.make(PLACEMENT_ENV, feature_set=BOARD, flat=flat)
    model = TD(env=env, config=td.config, seed=0)
    model.policy.load_state_dict(td.policy.state_dict())
    player, observation = td.player(), env.reset(seed=3)[0]
    for _ in range(40):
        values = player.values(env.unwrapped.game)
        batch = th.from_numpy(observation)[None]
        with th.no_grad():
            theirs = model.policy.q_net_target(batch.reshape(1, -1) if flat else batch)[0]
        np.testing.assert_allclose(theirs, values, rtol=1e-4, atol=1e-6)
        action, _ = model.predict(observation, deterministic=True)
        assert values[action] == pytest.approx(values.max(), rel=1e-4)
        observation, _, over, _, _ = env.step(int(action))
        if over:
            observation, _ = env.reset()


def test_a_zip_is_loaded_by_td_and_by_the_stock_dqn(tmp_path):
    td = TD(features=BOARD, seed=4)
    td.learn(10_000)
    td.save(tmp_path / "td")
    loaded = TD.load(tmp_path / "td.zip")
    assert loaded.description == td.description
    game = ShownGame(GameConfig(), 3)
    assert np.array_equal(loaded.player().values(game), td.player().values(game))
    loaded.learn(1, reset_num_timesteps=False)
    env = gymnasium.make(PLACEMENT_ENV, feature_set=BOARD)
    stock = DQN.load(tmp_path / "td.zip", env=env)
    assert type(stock) is DQN
    observation, _ = env.reset(seed=3)
    actions = [model.predict(observation, deterministic=True)[0] for model in (td, stock)]
    assert actions[0] == actions[1] == td.player().choose(env.unwrapped.game)
    # It is a DQN like any other: it goes on learning the way DQNs do.
    stock.learning_starts = 32
    stock.batch_size = 8
    stock.learn(40, reset_num_timesteps=False)


def test_a_checkpoint_plays_and_is_not_too_large():
    td = TD(features=BOARD, config=SMALL, seed=1)
    td.learn(640)
    model, files = dump(td)
    assert model["network"] == {"inputs": 20, "hidden": []}
    assert sum(map(len, files.values())) < 2_000_000
    game = ShownGame(GameConfig(), 3)
    played = Player.from_checkpoint(model, files)
    assert np.array_equal(played.values(game), td.player().values(game))


@pytest.mark.parametrize(
    ("file", "tensor", "change", "problem"),
    [
        (POLICY_FILE, "output.weight", lambda x: x[:, 1:], "must be"),
        (POLICY_FILE, "output.weight", lambda x: x * np.nan, "finite"),
        (POLICY_FILE, "output.weight", lambda x: x + (np.arange(ENTRIES) == 0), "empty windows"),
        (POLICY_FILE, "output.weight", lambda x: x + (np.arange(ENTRIES) == EDGE), "empty windows"),
        (TRAINING_FILE, "window.features", lambda x: x + 0.5, "boards"),
        (TRAINING_FILE, "window.features", lambda x: x - 1e3, "boards"),
        (TRAINING_FILE, "window.features", lambda x: x + 1024, "boards"),
        (TRAINING_FILE, "rollout.features", lambda x: x + 1e30, "boards"),
    ],
)
def test_files_that_cannot_be_are_refused(file, tensor, change, problem):
    td = TD(features=BOARD, config=SMALL, seed=1)
    td.one_step = True
    td.learn(640, StopAt(45))
    model, files = dump(td)
    tensors = parse(files[file])
    assert tensors[tensor].size
    tensors[tensor] = np.ascontiguousarray(change(tensors[tensor]).astype(np.float32))
    with pytest.raises(CheckpointError, match=problem) as refused:
        load(model, files | {file: format_file(tensors)})
    assert refused.value.field == f"{file}: {tensor}"


@pytest.mark.parametrize(
    ("field", "value"), [("death_reward", 0.0), ("batch_size", 4097), ("training_height", 21)]
)
def test_settings_that_cannot_be_are_refused(field, value):
    with pytest.raises(HyperparameterError) as refused:
        TdConfig.for_game(20, "board", {field: value})
    assert [name for name, _ in refused.value.violations] == [field]
    file = io.BytesIO()
    with pytest.raises(HyperparameterError, match=field):
        TD(features=BOARD, config=TdConfig(**{field: value})).save(file)

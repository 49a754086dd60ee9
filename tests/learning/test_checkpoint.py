import copy
import json
import pickle

import numpy as np
import pytest
from learning.helpers import SMALL, small_td
from mltetris_server.game.config import FeatureSet, GameConfig
from mltetris_server.hyperparameters import HyperparameterError, TdConfig
from mltetris_server.learning.checkpoint import CheckpointError, dump, load
from mltetris_server.learning.evaluation import GreedyEvaluation
from mltetris_server.learning.model import POLICY_FILE, TRAINING_FILE
from mltetris_server.learning.td import TD
from safetensors.numpy import load as parse
from safetensors.numpy import save as format_file
from stable_baselines3.common.callbacks import BaseCallback

# Gradient steps so long that the callback has a turn between them.
LONG_UPDATES = TdConfig(
    boards=4, rollout_steps=64, batch_size=1024, epochs=40, window=3, hidden_units=512
)


class StopAt(BaseCallback):
    """Ends training at its n-th turn."""

    def __init__(self, turn: int) -> None:
        super().__init__()
        self._turn = turn

    def _on_step(self) -> bool:
        return self.n_calls < self._turn


def resumed(td: TD) -> TD:
    model, files = dump(td)
    # As it would come from a disk: other objects, text for the model.
    return load(json.loads(json.dumps(model)), {name: bytes(data) for name, data in files.items()})


@pytest.mark.parametrize(
    ("config", "placements", "turns"),
    [
        (SMALL, 2000, [1, 2, 17, 40]),
        (LONG_UPDATES, 1024, [1, 2, 3, 5, 8, 9]),
        (TdConfig(window=2), 12_000, [1, 2, 3]),
    ],
)
def test_going_on_is_exact_wherever_it_stopped(config, placements, turns):
    straight = TD(config=config, seed=11)
    straight.one_step = config is SMALL
    straight.set_learning_rate(2e-3)
    straight.learn(placements)
    expected = dump(straight)
    positions = set()
    for turn in turns:
        td = TD(config=config, seed=11)
        td.one_step = config is SMALL
        td.set_learning_rate(2e-3)
        td.learn(placements, StopAt(turn))
        positions.add((td.rounds.position > 0, td.rounds.minibatch > 0))
        other = resumed(td)
        assert dump(other) == dump(td)
        for learner in (td, other):
            left = placements - learner.num_timesteps
            learner.learn(left, reset_num_timesteps=False)
            assert dump(learner) == expected
    if config is LONG_UPDATES:
        assert (True, True) in positions


def test_threads_may_change_on_the_way():
    config = TdConfig(boards=16, rollout_steps=128, window=2)
    straight = TD(config=config, seed=11)
    straight.learn(20_000)
    td = TD(config=config, seed=11, threads=3)
    td.learn(20_000, StopAt(3))
    assert td.num_timesteps < 20_000
    other = resumed(td)
    assert (td.threads, other.threads) == (3, 1)
    for learner in (td, other):
        learner.learn(20_000 - learner.num_timesteps, reset_num_timesteps=False)
        assert dump(learner) == dump(straight)


def test_a_curve_is_the_same_through_many_checkpoints():
    straight, td = small_td(3), small_td(3)
    curve, other_curve = [], []
    for _ in range(8):
        straight.learn(200, reset_num_timesteps=False)
        curve.append((straight.metrics.take_loss(), straight.metrics.mean_reward))
        td = resumed(td)
        td.learn(200, reset_num_timesteps=False)
        other_curve.append((td.metrics.take_loss(), td.metrics.mean_reward))
    assert curve == other_curve


def test_weights_alone_play_and_go_on():
    td = TD(seed=1)
    td.learn(150_000)
    model, files = dump(td, weights_only=True)
    assert set(files) == {POLICY_FILE}
    assert len(files[POLICY_FILE]) < 4096
    other = load(model, files, placements=td.num_timesteps, seed=77)
    assert other.num_timesteps == td.num_timesteps
    assert other.exploration == td.exploration
    assert other.current_learning_rate == td.current_learning_rate
    assert other.rounds.number == td.rounds.number
    assert other.rounds.window.size == 0
    results = []
    for learner in (td, other):
        results.append(GreedyEvaluation(learner.player(), learner.game, 10, 5, 1000).run())
    assert results[0] == results[1]
    other.learn(50_000, reset_num_timesteps=False)
    after = GreedyEvaluation(other.player(), other.game, 10, 5, 1000).run()
    assert after.mean_lines > 0.9 * results[0].mean_lines > 500


def test_a_learner_goes_on_with_changed_settings():
    td = small_td()
    td.learn(640)
    model, files = dump(td)
    change = SMALL.to_dict()
    # Everything stays but the value.
    other = load(model, files, config=TdConfig(**change | {"gamma": 0.9}))
    assert dump(other)[1] == files
    # Other boards: new games; what was remembered, optimizer and counts stay.
    other = load(model, files, config=TdConfig(**change | {"boards": 6}))
    assert other.rounds.games.episode.sum() == 6
    assert 0 < other.rounds.window.size <= td.rounds.window.size
    newest = td.rounds.window.targets[32 * ((td.rounds.window.cursor - 1) % 3)][None]
    assert newest in other.rounds.window.targets
    assert other.num_timesteps == 640
    assert other.gradient_steps_made == td.gradient_steps_made
    state = other.policy.optimizer.state_dict()["state"]
    assert state[0]["step"] == td.gradient_steps_made
    other.learn(640, reset_num_timesteps=False)
    # A window of another size keeps the newest.
    for window in (1, 2, 8):
        other = load(model, files, config=TdConfig(**change | {"window": window}))
        assert other.rounds.window.filled == min(window, 3)
        last = (other.rounds.window.cursor - 1) % window * 32
        assert np.array_equal(
            other.rounds.window.features[last : last + 32],
            td.rounds.window.features[32 * ((td.rounds.window.cursor - 1) % 3) :][:32],
        )
        other.learn(640, reset_num_timesteps=False)
    # Another game: what was remembered is worth nothing.
    other = load(model, files, game=GameConfig(8, 20, "published"))
    assert other.rounds.window.size == 0
    assert other.rounds.games.columns.shape == (4, 8)
    other.learn(640, reset_num_timesteps=False)
    # Another seed: other pieces, the same memory.
    other = load(model, files, seed=5)
    assert other.rounds.window.size == td.rounds.window.size
    assert not np.array_equal(other.games.streams, td.games.streams)
    with pytest.raises(HyperparameterError, match="hidden_units"):
        load(model, files, config=TdConfig(**change | {"hidden_units": 7}))


def test_an_update_that_has_begun_survives_changed_settings():
    td = TD(config=LONG_UPDATES, seed=1)
    td.learn(10_000, StopAt(4))
    assert td.rounds.minibatch > 0
    change = LONG_UPDATES.to_dict() | {"epochs": 1}
    other = load(*dump(td), config=TdConfig(**change))
    assert (other.rounds.minibatch, other.rounds.position) == (0, 0)
    other.learn(512, reset_num_timesteps=False)


def test_simple_features_stay_with_their_width():
    td = small_td(features=FeatureSet.SIMPLE)
    td.learn(64)
    model, files = dump(td)
    assert dump(load(model, files))[1] == files
    with pytest.raises(HyperparameterError, match="width"):
        load(model, files, game=GameConfig(8))


# Damage.


@pytest.fixture(scope="module")
def checkpoint():
    td = small_td()
    td.learn(700, StopAt(18))
    return dump(td)


def damaged(checkpoint, file, change):
    """The checkpoint with one file's tensors changed."""
    model, files = copy.deepcopy(checkpoint)
    tensors = {name: tensor.copy() for name, tensor in parse(files[file]).items()}
    change(tensors)
    return model, files | {file: format_file(tensors)}


def all_tensors():
    td = small_td()
    td.learn(100, StopAt(2))
    _, files = dump(td)
    return [(file, name) for file in sorted(files) for name in sorted(parse(files[file]))]


def may_be_missing(name):
    # Without its step count there is no Adam.
    return name == "adam.step"


@pytest.mark.parametrize(("file", "name"), all_tensors())
def test_a_damaged_tensor_is_named(checkpoint, file, name):
    def drop(tensors):
        del tensors[name]

    def reshape(tensors):
        tensors[name] = np.concatenate([tensors[name].reshape(-1), tensors[name].reshape(-1)[:1]])
        if tensors[name].size == 0:
            tensors[name] = np.zeros((3, 3), tensors[name].dtype)

    def retype(tensors):
        tensors[name] = np.zeros(tensors[name].shape, np.float16)

    def spoil(tensors):
        tensors[name].reshape(-1)[0] = np.inf

    changes = [reshape, retype]
    if not may_be_missing(name):
        changes.append(drop)
    tensor = parse(checkpoint[1][file])[name]
    if tensor.size and np.issubdtype(tensor.dtype, np.floating):
        changes.append(spoil)
    part = name.split(".")[-1]
    for change in changes:
        with pytest.raises(CheckpointError) as error:
            load(*damaged(checkpoint, file, change))
        assert file in str(error.value)
        assert part in str(error.value) or name.split(".")[0] in str(error.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("games.pieces", 8),
        ("games.pieces", 0),
        ("games.bags", 99),
        ("games.columns", 2**20),
        ("games.episode", 0),
        ("games.lines", -1),
        ("counters", -1),
        ("counters", 2**62),
        ("rollout.kinds", 8),
        ("overrides", 7.0),
        ("metrics.counts", -1),
        ("adam.step", -1.0),
        ("adam.exp_avg_sq.hidden.bias", -1.0),
        ("window.features", np.nan),
    ],
)
def test_a_value_out_of_range_is_named(checkpoint, name, value):
    def change(tensors):
        tensors[name].reshape(-1)[-1] = value
        tensors[name].reshape(-1)[0] = value

    with pytest.raises(CheckpointError, match=name.split(".")[0]):
        load(*damaged(checkpoint, TRAINING_FILE, change))


@pytest.mark.parametrize("file", [POLICY_FILE, TRAINING_FILE])
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not safetensors",
        pickle.dumps({"a": 1}),
        (2**63).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
    ],
)
def test_what_is_not_safetensors_is_refused(checkpoint, file, data):
    model, files = checkpoint
    with pytest.raises(CheckpointError, match=file):
        load(model, files | {file: data})


@pytest.mark.parametrize("file", [POLICY_FILE, TRAINING_FILE])
def test_a_file_cut_short_is_refused(checkpoint, file):
    model, files = checkpoint
    for size in (1, 9, len(files[file]) // 2, len(files[file]) - 1):
        with pytest.raises(CheckpointError, match=file):
            load(model, files | {file: files[file][:size]})


def test_no_policy_is_refused(checkpoint):
    with pytest.raises(CheckpointError, match=r"policy\.safetensors: is missing"):
        load(checkpoint[0], {})


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("algorithm",), "sarsa", "algorithm"),
        (("algorithm",), None, "algorithm"),
        (("features",), "pixels", "features"),
        (("features",), ["bcts"], "features"),
        (("game",), None, "game"),
        (("game", "width"), 3, "width"),
        (("game", "width"), "10", "width"),
        (("game", "width"), True, "width"),
        (("game", "height"), 41, "height"),
        (("game", "rule"), "own", "rule"),
        (("game", "randomizer"), None, "randomizer"),
        (("hyperparameters",), [], "hyperparameters"),
        (("hyperparameters", "gamma"), 2, "gamma"),
        (("hyperparameters", "gamma"), float("nan"), "gamma"),
        (("hyperparameters", "speed"), 2, "speed"),
        (("hyperparameters", "training_height"), 21, "training_height"),
        (("network",), None, "network"),
        (("network", "inputs"), 9, "network"),
        (("network", "hidden"), [6, 6], "network"),
    ],
)
def test_a_wrong_model_is_named(checkpoint, path, value, named):
    model = copy.deepcopy(checkpoint[0])
    inner = model
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(CheckpointError) as error:
        load(model, checkpoint[1])
    assert named in str(error.value)


def test_bad_counts_are_refused(checkpoint):
    for placements in (-1, 10**18 + 1):
        with pytest.raises(CheckpointError, match="placements"):
            load(*checkpoint, placements=placements)

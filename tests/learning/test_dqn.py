import copy
import csv
import io
import json
import re
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch as th
from mltetris_server.game.config import FeatureSet, GameConfig
from mltetris_server.game.engine import CANDIDATE, ENDS_GAME, mix
from mltetris_server.game.registration import PLACEMENT_ENV
from mltetris_server.hyperparameters import DqnConfig, HyperparameterError, TdConfig
from mltetris_server.learning.checkpoint import CheckpointError, dump, load
from mltetris_server.learning.dqn import CandidateDQN
from mltetris_server.learning.dqn.rounds import Rounds
from mltetris_server.learning.evaluation import GreedyEvaluation
from mltetris_server.learning.kernels import EXPLORED, FATAL, LAST, look
from mltetris_server.learning.model import POLICY_FILE, TRAINING_FILE, ModelDescription
from mltetris_server.learning.player import make_eye
from mltetris_server.learning.policy import network_views
from mltetris_server.learning.td import TD
from safetensors.numpy import load as parse
from safetensors.numpy import save as format_file
from stable_baselines3 import DQN
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CheckpointCallback,
    StopTrainingOnMaxEpisodes,
)
from stable_baselines3.common.logger import configure

FRESH_GAMES = 424_242
PROTO = Path(__file__).parents[2] / "protos" / "mltetris" / "v1" / "run.proto"
SMALL = DqnConfig(
    boards=4,
    rollout_steps=8,
    gradient_steps=3,
    batch_size=16,
    memory=64,
    learning_starts=40,
    hidden_units=6,
    n_steps=3,
)
CUT_STEPS = DqnConfig(
    boards=1200, rollout_steps=2, gradient_steps=2, batch_size=8, memory=4800, learning_starts=1
)
"""More boards than one turn has time for: steps of all boards are cut."""


class Turns(BaseCallback):
    """Notes the order of calls, and ends training at the n-th turn."""

    def __init__(self, last: int | None = None) -> None:
        super().__init__()
        self.calls: list[tuple[str, int]] = []
        self._last = last

    def _on_rollout_start(self) -> None:
        self.calls.append(("rollout", self.model.num_timesteps))

    def _on_step(self) -> bool:
        self.calls.append(("step", self.model.num_timesteps))
        return self._last is None or self.n_calls < self._last

    def _on_rollout_end(self) -> None:
        self.calls.append(("rolled", self.model.num_timesteps))


def small_dqn(seed: int = 1, **arguments) -> CandidateDQN:
    return CandidateDQN(**{"config": SMALL, "seed": seed, **arguments})


def changed(**values) -> DqnConfig:
    return DqnConfig(**SMALL.to_dict() | values)


def resumed(dqn: CandidateDQN) -> CandidateDQN:
    model, files = dump(dqn)
    # As it would come from a disk: other objects, text for the model.
    return load(json.loads(json.dumps(model)), {name: bytes(data) for name, data in files.items()})


def weights(dqn: CandidateDQN) -> list[np.ndarray]:
    return [parameter.detach().numpy().copy() for parameter in dqn.policy.parameters()]


def same_weights(a: CandidateDQN, b: CandidateDQN) -> bool:
    return all(map(np.array_equal, weights(a), weights(b)))


def mean_lines(dqn: CandidateDQN, limit: int, games: int = 10) -> float:
    return GreedyEvaluation(dqn.player(), dqn.game, games, FRESH_GAMES, limit).run().mean_lines


# Learning.


def test_it_learns_to_clear_lines():
    dqn = CandidateDQN(seed=1)
    assert mean_lines(dqn, 1500) < 20
    dqn.learn(30_000)
    assert mean_lines(dqn, 1500) > 1000
    # The training boards are low and part of their placements is random: fewer lines there.
    assert 5 < dqn.metrics.mean_lines < 1000
    assert dqn.metrics.best_lines > dqn.metrics.mean_lines


@pytest.mark.parametrize(
    ("game", "features"),
    [
        (GameConfig(8, 16, "published", "uniform"), FeatureSet.BCTS),
        (GameConfig(6), FeatureSet.DT),
        (GameConfig(), FeatureSet.SIMPLE),
    ],
)
def test_it_learns_other_games_from_other_features(game, features):
    dqn = CandidateDQN(game=game, features=features, seed=3)
    before = mean_lines(dqn, 200)
    dqn.learn(30_000)
    assert mean_lines(dqn, 200) > 10 + before


def test_the_update_is_sb3s_own():
    assert CandidateDQN.train is DQN.train


@pytest.mark.parametrize("config", [SMALL, CUT_STEPS], ids=["small", "cut steps"])
def test_stretches_and_stops_change_nothing(config):
    total = 12 * config.boards * config.rollout_steps
    at_once, one_step = (small_dqn(5, config=config) for _ in range(2))
    at_once.learn(total)
    one_step.one_step = True
    turns = Turns()
    one_step.learn(total, turns)
    assert dump(at_once) == dump(one_step)
    steps = np.diff(sorted({number for name, number in turns.calls if name == "step"}))
    assert set(steps) <= set(range(1, config.boards + 1))
    assert (config is SMALL) == (set(steps) == {config.boards})


def test_the_callback_has_a_turn_after_every_piece_of_work():
    turns, dqn = Turns(), small_dqn()
    dqn.learn(64, turns)
    assert turns.calls == [
        ("rollout", 0),
        ("step", 32),
        ("rolled", 32),  # fewer placements than learning starts with
        ("rollout", 32),
        ("step", 64),
        ("rolled", 64),
        ("step", 64),
        ("step", 64),  # between three gradient steps
    ]
    assert dqn.gradient_steps_made == 3
    dqn.learn(640, Turns(last=1), reset_num_timesteps=False)
    assert dqn.num_timesteps == 96


def test_the_target_network_follows():
    copying = small_dqn(config=changed(target_update=6, target_tau=1.0))
    start = weights(copying)
    copying.learn(64)
    online, target = (list(net.parameters()) for net in (copying.q_net, copying.q_net_target))
    assert not th.equal(online[0], target[0])
    assert np.array_equal(target[0].detach().numpy(), start[4])
    copying.learn(32, reset_num_timesteps=False)
    assert copying.gradient_steps_made == 6
    assert all(map(th.equal, online, target))

    following = small_dqn(config=changed(gradient_steps=1, target_tau=0.25))
    before = following.q_net_target.q_net[0].weight.detach().clone()
    following.learn(64)
    after = 0.75 * before + 0.25 * following.q_net.q_net[0].weight
    assert th.allclose(following.q_net_target.q_net[0].weight, after, atol=1e-7)


def test_schedules_go_by_placements_and_can_be_overridden():
    dqn = small_dqn(config=changed(schedule_placements=3200))
    assert dqn.exploration == dqn.config.exploration_initial
    dqn.learn(1600)
    low, high = dqn.config.exploration_final, dqn.config.exploration_initial
    assert dqn.exploration == pytest.approx((low + high) / 2)
    share = (1 + dqn.config.final_learning_rate_fraction) / 2
    assert dqn.current_learning_rate == pytest.approx(dqn.config.learning_rate * share)
    dqn.set_exploration(0.5)
    dqn.set_learning_rate(1e-4)
    dqn.learn(32, reset_num_timesteps=False)
    assert dqn.policy.optimizer.param_groups[0]["lr"] == 1e-4
    assert dqn.exploration_rate == dqn.exploration == 0.5
    dqn.set_exploration(None)
    dqn.set_learning_rate(None)
    dqn.learn(1600, reset_num_timesteps=False)
    assert dqn.policy.optimizer.param_groups[0]["lr"] == pytest.approx(
        dqn.config.learning_rate * dqn.config.final_learning_rate_fraction
    )


# The memory.


def test_a_batch_is_what_happened():
    description = ModelDescription(FeatureSet.BCTS, GameConfig(6, 12), changed(training_height=12))
    config, width, features = description.config, 6, description.inputs
    dqn = small_dqn(game=description.game, config=config)
    rounds = Rounds(description, seed=3, games_seed=4, done=0)
    eye = make_eye(FeatureSet.BCTS, width, config.fatal_value)
    seen, shown = [], []  # step by step: all boards' looks, and what was done
    network = network_views(dqn.q_net.parameters())

    def all_looks():
        looks = []
        for i in range(config.boards):
            look(rounds.games, i, network, eye)
            looks.append((eye.features.copy(), eye.flags.copy()))
        return looks

    # Long enough for the ring to be written over.
    for _ in range(5):
        while not rounds.rolled:
            seen.append(all_looks())
            rounds.roll(network, 0.2, one_step=True)
            slot = rounds.memory.slot(rounds.step - 1)
            shown.append((slot.features.copy(), slot.kinds.copy()))
        if rounds.number < 4:
            rounds.finish()
    seen.append(all_looks())
    assert rounds.memory.oldest == 24
    counts = {"died": 0, "explored": 0, "whole": 0, "end": 0}
    for draw in range(40):
        rounds.memory.draw = np.uint64(draw * 1000)
        batch = rounds.memory.sample(config.batch_size)
        for b in range(config.batch_size):
            number = int(mix(np.uint64(draw * 1000 + b))) >> 32
            step, i = divmod((number * 64) >> 32, config.boards)
            step += 24
            made, kinds = shown[step][0][i], shown[step][1][i]
            row = batch.observations[b].numpy()
            assert np.array_equal(row, [*made, 1, bool(kinds & FATAL)])
            n = 1
            died = bool(kinds & LAST)
            while not died and n < config.n_steps and step + n < 40:
                kinds = shown[step + n][1][i]
                if kinds & EXPLORED:
                    break
                died = bool(kinds & LAST)
                n += 1
            name = "died" if died else "whole" if n == 3 else "end" if step + n == 40 else ""
            counts[name or "explored"] += 1
            assert bool(batch.dones[b]) == died
            expected = config.gamma ** (n - 1) * config.death_reward if died else 0
            assert float(batch.rewards[b]) == pytest.approx(expected)
            if died:
                continue
            assert float(batch.discounts[b]) == pytest.approx(config.gamma**n)
            rows = batch.next_observations[b].numpy().reshape(4 * width, features + 2)
            there, flags = seen[step + n][i]
            assert np.array_equal(rows[:, :-2], there)
            assert np.array_equal(rows[:, -2] == 1, (flags & CANDIDATE) != 0)
            assert np.array_equal(rows[:, -1] == 1, (flags & ENDS_GAME) != 0)
    assert min(counts.values()) > 5
    with pytest.raises(ValueError, match="batches are of 16"):
        rounds.memory.sample(8)


def test_the_network_reads_any_number_of_rows():
    dqn = small_dqn(seed=4)
    observation, _ = gymnasium.make(PLACEMENT_ENV).reset(seed=1)
    rows = th.from_numpy(observation).reshape(40, -1)
    with th.no_grad():
        together = dqn.q_net(rows.reshape(1, -1))[0]
        alone = dqn.q_net(rows)
    assert alone.shape == (40, 1)
    assert th.allclose(together, alone[:, 0])


def test_a_full_memory_is_a_small_checkpoint():
    dqn = CandidateDQN(config=DqnConfig(learning_starts=200_000), seed=1)
    dqn.learn(2 * dqn.config.memory)
    assert len(dump(dqn)[1][TRAINING_FILE]) < 60 * dqn.config.memory


# Going on.


@pytest.mark.parametrize(
    ("config", "placements", "turns"),
    [(SMALL, 400, [1, 2, 9, 16, 17, 18, 98]), (CUT_STEPS, 9600, [1, 2, 3, 5, 8, 11, 16])],
    ids=["small", "cut steps"],
)
def test_going_on_is_exact_wherever_it_stopped(config, placements, turns):
    def fresh() -> CandidateDQN:
        dqn = CandidateDQN(config=config, seed=11)
        dqn.one_step = config is SMALL
        dqn.set_learning_rate(2e-3)
        return dqn

    straight = fresh()
    straight.learn(placements)
    expected = dump(straight)
    positions = set()
    for turn in turns:
        dqn = fresh()
        dqn.learn(placements, Turns(last=turn))
        positions.add((dqn.rounds.position % config.boards > 0, dqn.rounds.minibatch > 0))
        other = resumed(dqn)
        assert dump(other) == dump(dqn)
        for learner in (dqn, other):
            learner.learn(placements - learner.num_timesteps, reset_num_timesteps=False)
            assert dump(learner) == expected
    assert (False, True) in positions
    assert ((True, False) in positions) == (config is CUT_STEPS)


def test_weights_alone_play_and_go_on():
    dqn = CandidateDQN(seed=1)
    dqn.learn(10_000)
    model, files = dump(dqn, weights_only=True)
    assert set(files) == {POLICY_FILE}
    other = load(model, files, placements=dqn.num_timesteps, seed=77)
    assert (other.num_timesteps, other.exploration) == (dqn.num_timesteps, dqn.exploration)
    assert mean_lines(dqn, 300) == mean_lines(other, 300)
    # Batches come from what there is: nothing of before.
    other.learn(2_000, reset_num_timesteps=False)
    assert other.rounds.memory.first == dqn.rounds.number * dqn.config.rollout_steps
    assert mean_lines(other, 300) > 250


def test_a_learner_goes_on_with_changed_settings():
    dqn = small_dqn()
    dqn.learn(640)
    model, files = dump(dqn)
    other = load(model, files, config=changed(gamma=0.9, batch_size=8, gradient_steps=1))
    assert dump(other)[1] == files
    other.learn(64, reset_num_timesteps=False)
    # A memory of another size keeps the newest.
    for memory in (32, 640):
        other = load(model, files, config=changed(memory=memory))
        newest = dqn.rounds.step - 1
        assert np.array_equal(
            other.rounds.memory.slot(newest).features, dqn.rounds.memory.slot(newest).features
        )
        assert newest + 1 - other.rounds.memory.first == min(memory, 64) // 4
        other.learn(640, reset_num_timesteps=False)
    # Other boards, another seed, another game: new games; optimizer, counts and weights stay.
    for changes in (
        {"config": changed(boards=6)},
        {"config": changed(rollout_steps=5)},
        {"seed": 5},
        {"game": GameConfig(8, 20, "published")},
    ):
        other = load(model, files, **changes)
        assert (other.games.episode == 1).all()
        assert other.num_timesteps == 640
        assert other.gradient_steps_made == dqn.gradient_steps_made > 0
        assert np.array_equal(weights(other)[0], weights(dqn)[0])
        state = other.policy.optimizer.state_dict()["state"]
        assert state[0]["step"] == dqn.gradient_steps_made
        other.learn(640, reset_num_timesteps=False)
    with pytest.raises(HyperparameterError, match="hidden_units"):
        load(model, files, config=changed(hidden_units=7))


def test_an_update_that_has_begun_survives_changed_settings():
    dqn = small_dqn()
    dqn.learn(640, Turns(last=4))
    assert dqn.rounds.minibatch == 2
    other = load(*dump(dqn), config=changed(gradient_steps=2))
    assert (other.rounds.minibatch, other.rounds.position) == (0, 0)
    other.learn(64, reset_num_timesteps=False)


def test_dqn_goes_on_from_td_and_td_from_dqn():
    td = TD(seed=1)
    td.learn(20_480)
    dqn = load(*dump(td, weights_only=True), placements=20_480, config=DqnConfig())
    assert isinstance(dqn, CandidateDQN)
    dqn.learn(4_096, reset_num_timesteps=False)
    back = load(*dump(dqn, weights_only=True), placements=24_576, config=TdConfig())
    assert GreedyEvaluation(back.player(), back.game, 5, FRESH_GAMES, 300).run().mean_lines > 200


# Damage.


@pytest.fixture(scope="module")
def checkpoint():
    dqn = small_dqn()
    dqn.learn(700, Turns(last=21))
    assert dqn.rounds.minibatch > 0
    return dump(dqn)


def tensor_names():
    dqn = small_dqn()
    dqn.learn(100, Turns(last=3))
    return sorted(parse(dump(dqn)[1][TRAINING_FILE]))


def damaged(checkpoint, change):
    model, files = copy.deepcopy(checkpoint)
    tensors = {name: tensor.copy() for name, tensor in parse(files[TRAINING_FILE]).items()}
    change(tensors)
    return model, files | {TRAINING_FILE: format_file(tensors)}


@pytest.mark.parametrize("name", tensor_names())
def test_a_damaged_tensor_is_named(checkpoint, name):
    def drop(tensors):
        del tensors[name]

    def reshape(tensors):
        tensors[name] = np.concatenate([tensors[name].reshape(-1), tensors[name].reshape(-1)[:1]])

    def retype(tensors):
        tensors[name] = np.zeros(tensors[name].shape, np.float16)

    def spoil(tensors):
        tensors[name].reshape(-1)[0] = np.inf

    changes = [reshape, retype]
    if name != "adam.step":  # Without its step count there is no Adam.
        changes.append(drop)
    if np.issubdtype(parse(checkpoint[1][TRAINING_FILE])[name].dtype, np.floating):
        changes.append(spoil)
    for change in changes:
        with pytest.raises(CheckpointError, match=re.escape(name.split(".")[0])):
            load(*damaged(checkpoint, change))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("memory.columns", 2**10),
        ("memory.pieces", 0),
        ("memory.pieces", 8),
        ("memory.kinds", 8),
        ("memory.features", np.nan),
        ("counters", -1),
        ("counters", 2**62),
        ("games.pieces", 8),
        ("overrides", 7.0),
        ("adam.step", -1.0),
    ],
)
def test_a_value_out_of_range_is_named(checkpoint, name, value):
    def change(tensors):
        tensors[name].reshape(-1)[-1] = value
        tensors[name].reshape(-1)[0] = value

    with pytest.raises(CheckpointError, match=name.split(".")[0]):
        load(*damaged(checkpoint, change))


def test_counters_and_memory_must_agree(checkpoint):
    def early(tensors):
        tensors["counters"][1] = 0

    def late(tensors):
        for name in ("columns", "pieces", "features", "kinds"):
            tensors[f"memory.{name}"] = np.tile(
                tensors[f"memory.{name}"], (2,) + (1,) * (tensors[f"memory.{name}"].ndim - 1)
            )

    def unfinished(tensors):
        tensors["counters"][2] -= 4

    for change, what in ((early, "memory"), (late, "memory"), (unfinished, "minibatch")):
        with pytest.raises(CheckpointError, match=what):
            load(*damaged(checkpoint, change))


# What SB3 sees.


def test_a_zip_loads_and_goes_on():
    dqn = small_dqn()
    dqn.learn(640)
    file = io.BytesIO()
    dqn.save(file)
    assert len(file.getvalue()) < 200_000
    file.seek(0)
    loaded = CandidateDQN.load(file)
    assert same_weights(dqn, loaded)
    assert (loaded.num_timesteps, loaded.description) == (640, dqn.description)
    assert loaded.exploration == dqn.exploration
    loaded.learn(64, reset_num_timesteps=False)
    assert loaded.num_timesteps == 704


def test_the_stock_dqn_loads_it(tmp_path):
    dqn = CandidateDQN(seed=2**63)
    dqn.learn(20_000)
    dqn.save(tmp_path / "dqn")
    model = DQN.load(tmp_path / "dqn.zip", env=gymnasium.make(PLACEMENT_ENV))
    assert type(model) is DQN
    observation, _ = model.get_env().envs[0].reset(seed=3)
    for _ in range(50):
        action, _ = model.predict(observation, deterministic=True)
        assert action == dqn.predict(observation, deterministic=True)[0]
        observation, _, over, _, _ = model.get_env().envs[0].step(int(action))
        assert not over
    # It is a DQN like any other: it goes on learning the way DQNs do.
    model.learning_starts = 8
    model.learn(24, reset_num_timesteps=False)
    assert model.num_timesteps >= dqn.num_timesteps + 24


def test_sb3s_own_callbacks_and_loggers_work(tmp_path):
    dqn = small_dqn()
    dqn.set_logger(configure(str(tmp_path / "log"), ["csv"]))
    saving = CheckpointCallback(save_freq=5, save_path=str(tmp_path))
    dqn.learn(640, saving, log_interval=2)
    assert CandidateDQN.load(next(tmp_path.glob("*.zip"))).num_timesteps > 0
    with (tmp_path / "log" / "progress.csv").open() as file:
        final = list(csv.DictReader(file))[-1]
    assert int(final["time/total_timesteps"]) == 640
    assert float(final["rollout/ep_rew_mean"]) == pytest.approx(dqn.metrics.mean_reward, rel=1e-4)
    assert float(final["train/learning_rate"]) == pytest.approx(dqn.current_learning_rate, rel=1e-2)
    assert int(final["train/n_updates"]) == dqn.gradient_steps_made
    assert float(final["train/loss"]) > 0
    other = small_dqn()
    other.learn(100_000, StopTrainingOnMaxEpisodes(max_episodes=20))
    assert 20 <= other.metrics.episodes < 40
    assert other.metrics.take_loss() > 0


# Settings.


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"batch_size": 4096, "hidden_units": 1024}, "batch_size"),
        ({"memory": 511}, "memory"),
        ({"target_tau": 0}, "target_tau"),
        ({"n_steps": 0}, "n_steps"),
        ({"n_steps": 1.5}, "n_steps"),
        ({"gamma": float("nan")}, "gamma"),
        ({"speed": 1}, "speed"),
    ],
)
def test_bad_settings_are_refused(values, field):
    with pytest.raises(HyperparameterError) as error:
        DqnConfig.from_dict(values)
    assert [name for name, _ in error.value.violations] == [field]


def test_it_does_not_learn_from_the_raw_board():
    with pytest.raises(HyperparameterError, match="features"):
        CandidateDQN(features=FeatureSet.BOARD)


def test_the_contract_tells_the_same_defaults_and_fields():
    message = re.search(r"message DqnParams \{(.*?)\n\}", PROTO.read_text(), re.DOTALL)
    assert message is not None
    told, comment = {}, ""
    for line in message[1].splitlines():
        text = line.strip()
        if text.startswith("//"):
            comment += text.removeprefix("//")
        elif field := re.match(r"optional \w+ (\w+) =", text):
            default = re.search(r"default (-?[\d.,]*\d(?:e-?\d+)?)", comment)
            assert default is not None, field[1]
            told[field[1]] = float(default[1].replace(",", ""))
            comment = ""
    assert told == DqnConfig().to_dict()

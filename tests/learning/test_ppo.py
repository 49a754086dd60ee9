import copy
import csv
import io
import itertools
import json

import gymnasium
import numpy as np
import pytest
import torch as th
from mltetris_server.game.config import FeatureSet, GameConfig
from mltetris_server.game.engine import new_games
from mltetris_server.game.registration import PLACEMENT_ENV
from mltetris_server.hyperparameters import HyperparameterError, PpoConfig
from mltetris_server.learning.checkpoint import CheckpointError, dump, load
from mltetris_server.learning.evaluation import GreedyEvaluation
from mltetris_server.learning.model import POLICY_FILE, TRAINING_FILE
from mltetris_server.learning.policy import network_views
from mltetris_server.learning.ppo import CandidatePPO
from safetensors.numpy import load as parse
from safetensors.numpy import save as format_file
from sb3_contrib import MaskablePPO
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback, EveryNTimesteps
from stable_baselines3.common.logger import configure
from stable_baselines3.common.monitor import Monitor

SMALL = PpoConfig(boards=4, rollout_steps=8, batch_size=10, epochs=2, hidden_units=6)
# Deaths in nearly every rollout, some of them where every placement ends the game.
LOW = GameConfig(4, 4, "published")
FRESH_GAMES = 424_242


def small(seed: int = 1, **arguments) -> CandidatePPO:
    return CandidatePPO(**{"config": SMALL, "seed": seed, **arguments})


def low(seed: int = 1) -> CandidatePPO:
    config = PpoConfig.for_game(4, "bcts", SMALL.to_dict() | {"training_height": 4})
    return CandidatePPO(game=LOW, config=config, seed=seed)


class StopAt(BaseCallback):
    """Ends training at its n-th turn."""

    def __init__(self, turn: int) -> None:
        super().__init__()
        self._turn = turn

    def _on_step(self) -> bool:
        return self.n_calls < self._turn


class Recorder(BaseCallback):
    """Notes the order of calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, int]] = []

    def _note(self, name: str) -> None:
        self.calls.append((name, self.model.num_timesteps))

    def _on_training_start(self) -> None:
        self._note("start")

    def _on_rollout_start(self) -> None:
        self._note("rollout")

    def _on_step(self) -> bool:
        self._note("step")
        return True

    def _on_rollout_end(self) -> None:
        self._note("rolled")

    def _on_training_end(self) -> None:
        self._note("end")


def lines(ppo: CandidatePPO, games: int = 20, cut: int = 1000) -> float:
    return GreedyEvaluation(ppo.player(), ppo.game, games, FRESH_GAMES, cut).run().mean_lines


def resumed(ppo: CandidatePPO) -> CandidatePPO:
    model, files = dump(ppo)
    # As it would come from a disk: other objects, text for the model.
    return load(json.loads(json.dumps(model)), {name: bytes(data) for name, data in files.items()})


# Learning.


def test_it_learns_to_clear_lines():
    ppo = CandidatePPO(seed=1)
    assert lines(ppo) < 20
    ppo.learn(30_000)
    assert lines(ppo, 10, 1500) > 1000
    assert ppo.metrics.mean_lines > 1
    assert ppo.metrics.best_lines > ppo.metrics.mean_lines


@pytest.mark.parametrize("features", ["simple", "dt"])
def test_it_learns_on_a_small_board_from_other_features(features):
    game = GameConfig(6, 12)
    ppo = CandidatePPO(game=game, features=FeatureSet(features), seed=3)
    before = lines(ppo, cut=200)
    ppo.learn(30_000)
    assert lines(ppo, cut=200) > 20 + before


def test_the_raw_board_is_refused():
    with pytest.raises(HyperparameterError, match="features"):
        CandidatePPO(features=FeatureSet.BOARD)


@pytest.mark.slow
def test_the_median_of_ten_seeds_clears_a_thousand_lines():
    reached = []
    for seed in range(5000, 5010):
        ppo = CandidatePPO(seed=seed)
        ppo.learn(40_960)
        reached.append(lines(ppo, cut=2500))
    assert np.median(reached) > 1000


def test_the_update_is_maskable_ppos_own():
    assert CandidatePPO.train is MaskablePPO.train


# The rollout.


def rolled(ppo: CandidatePPO) -> CandidatePPO:
    """Just before the update on its first rollout."""
    ppo.learn(1, StopAt(-(-ppo.rollout_buffer.samples // ppo.config.boards)))
    assert ppo.rounds.rolled and not ppo.rollout_buffer.begun
    return ppo


@pytest.mark.parametrize("make", [small, low])
def test_what_is_recorded_is_what_the_policy_says(make):
    ppo = make(4)
    ppo.one_step = True
    ppo.policy.actor[-1].weight.data *= 200  # far from uniform
    # The game played over in the environment, with the placements recorded.
    boards = ppo.config.boards
    rolled(ppo)
    rollout, games = ppo.rollout_buffer.rollout, new_games(ppo.description.training_game, boards, 4)
    env = gymnasium.make(
        PLACEMENT_ENV,
        width=ppo.game.width,
        height=ppo.config.training_height,
        rule=ppo.game.rule,
        flat=False,
    )
    env.reset(seed=4)
    assert np.array_equal(env.unwrapped.game.games.pieces[0], games.pieces[0])
    observation, _ = env.reset(seed=4)
    forced = 0
    for k in range(0, ppo.rollout_buffer.samples, boards):
        rows = slice(rollout.ends[k], rollout.ends[k + 1])
        actions = rollout.actions[rows]
        tensor = th.from_numpy(observation[None])
        alive = np.flatnonzero((observation[:, -2] > 0) & (observation[:, -1] == 0))
        assert np.array_equal(actions, alive)
        assert np.array_equal(rollout.rows[rows], observation[alive, :-2])
        value = ppo.policy.predict_values(tensor).item()
        assert rollout.values[k] == pytest.approx(value, abs=1e-4)
        if alive.size:
            action = actions[rollout.picks[k]]
            distribution = ppo.policy.get_distribution(tensor)
            log_prob = distribution.log_prob(th.tensor([int(action)])).item()
            assert rollout.log_probs[k] == pytest.approx(log_prob, abs=1e-4)
        else:
            forced += 1
            action = np.flatnonzero(observation[:, -2])[0]
            assert (rollout.values[k], rollout.log_probs[k]) == (ppo.config.death_reward, 0)
        observation, _, over, _, _ = env.step(int(action))
        assert over == bool(rollout.dones[k])
        if over:
            observation, _ = env.reset()
    if make is low:
        assert rollout.dones.sum() > 0
        assert forced > 0


def test_games_end_by_a_placement_only_where_every_one_ends_them():
    class Watcher(BaseCallback):
        def _on_step(self) -> bool:
            buffer = self.model.rollout_buffer
            if buffer.position == buffer.samples and not buffer.begun:
                counts, dones = np.diff(buffer.rollout.ends), buffer.rollout.dones
                assert dones[counts == 0].all()
                forced.append(int((counts == 0).sum()))
                # Nothing is to be learnt from these.
                assert buffer.usable().size == buffer.samples - forced[-1]
            return True

    forced: list[int] = []
    low().learn(2000, Watcher())
    assert sum(forced) > 10


def test_placements_are_drawn_as_likely_as_they_are():
    # Every board's first piece is drawn alike: compare how often each placement is taken.
    config = PpoConfig(boards=4096, rollout_steps=1, batch_size=64, hidden_units=6)
    ppo = CandidatePPO(config=config, seed=3)
    ppo.policy.actor[-1].weight.data *= 300
    ppo.learn(1, StopAt(1))
    while not ppo.rounds.rolled:
        ppo.learn(1, StopAt(1), reset_num_timesteps=False)
    rollout = ppo.rollout_buffer.rollout
    first = new_games(ppo.description.training_game, 4096, 3)
    uneven = []
    for piece in range(1, 8):
        mine = np.flatnonzero(first.pieces[:, 0] == piece)
        begin, end = rollout.ends[mine[0]], rollout.ends[mine[0] + 1]
        rows = th.from_numpy(rollout.rows[begin:end])
        chances = th.softmax(ppo.policy.actor(rows).squeeze(1).double(), 0).detach().numpy()
        taken = np.bincount(rollout.picks[mine], minlength=chances.size)
        expected = chances * mine.size
        spread = np.sqrt(mine.size * chances * (1 - chances)) + 1
        assert (np.abs(taken - expected) < 5 * spread).all()
        uneven.append(chances.max() * chances.size)
    assert max(uneven) > 1.3


def test_the_buffer_hands_out_each_sample_once_a_pass():
    ppo = rolled(one_step(low(2)))
    ppo.rounds.value(0)
    buffer = ppo.rollout_buffer
    usable = buffer.usable()
    orders = []
    for epoch in range(2):
        assert buffer.epoch == epoch
        batches = list(buffer.get(10))
        sizes = [len(batch.actions) for batch in batches]
        assert sum(sizes) == usable.size
        assert max(sizes) <= 10 and min(sizes) >= 2
        values = np.concatenate([batch.old_values.numpy() for batch in batches])
        assert np.array_equal(np.sort(values), np.sort(buffer.rollout.values[usable]))
        orders.append(values)
        for batch in batches:
            assert len(batch.observations) == int(batch.action_masks.sum())
            assert batch.action_masks.gather(1, batch.actions[:, None]).all()
            # The first update has not begun: the policy is the one that played.
            _, log_probs, _ = ppo.policy.evaluate_actions(
                batch.observations, batch.actions, batch.action_masks
            )
            assert th.allclose(log_probs, batch.old_log_prob, atol=1e-5)
    assert not np.array_equal(*orders)


def one_step(ppo: CandidatePPO) -> CandidatePPO:
    ppo.one_step = True
    return ppo


@pytest.mark.parametrize(("usable", "batch"), itertools.product([2, 3, 5, 11, 31], [2, 3, 10, 64]))
def test_no_minibatch_has_one_sample(usable, batch):
    buffer = small().rollout_buffer
    buffer.rollout.ends[1:] = np.minimum(np.arange(1, 33), usable)
    parts = buffer.parts(batch)
    sizes = [len(part) for part in np.array_split(np.arange(usable), parts)]
    assert min(sizes) >= 2
    assert max(sizes) <= max(batch, 3)


def test_advantages_are_generalised():
    ppo = rolled(one_step(low(6)))
    ppo.rounds.value(0)
    buffer, config = ppo.rollout_buffer, ppo.config
    values = buffer.rollout.values.reshape(-1, config.boards)
    dones = buffer.rollout.dones.reshape(buffer.values.shape)
    assert dones.any()
    ahead = np.zeros(config.boards)
    for t in reversed(range(config.rollout_steps)):
        going = 1 - dones[t]
        reward = config.death_reward * dones[t]
        delta = reward + config.gamma * going * values[t + 1] - values[t]
        ahead = delta + config.gamma * config.gae_lambda * going * ahead
        assert buffer.advantages[t] == pytest.approx(ahead, abs=1e-4)
    assert np.allclose(buffer.returns, buffer.advantages + buffer.values)


# As an SB3 algorithm.


def test_callbacks_are_called_as_sb3_does():
    ppo, recorder = small(), Recorder()
    ppo.learn(64, callback=recorder)
    names = [name for name, _ in recorder.calls]
    # A rollout of one stretch; its update of two passes over four minibatches each.
    round_ = ["rollout", "step", "rolled", *["step"] * 7]
    assert names == ["start", *round_, *round_, "end"]
    assert recorder.calls[1] == ("rollout", 0)
    assert recorder.calls[-1] == ("end", 64)
    stopper = StopAt(1)
    ppo.learn(640, callback=stopper, reset_num_timesteps=False)
    assert ppo.num_timesteps == 96


def test_steps_of_all_boards_and_stops_change_nothing():
    at_once, paced, stopped = small(5), one_step(small(5)), one_step(small(5))
    at_once.learn(320)
    recorder = Recorder()
    paced.learn(320, callback=recorder)
    steps = [number for name, number in recorder.calls if name == "step"]
    assert set(np.diff(sorted(set(steps)))) == {SMALL.boards}
    while stopped.num_timesteps < 320:
        stopped.learn(320 - stopped.num_timesteps, StopAt(1), reset_num_timesteps=False)
    stopped.learn(0, reset_num_timesteps=False)
    assert dump(at_once) == dump(paced) == dump(stopped)


def test_sb3s_own_callbacks_and_loggers_work(tmp_path):
    ppo = small()
    ppo.set_logger(configure(str(tmp_path / "log"), ["csv"]))
    env = Monitor(gymnasium.make(PLACEMENT_ENV))
    evaluation = EvalCallback(
        env, eval_freq=40, n_eval_episodes=1, log_path=str(tmp_path), verbose=0
    )
    every = Recorder()
    ppo.learn(640, [evaluation, EveryNTimesteps(100, every)], log_interval=2)
    assert evaluation.best_mean_reward > 0
    assert next(number for name, number in every.calls if name == "step") == 128
    with (tmp_path / "log" / "progress.csv").open() as file:
        final = list(csv.DictReader(file))[-1]
    assert int(final["time/total_timesteps"]) == 640
    assert float(final["rollout/ep_rew_mean"]) == pytest.approx(ppo.metrics.mean_reward, rel=1e-4)
    assert float(final["train/learning_rate"]) == pytest.approx(ppo.current_learning_rate, rel=1e-2)
    assert int(final["train/n_updates"]) == 2 * 640 // 32
    assert "train/approx_kl" in final


def test_the_learning_rate_goes_by_placements_and_can_be_set():
    ppo = small(config=PpoConfig(**SMALL.to_dict() | {"schedule_placements": 640}))
    first, share = ppo.config.learning_rate, ppo.config.final_learning_rate_fraction
    assert ppo.current_learning_rate == pytest.approx(first)
    ppo.learn(320)
    assert ppo.current_learning_rate == pytest.approx(first * (1 + share) / 2)
    ppo.set_learning_rate(1e-4)
    ppo.learn(32, reset_num_timesteps=False)
    assert ppo.current_learning_rate == ppo.policy.optimizer.param_groups[0]["lr"] == 1e-4
    ppo.set_learning_rate(None)
    ppo.learn(640, reset_num_timesteps=False)
    assert ppo.policy.optimizer.param_groups[0]["lr"] == pytest.approx(first * share)
    with pytest.raises(HyperparameterError, match="learning_rate"):
        ppo.set_learning_rate(0)


def test_there_is_no_exploration_to_set():
    ppo = small()
    assert ppo.exploration is None
    ppo.set_exploration(None)
    with pytest.raises(HyperparameterError, match="exploration"):
        ppo.set_exploration(0.1)


def test_predict_keeps_to_the_masks():
    ppo, env = small(), gymnasium.make(PLACEMENT_ENV)
    observation, _ = env.reset(seed=1)
    rows = observation.reshape(40, -1)
    candidates = set(np.flatnonzero(rows[:, -2]))
    best, masks = ppo.predict(observation, deterministic=True)[0], env.unwrapped.action_masks()
    assert ppo.predict(observation, deterministic=True, action_masks=masks)[0] == best
    seen = {int(ppo.predict(observation)[0]) for _ in range(300)}
    assert seen <= candidates
    assert len(seen) > len(candidates) / 2
    # Less than the candidates, a fatal one among them.
    few = sorted(candidates)[:3]
    rows[few[0], -1] = 1
    masks = np.isin(np.arange(40), few)
    seen = {int(ppo.predict(observation, action_masks=masks)[0]) for _ in range(50)}
    assert seen == set(few[1:])
    # Nothing but fatal ones; and nothing but what is no candidate.
    masks = np.isin(np.arange(40), few[:1])
    assert ppo.predict(observation, action_masks=masks)[0] == few[0]
    odd = next(action for action in range(40) if action not in candidates)
    assert ppo.predict(observation, action_masks=np.arange(40) == odd)[0] == odd


def test_whole_observations_are_evaluated_as_compact_ones():
    ppo, env = small(), gymnasium.make(PLACEMENT_ENV)
    observation, _ = env.reset(seed=1)
    obs = th.from_numpy(np.stack([observation, env.reset(seed=2)[0]]))
    rows = obs.reshape(2, 40, -1)
    masks = rows[..., -2] > 0
    actions = masks.long().argmax(1)
    whole = ppo.policy.evaluate_actions(obs, actions, masks)
    compact = ppo.policy.evaluate_actions(rows[masks][:, :-2], actions, masks)
    for mine, other in zip(whole, compact, strict=True):
        assert th.equal(mine, other)
    distribution = ppo.policy.get_distribution(obs, masks)
    assert th.allclose(whole[1], distribution.log_prob(actions))
    assert th.allclose(whole[2], distribution.entropy())
    assert ppo.policy(obs)[1].shape == (2, 1)


def test_save_and_load_keep_networks_optimizer_and_counts():
    ppo = small()
    ppo.learn(320)
    file = io.BytesIO()
    ppo.save(file)
    assert len(file.getvalue()) < 200_000
    file.seek(0)
    loaded = CandidatePPO.load(file)
    for mine, other in zip(ppo.policy.parameters(), loaded.policy.parameters(), strict=True):
        assert th.equal(mine, other)
    assert (loaded.num_timesteps, loaded.description) == (320, ppo.description)
    mine, other = (model.policy.optimizer.state_dict()["state"] for model in (ppo, loaded))
    assert mine[0]["step"] == other[0]["step"] > 0
    assert th.equal(mine[7]["exp_avg_sq"], other[7]["exp_avg_sq"])
    assert lines(loaded) == lines(ppo)
    loaded.learn(64, reset_num_timesteps=False)
    assert loaded.num_timesteps == 384


def test_the_stock_maskable_ppo_loads_it_and_goes_on(tmp_path):
    ppo = CandidatePPO(seed=2**63)
    ppo.learn(16_000)
    ppo.save(tmp_path / "ppo")
    model = MaskablePPO.load(tmp_path / "ppo.zip", env=gymnasium.make(PLACEMENT_ENV))
    assert type(model) is MaskablePPO
    env = model.get_env().envs[0]
    observation, _ = env.reset(seed=3)
    for _ in range(50):
        masks = env.unwrapped.action_masks()
        action, _ = model.predict(observation, deterministic=True, action_masks=masks)
        assert action == ppo.predict(observation, deterministic=True)[0]
        observation, _, over, _, _ = env.step(int(action))
        assert not over
    before = [part.clone() for part in model.policy.parameters()]
    model.batch_size = 16
    model.learn(64, reset_num_timesteps=False)
    assert model.num_timesteps == 16_384 + 64
    assert not all(map(th.equal, before, model.policy.parameters()))


def test_an_environment_decides_the_game():
    env = gymnasium.make(PLACEMENT_ENV, width=6, height=12, feature_set="simple")
    ppo = CandidatePPO("CandidatePolicy", env, seed=1)
    assert (ppo.game, ppo.features) == (GameConfig(6, 12), FeatureSet.SIMPLE)
    with pytest.raises(ValueError, match="game is"):
        CandidatePPO(env=env, game=GameConfig())


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="seed"):
        CandidatePPO(seed=2**64)
    with pytest.raises(ValueError, match="cpu"):
        CandidatePPO(device="cuda")
    with pytest.raises(ValueError, match="use_masking"):
        small().learn(1, use_masking=False)
    with pytest.raises(HyperparameterError, match="training_height"):
        CandidatePPO(game=GameConfig(10, 8), config=PpoConfig())
    with pytest.raises(HyperparameterError, match="rollout_steps"):
        PpoConfig(boards=4096, rollout_steps=64)


# Going on from a checkpoint.


@pytest.mark.parametrize(
    ("make", "placements", "turns"),
    [
        # In a rollout, behind it, in the first pass and in the second, in later rounds.
        (small, 160, [1, 2, 3, 7, 8, 9, 12, 30]),
        (lambda seed: one_step(small(seed)), 96, [1, 5, 8, 9, 13, 17]),
        (lambda seed: one_step(low(seed)), 96, [3, 6, 9, 11, 20]),
        (CandidatePPO, 4096, [2, 12, 30]),
    ],
)
def test_going_on_is_exact_wherever_it_stopped(make, placements, turns):
    straight = make(seed=11)
    straight.set_learning_rate(2e-3)
    straight.learn(placements)
    expected = dump(straight)
    places = set()
    for turn in turns:
        ppo = make(seed=11)
        ppo.set_learning_rate(2e-3)
        ppo.learn(placements, StopAt(turn))
        buffer = ppo.rollout_buffer
        places.add((0 < buffer.position < buffer.samples, buffer.begun))
        other = resumed(ppo)
        assert dump(other) == dump(ppo)
        for learner in (ppo, other):
            left = max(0, placements - learner.num_timesteps)
            learner.learn(left, reset_num_timesteps=False)
            assert dump(learner) == expected
    assert (False, True) in places


def test_a_curve_is_the_same_through_many_checkpoints():
    straight, ppo = small(3), small(3)
    curve, other_curve = [], []
    for _ in range(4):
        straight.learn(100, reset_num_timesteps=False)
        curve.append((straight.metrics.take_loss(), straight.metrics.mean_reward))
        ppo = resumed(ppo)
        ppo.learn(100, reset_num_timesteps=False)
        other_curve.append((ppo.metrics.take_loss(), ppo.metrics.mean_reward))
    assert curve == other_curve


def test_weights_alone_play_and_go_on():
    ppo = CandidatePPO(seed=1)
    ppo.learn(24_000)
    model, files = dump(ppo, weights_only=True)
    assert set(files) == {POLICY_FILE}
    other = load(model, files, placements=ppo.num_timesteps, seed=77)
    assert other.num_timesteps == ppo.num_timesteps
    assert other.current_learning_rate == ppo.current_learning_rate
    assert lines(other, 10) == lines(ppo, 10)
    other.learn(4_000, reset_num_timesteps=False)
    assert lines(other, 10) > 0.9 * lines(ppo, 10) > 500


def test_a_learner_goes_on_with_changed_settings():
    ppo = small()
    ppo.learn(320, StopAt(15))
    assert ppo.rollout_buffer.begun
    steps = float(ppo.policy.optimizer.state[ppo.policy.actor[0].weight]["step"])
    model, files = dump(ppo)
    change = SMALL.to_dict()
    # Everything stays but the value.
    other = load(model, files, config=PpoConfig(**change | {"gamma": 0.9}))
    assert dump(other)[1] == files
    # Other boards, game or seed: new games; networks, optimizer and counts stay.
    for arguments in (
        {"config": PpoConfig(**change | {"boards": 6})},
        {"game": GameConfig(8, 20, "published")},
        {"seed": 5},
    ):
        other = load(model, files, **arguments)
        assert other.rollout_buffer.position == 0
        assert not np.array_equal(other.games.columns, ppo.games.columns)
        assert other.num_timesteps == ppo.num_timesteps
        assert other.passes_made == ppo.passes_made
        states = other.policy.optimizer.state.values()
        assert [float(state["step"]) for state in states] == [steps] * 8
        assert th.equal(other.policy.critic[0].weight, ppo.policy.critic[0].weight)
        other.learn(64, reset_num_timesteps=False)
    # An update that has begun ends where the new one would be another.
    other = load(model, files, config=PpoConfig(**change | {"epochs": 1}))
    assert (other.rollout_buffer.position, other.rounds.number) == (0, ppo.rounds.number + 1)
    other.learn(64, reset_num_timesteps=False)
    with pytest.raises(HyperparameterError, match="hidden_units"):
        load(model, files, config=PpoConfig(**change | {"hidden_units": 7}))


# Damage.


@pytest.fixture(scope="module")
def checkpoint():
    ppo = small()
    ppo.learn(320, StopAt(15))
    assert ppo.rollout_buffer.minibatch > 0
    return dump(ppo)


def damaged(checkpoint, file, change):
    """The checkpoint with one file's tensors changed."""
    model, files = copy.deepcopy(checkpoint)
    tensors = {name: tensor.copy() for name, tensor in parse(files[file]).items()}
    change(tensors)
    return model, files | {file: format_file(tensors)}


def all_tensors():
    ppo = small()
    ppo.learn(100, StopAt(5))
    _, files = dump(ppo)
    return [(file, name) for file in sorted(files) for name in sorted(parse(files[file]))]


@pytest.mark.parametrize(("file", "name"), all_tensors())
def test_a_damaged_tensor_is_named(checkpoint, file, name):
    def drop(tensors):
        del tensors[name]

    def reshape(tensors):
        tensors[name] = np.concatenate([tensors[name].reshape(-1), tensors[name].reshape(-1)[:1]])

    def retype(tensors):
        tensors[name] = np.zeros(tensors[name].shape, np.float16)

    def spoil(tensors):
        tensors[name].reshape(-1)[0] = np.inf

    changes = [drop, reshape, retype]
    if np.issubdtype(parse(checkpoint[1][file])[name].dtype, np.floating):
        changes.append(spoil)
    for change in changes:
        with pytest.raises(CheckpointError) as error:
            load(*damaged(checkpoint, file, change))
        assert file in str(error.value)
        assert name.split(".")[0] in str(error.value)


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("counters", 2, 33),
        ("counters", 3, 2),
        ("counters", 4, 4),
        ("counters", 4, -1),
        ("counters", 0, 2**62),
        ("games.pieces", 0, 8),
        ("overrides", 0, 7.0),
        ("overrides", 1, 0.5),
        ("adam.actor.step", 0, -1.0),
        ("adam.critic.exp_avg_sq.hidden.bias", 0, -1.0),
        ("rollout.actions", 0, 40),
        ("rollout.actions", 1, 0),
        ("rollout.ends", 0, 1),
        ("rollout.ends", 1, -1),
        ("rollout.ends", 1, 40),
        ("rollout.ends", -1, 1),
        ("rollout.picks", 0, -1),
        ("rollout.picks", 0, 34),
        ("rollout.log_probs", 0, 0.5),
        ("rollout.values", 0, np.nan),
        ("rollout.dones", 0, 0.5),
        ("rollout.advantages", 0, np.nan),
    ],
)
def test_a_value_out_of_range_is_named(checkpoint, name, place, value):
    def change(tensors):
        tensors[name].reshape(-1)[place] = value

    with pytest.raises(CheckpointError, match=name.split(".")[0]):
        load(*damaged(checkpoint, TRAINING_FILE, change))


def test_the_network_that_plays_is_the_policys_own():
    ppo = small()
    ppo.learn(64)
    actor = network_views(ppo.policy.actor.parameters())
    for mine, other in zip(actor, ppo.player().network, strict=True):
        assert np.array_equal(mine, other)
    stored = parse(dump(ppo)[1][POLICY_FILE])
    assert np.array_equal(stored["hidden.weight"], actor.hidden_weights)

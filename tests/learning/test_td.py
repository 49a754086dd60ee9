import csv
import io
import tempfile
import threading
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch as th
from learning.helpers import SMALL, small_td
from mltetris_server.game.config import FeatureSet, GameConfig
from mltetris_server.game.registration import PLACEMENT_ENV
from mltetris_server.hyperparameters import HyperparameterError, TdConfig
from mltetris_server.learning.dqn import CandidateDQN
from mltetris_server.learning.evaluation import GreedyEvaluation
from mltetris_server.learning.ppo import CandidatePPO
from mltetris_server.learning.td import TD
from stable_baselines3 import DQN
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CheckpointCallback,
    EvalCallback,
    EveryNTimesteps,
    StopTrainingOnMaxEpisodes,
)
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import configure
from stable_baselines3.common.monitor import Monitor

FRESH_GAMES = 424_242


class Recorder(BaseCallback):
    """Notes the order of calls, and ends training after so many steps."""

    def __init__(self, steps: int | None = None) -> None:
        super().__init__()
        self.calls: list[tuple[str, int]] = []
        self._steps = steps

    def _on_training_start(self) -> None:
        self.calls.append(("start", self.model.num_timesteps))

    def _on_rollout_start(self) -> None:
        self.calls.append(("rollout", self.model.num_timesteps))

    def _on_step(self) -> bool:
        self.calls.append(("step", self.model.num_timesteps))
        return self._steps is None or self.n_calls < self._steps

    def _on_rollout_end(self) -> None:
        self.calls.append(("rolled", self.model.num_timesteps))

    def _on_training_end(self) -> None:
        self.calls.append(("end", self.model.num_timesteps))


def weights(td: TD) -> list[np.ndarray]:
    return [parameter.detach().numpy().copy() for parameter in td.policy.parameters()]


def same_weights(a: TD, b: TD) -> bool:
    pairs = zip(weights(a), weights(b), strict=True)
    return all(np.array_equal(mine, other) for mine, other in pairs)


def test_it_learns_to_clear_lines():
    td = TD(seed=1)
    before = GreedyEvaluation(td.player(), td.game, 20, FRESH_GAMES, 2500).run()
    td.learn(60_000)
    some = GreedyEvaluation(td.player(), td.game, 20, FRESH_GAMES, 2500).run()
    td.learn(200_000, reset_num_timesteps=False)
    many = GreedyEvaluation(td.player(), td.game, 20, FRESH_GAMES, 2500).run()
    assert before.mean_lines < 20
    assert some.mean_lines > 200
    assert many.mean_lines > 1000
    # The training boards are low and part of their placements is random: fewer lines there.
    assert 10 < td.metrics.mean_lines < many.mean_lines
    assert td.metrics.mean_reward > td.metrics.mean_lines
    assert td.metrics.best_lines > td.metrics.mean_lines


@pytest.mark.parametrize("game", [GameConfig(rule="published"), GameConfig(10, 10), GameConfig(6)])
def test_it_learns_other_games(game):
    td = TD(game=game, seed=3)
    before = GreedyEvaluation(td.player(), game, 10, FRESH_GAMES, 300).run().mean_lines
    td.learn(100_000)
    after = GreedyEvaluation(td.player(), game, 10, FRESH_GAMES, 300).run().mean_lines
    assert after > 20 + before


def test_it_learns_from_simple_features():
    td = TD(features=FeatureSet.SIMPLE, seed=3)
    td.learn(150_000)
    assert GreedyEvaluation(td.player(), td.game, 10, FRESH_GAMES, 300).run().mean_lines > 20


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_the_number_of_threads_changes_nothing(threads):
    config = TdConfig(boards=7, rollout_steps=64, batch_size=64, window=2)
    learners = [TD(config=config, seed=4, threads=n) for n in (1, threads)]
    infos: list[list] = []
    for td in learners:
        td.learn(10 * 7 * 64)
        infos.append([(info["r"], info["l"]) for info in td.ep_info_buffer])
    one, many = learners
    assert same_weights(one, many)
    assert one.metrics.episodes == many.metrics.episodes > 20
    assert one.metrics.take_episodes() == many.metrics.take_episodes()
    assert infos[0] == infos[1]
    for mine, other in zip(one.games, many.games, strict=True):
        assert np.array_equal(mine, other)


def test_no_thread_is_left_behind():
    td = TD(config=TdConfig(boards=16, rollout_steps=64), seed=4, threads=3)
    before = threading.active_count()
    seen = set()

    class Watcher(BaseCallback):
        def _on_step(self) -> bool:
            seen.add(threading.active_count())
            return self.n_calls < 4

    td.learn(4_096, Watcher())
    assert max(seen) > before
    assert threading.active_count() == before


def test_without_a_seed_one_is_drawn_and_known():
    a, b = TD(config=SMALL), TD(config=SMALL)
    assert a.run_seed != b.run_seed
    again = small_td(a.run_seed)
    a.learn(128)
    again.learn(128)
    assert same_weights(a, again)


def test_stretches_and_stops_change_nothing():
    at_once, one_step, stopped = (small_td(5) for _ in range(3))
    at_once.learn(640)
    one_step.one_step = True
    recorder = Recorder()
    one_step.learn(640, callback=recorder)
    # Each step of all boards is followed by a turn of the callback.
    steps = [number for name, number in recorder.calls if name == "step"]
    assert set(np.diff(sorted(set(steps)))) == {SMALL.boards}
    stopped.one_step = True
    calls = 0
    while stopped.num_timesteps < 640:
        stopped.learn(640 - stopped.num_timesteps, Recorder(steps=1), reset_num_timesteps=False)
        calls += 1
    assert calls == 640 // SMALL.boards
    stopped.learn(0, reset_num_timesteps=False)
    assert same_weights(at_once, one_step)
    assert same_weights(at_once, stopped)
    assert at_once.metrics.episodes == stopped.metrics.episodes > 0


def test_a_callback_gets_its_turn_within_long_updates_too():
    # 25 gradient steps of about 2 ms.
    config = TdConfig(boards=8, rollout_steps=64, batch_size=2048, epochs=100, hidden_units=1024)
    a, b = (TD(config=config, seed=1) for _ in range(2))
    recorder = Recorder()
    a.learn(512, callback=recorder)
    names = [name for name, _ in recorder.calls]
    assert names[-20:-1].count("step") == 19
    b.learn(512, callback=Recorder(steps=len(names) - 10))
    assert not same_weights(a, b)
    b.learn(0, reset_num_timesteps=False)
    assert same_weights(a, b)


def test_callbacks_are_called_as_sb3_does():
    td, recorder = small_td(), Recorder()
    td.learn(64, callback=recorder)
    assert recorder.calls == [
        ("start", 0),
        ("rollout", 0),
        ("step", 32),
        ("rolled", 32),
        ("rollout", 32),
        ("step", 64),
        ("rolled", 64),
        ("end", 64),
    ]
    stopper = Recorder(steps=1)
    td.learn(640, callback=stopper, reset_num_timesteps=False)
    assert stopper.calls[-2:] == [("step", 96), ("end", 96)]
    assert td.num_timesteps == 96


def test_sb3s_own_callbacks_and_loggers_work(tmp_path):
    td = small_td()
    td.set_logger(configure(str(tmp_path / "log"), ["csv"]))
    env = Monitor(gymnasium.make(PLACEMENT_ENV))
    evaluation = EvalCallback(
        env, eval_freq=4, n_eval_episodes=1, log_path=str(tmp_path), verbose=0
    )
    saving = CheckpointCallback(save_freq=5, save_path=str(tmp_path))
    every = Recorder()
    td.learn(640, [evaluation, saving, EveryNTimesteps(100, every)], log_interval=2)
    assert evaluation.best_mean_reward > 0
    assert next(number for name, number in every.calls if name == "step") == 128
    assert TD.load(tmp_path / "rl_model_160_steps.zip").num_timesteps == 160
    with (tmp_path / "log" / "progress.csv").open() as file:
        rows = list(csv.DictReader(file))
    final = rows[-1]
    assert int(final["time/total_timesteps"]) == 640
    assert float(final["rollout/ep_rew_mean"]) == pytest.approx(td.metrics.mean_reward, rel=1e-4)
    assert float(final["train/learning_rate"]) == pytest.approx(td.current_learning_rate, rel=1e-2)
    assert float(final["train/loss"]) > 0
    stop = StopTrainingOnMaxEpisodes(max_episodes=20)
    other = small_td()
    other.learn(100_000, stop)
    assert 20 <= other.metrics.episodes < 40
    assert len(other.ep_info_buffer) == other.metrics.episodes


class Endings(BaseCallback):
    """Counts games as SB3's own callbacks do."""

    seen = 0

    def _on_step(self) -> bool:
        self.seen += int(np.sum(self.locals["dones"]))
        return True


@pytest.mark.parametrize(
    "agent",
    [
        # Updates so long that they are cut into several turns.
        lambda: TD(
            config=TdConfig(boards=8, rollout_steps=64, epochs=40, hidden_units=512), seed=1
        ),
        lambda: CandidateDQN(seed=1),
        lambda: CandidatePPO(seed=1),
    ],
)
def test_no_game_is_counted_twice(agent):
    learner, endings = agent(), Endings()
    learner.learn(4096, endings)
    assert 0 < endings.seen == learner.metrics.episodes


def test_schedules_go_by_placements_and_can_be_overridden():
    td = small_td(config=TdConfig(**SMALL.to_dict() | {"schedule_placements": 3200}))
    assert td.exploration == td.config.exploration_initial
    td.learn(1600)
    # That of the round to come.
    assert td.exploration == pytest.approx((0.1 + 0.003) / 2)
    assert td.current_learning_rate == pytest.approx(0.003 * (1 + 0.03) / 2)
    td.set_exploration(0.5)
    td.set_learning_rate(1e-4)
    assert (td.exploration, td.current_learning_rate) == (0.5, 1e-4)
    td.learn(1600, reset_num_timesteps=False)
    assert td.policy.optimizer.param_groups[0]["lr"] == 1e-4
    td.set_exploration(None)
    td.set_learning_rate(None)
    assert td.exploration == pytest.approx(0.003)
    assert td.current_learning_rate == pytest.approx(0.003 * 0.03)
    td.learn(640, reset_num_timesteps=False)
    assert td.exploration == pytest.approx(0.003)
    for value in (-0.1, 1.1, float("nan")):
        with pytest.raises(HyperparameterError, match="exploration"):
            td.set_exploration(value)
    for value in (0, 1.1, float("nan")):
        with pytest.raises(HyperparameterError, match="learning_rate"):
            td.set_learning_rate(value)
    assert td.exploration == pytest.approx(0.003)


def test_predict_explores_among_candidates_only():
    td = small_td()
    td.set_exploration(1.0)
    env = gymnasium.make(PLACEMENT_ENV)
    observation, _ = env.reset(seed=1)
    seen = {int(td.predict(observation)[0]) for _ in range(400)}
    candidates = set(np.flatnonzero(observation.reshape(40, -1)[:, -2]))
    assert seen <= candidates
    assert len(seen) > len(candidates) / 2
    assert td.predict(np.stack([observation] * 3))[0].shape == (3,)


def test_sb3s_evaluation_sees_a_good_player():
    td = TD(seed=1)
    td.learn(60_000)
    env = gymnasium.wrappers.TimeLimit(gymnasium.make(PLACEMENT_ENV), 200)
    check_env(env.unwrapped, warn=True)
    reward, _ = evaluate_policy(td, env, n_eval_episodes=2, warn=False)
    assert reward > 400


def test_save_and_load_keep_networks_optimizer_and_counts():
    td = small_td()
    td.learn(640)
    file = io.BytesIO()
    td.save(file)
    assert len(file.getvalue()) < 200_000
    file.seek(0)
    loaded = TD.load(file)
    assert same_weights(td, loaded)
    assert loaded.num_timesteps == 640
    assert loaded.description == td.description
    assert loaded.exploration == td.exploration
    mine, other = (model.policy.optimizer.state_dict()["state"] for model in (td, loaded))
    assert mine[0]["step"] == other[0]["step"] > 0
    assert th.equal(mine[3]["exp_avg_sq"], other[3]["exp_avg_sq"])
    loaded.learn(64, reset_num_timesteps=False)
    assert loaded.num_timesteps == 704


def test_the_stock_dqn_loads_it(tmp_path):
    td = TD(seed=2**63)
    td.learn(20_000)
    td.save(tmp_path / "td")
    model = DQN.load(tmp_path / "td.zip", env=gymnasium.make(PLACEMENT_ENV))
    assert type(model) is DQN
    observation, _ = model.get_env().envs[0].reset(seed=3)
    for _ in range(50):
        action, _ = model.predict(observation, deterministic=True)
        assert action == td.predict(observation, deterministic=True)[0]
        observation, _, over, _, _ = model.get_env().envs[0].step(int(action))
        assert not over
    # It is a DQN like any other: it goes on learning the way DQNs do.
    model.learning_starts = 32
    model.learn(100, reset_num_timesteps=False)
    assert model.num_timesteps >= 20_480 + 100


def test_an_environment_decides_the_game():
    td = TD("AfterstatePolicy", PLACEMENT_ENV, config=SMALL, seed=1)
    assert td.game == GameConfig()
    env = gymnasium.make(PLACEMENT_ENV, width=6, height=12, feature_set="simple")
    td = TD("AfterstatePolicy", env, seed=1)
    assert (td.game, td.features) == (GameConfig(6, 12), FeatureSet.SIMPLE)
    with pytest.raises(ValueError, match="game is"):
        TD(env=env, game=GameConfig())
    with pytest.raises(ValueError, match="features is"):
        TD(env=env, features=FeatureSet.BCTS)
    with pytest.raises(ValueError, match="no other environment"):
        TD(env=gymnasium.make("CartPole-v1"))


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="seed"):
        TD(seed=2**64)
    with pytest.raises(ValueError, match="cpu"):
        TD(device="cuda")
    with pytest.raises(HyperparameterError, match="training_height"):
        TD(game=GameConfig(10, 8), config=TdConfig())
    with pytest.raises(NotImplementedError):
        small_td().train(1)


def test_metrics_hold_the_last_hundred_and_a_sample():
    td = small_td()
    assert td.metrics.mean_lines is td.metrics.mean_reward is td.metrics.take_loss() is None
    td.learn(64 * SMALL.boards)
    sample = td.metrics.take_episodes()
    assert 0 < len(sample) <= 32
    assert td.metrics.take_episodes() == []
    assert td.metrics.take_loss() > 0
    assert td.metrics.take_loss() is None
    assert [e.run_placements for e in sample] == sorted(e.run_placements for e in sample)
    newest = sample[-1]
    assert newest.run_placements <= td.num_timesteps
    assert 0 < newest.placements <= newest.run_placements // SMALL.boards + 1
    td.learn(4000, reset_num_timesteps=False)
    assert td.metrics.episodes > 100
    infos = list(td.ep_info_buffer)
    assert len(infos) == 100
    assert td.metrics.mean_reward == pytest.approx(np.mean([info["r"] for info in infos]))
    assert td.metrics.mean_lines == pytest.approx(np.mean([info["lines"] for info in infos]))


def test_a_quiet_learner_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    td = TD(seed=1)
    td.learn(4_096)
    assert list(tmp_path.iterdir()) == []
    assert td.logger.dir is None

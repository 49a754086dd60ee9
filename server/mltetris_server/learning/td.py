"""TD(lambda) on afterstate values, as a Stable-Baselines3 algorithm.

    td = TD(seed=7)
    td.learn(500_000)
    td.player()         # plays without torch
    td.save("td.zip")   # loads with TD.load, and with the stock DQN.load

One round of learning is a rollout (every training board makes `rollout_steps` placements, acting
on the averaged network), TD(lambda) targets for the afterstates it led through, gradient steps on
samples of the last `window` rollouts, and a step of the average. docs/learning.md says why.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from typing import Any, ClassVar, TypeVar

import gymnasium
import numpy as np
import torch as th
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback
from stable_baselines3.common.utils import configure_logger, update_learning_rate
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.dqn.dqn import DQN
from stable_baselines3.dqn.policies import DQNPolicy

from mltetris_server.game.config import MAX_SEED, FeatureSet, GameConfig
from mltetris_server.game.engine import Games
from mltetris_server.learning.config import TdConfig
from mltetris_server.learning.envs import agree, make_env
from mltetris_server.learning.kernels import LAST
from mltetris_server.learning.metrics import FinishedEpisode, TrainingMetrics
from mltetris_server.learning.model import ModelDescription
from mltetris_server.learning.player import Player
from mltetris_server.learning.policy import AfterstatePolicy
from mltetris_server.learning.rounds import Rounds, gradient_steps, mixed
from mltetris_server.learning.schedules import Overrides, learning_rate_schedule

SelfTD = TypeVar("SelfTD", bound="TD")


class TD(DQN):
    """Learns to value afterstates on many compiled boards at once, on one CPU core.

    A subclass of SB3's DQN with another way to learn: `learn`, `predict`, `save`, `load`,
    callbacks and loggers are as everywhere in SB3. `num_timesteps` counts placements over all
    boards. `callback.on_step()` is called after every stretch of a few milliseconds, within
    updates too where they take long; a callback may hold the learner there for as long as it
    likes, save it, or end `learn` by returning False. `learn` again, with
    `reset_num_timesteps=False`, goes on exactly where it stopped, wherever that was.

    Args:
        policy: `AfterstatePolicy`, by name or class.
        env: A `PlacementEnv`, its id or a VecEnv of such, which then decides `game` and
            `features`. None: one is made where SB3's callbacks ask for it. Learning itself
            happens on compiled boards and does not touch it.
        game: The game to learn; trained on with boards of `config.training_height` rows.
        features: What the network sees.
        config: Hyperparameters; default: `TdConfig.for_height(game.height)`.
        seed: 0..2**64-1, of weights, pieces, exploration and samples; None: drawn. The same seed
            gives the same learning curve, bit for bit.
        verbose, tensorboard_log, stats_window_size: As everywhere in SB3.
        device: Must be the CPU.

    Attributes:
        run_seed: The seed, or the one drawn.
        one_step: Whether a stretch is to end with each step of all boards, so that a callback
            can pace board 0. It changes nothing of what is learnt.

    Raises:
        HyperparameterError: the configuration does not go with the game.
        ValueError: another argument is out of range, or the environment is of another kind.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"AfterstatePolicy": AfterstatePolicy}
    policy: AfterstatePolicy

    def __init__(
        self,
        policy: str | type[DQNPolicy] = "AfterstatePolicy",
        env: GymEnv | str | None = None,
        *,
        game: GameConfig | None = None,
        features: FeatureSet | None = None,
        config: TdConfig | None = None,
        seed: int | None = None,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        verbose: int = 0,
        device: th.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        if th.device("cpu" if device == "auto" else device).type != "cpu":
            raise ValueError(f"TD learns on the CPU; device must be cpu, not {device}")
        if seed is not None and not 0 <= seed <= MAX_SEED:
            raise ValueError(f"the seed must be 0..2**64-1, not {seed}")
        if env is not None:
            env = self._wrap_env(gymnasium.make(env) if isinstance(env, str) else env)
            game, features = agree(env, game, features)
        self.game = game or GameConfig()
        self.features = features or FeatureSet.BCTS
        self.config = config = config or TdConfig.for_height(self.game.height)
        self.run_seed = secrets.randbits(64) if seed is None else seed
        self.one_step = False
        super().__init__(
            policy,
            env,  # type: ignore[arg-type]  # None is fine
            learning_rate=learning_rate_schedule(config),
            # For who loads the .zip with the stock DQN; TD has its own memory.
            buffer_size=10_000,
            batch_size=config.batch_size,
            tau=1 - config.average_decay,
            gamma=config.gamma,
            train_freq=config.rollout_steps,
            gradient_steps=gradient_steps(config),
            target_update_interval=config.rollout_steps,
            exploration_fraction=1.0,
            exploration_initial_eps=config.exploration_initial,
            exploration_final_eps=config.exploration_final,
            policy_kwargs={
                "net_arch": [config.hidden_units],
                "death_reward": config.death_reward,
                # One call for the whole step: the network is small, and calls cost more than sums.
                "optimizer_kwargs": {"fused": True},
            },
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            verbose=verbose,
            device="cpu",
            # SB3 seeds numpy's global generator with it, which takes 32 bits.
            seed=mixed(self.run_seed) & 0xFFFFFFFF,
            _init_setup_model=False,
        )
        if _init_setup_model:
            self._setup_model()

    @property
    def description(self) -> ModelDescription:
        """What the model is."""
        return ModelDescription(self.features, self.game, self.config)

    @property
    def rounds(self) -> Rounds:
        """Where in learning it is; for checkpoints."""
        return self._rounds

    @property
    def overrides(self) -> Overrides:
        """What has been set in place of the schedules."""
        return self._overrides

    @property
    def gradient_steps_made(self) -> int:
        """Gradient steps over its whole life."""
        return self._n_updates

    @property
    def episodes_made(self) -> int:
        """Training games that ended since the step count began."""
        return self._episode_num

    @property
    def games(self) -> Games:
        """The training boards; the same `Games` for as long as this object lives."""
        return self._rounds.games

    @property
    def exploration(self) -> float:
        """Probability of a random placement in this round."""
        if self._overrides.exploration is not None:
            return self._overrides.exploration
        return float(self.exploration_schedule(self._remaining))

    @property
    def current_learning_rate(self) -> float:
        """Learning rate of this round."""
        if self._overrides.learning_rate is not None:
            return self._overrides.learning_rate
        return float(self.lr_schedule(self._remaining))

    @property
    def _remaining(self) -> float:
        """Share of the schedules that is left, by where this round began: not by how far it is, so
        that it does not matter into which pieces it was cut."""
        begun = max(0, self.num_timesteps - self._rounds.position)
        return max(0.0, 1.0 - begun / self.config.schedule_placements)

    def set_exploration(self, value: float | None) -> None:
        """Explore so much from now on, 0..1; None: by the schedule."""
        self._overrides.set_exploration(value)

    def set_learning_rate(self, value: float | None) -> None:
        """Learn at this rate from the next update on, above 0 to 1; None: by the schedule."""
        self._overrides.set_learning_rate(value)

    def begin_at(
        self, placements: int, *, gradient_steps_made: int = 0, episodes_made: int = 0
    ) -> None:
        """Begin with fresh games and an empty window, but at these counts."""
        self.num_timesteps = placements
        self._n_updates = gradient_steps_made
        self._episode_num = episodes_made
        self._begin_rounds()

    def player(self) -> Player:
        """The policy as it is now, greedy, free of torch and of this learner."""
        return Player(self._rounds.average, self.features, self.config.death_reward)

    def get_env(self) -> VecEnv | None:
        """The environment, as callbacks want it: made with the first call."""
        if self.env is None:
            self.env = self._wrap_env(make_env(self.description))
        return self.env

    def predict(
        self,
        observation: np.ndarray[Any, Any] | dict[str, np.ndarray[Any, Any]],
        state: tuple[np.ndarray[Any, Any], ...] | None = None,
        episode_start: np.ndarray[Any, Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray[Any, Any], tuple[np.ndarray[Any, Any], ...] | None]:
        """Placements for observations of `mltetris/Placement-v0`, by the averaged network.

        With `deterministic=False`, as in SB3's DQN, a random one with the probability
        `exploration`; here it is always one of the candidates.
        """
        actions, state = self.policy.predict(observation, state, episode_start, deterministic)
        if not deterministic:
            placements = int(self.action_space.n)  # type: ignore[attr-defined]
            rows = np.asarray(observation).reshape(actions.size, placements, -1)
            chosen = actions.reshape(-1)
            for k in range(actions.size):
                if self._random.random() < self.exploration:
                    chosen[k] = self._random.choice(np.flatnonzero(rows[k, :, -2] > 0.5))
            actions = chosen.reshape(actions.shape)
        return actions, state

    def learn(
        self: SelfTD,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 100,
        tb_log_name: str = "TD",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> SelfTD:
        """Learn for so many placements, or until a callback returns False.

        Args:
            total_timesteps: Placements over all boards; finished to the end of a rollout.
            callback: As everywhere in SB3.
            log_interval: Updates between two logs.
            tb_log_name: As everywhere in SB3.
            reset_num_timesteps: Begin the count, and with it the schedules, at 0; False: go on
                exactly, with `total_timesteps` more.
            progress_bar: As everywhere in SB3.
        """
        total, callback = self._setup_learn(
            total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar
        )
        callback.on_training_start(locals(), globals())
        threads = th.get_num_threads()
        # More would cost more than they bring, and might add up in another order.
        th.set_num_threads(1)
        try:
            self._rounds.bind(self.policy)
            # What has been begun is finished first, so that one call learns the same as two.
            while self.num_timesteps < total or not self._rounds.between:
                if not self._round(callback):
                    break
                if self._rounds.number % log_interval == 0:
                    self.dump_logs()
        finally:
            th.set_num_threads(threads)
        callback.on_training_end()
        return self

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """Not how TD learns, which has no replay buffer: raises NotImplementedError."""
        raise NotImplementedError("TD learns in learn(), from rollouts of its own")

    def dump_logs(self) -> None:
        """Write SB3's log, with what a Tetris player wants to know."""
        if self.metrics.mean_lines is not None:
            self.logger.record("rollout/ep_lines_mean", self.metrics.mean_lines)
        self.logger.record("rollout/exploration_rate", self.exploration)
        self.logger.record("train/learning_rate", self.current_learning_rate)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        super().dump_logs()

    def _round(self, callback: BaseCallback) -> bool:
        """One round, or what is left of it; False where the callback ended it."""
        rounds = self._rounds
        if rounds.between:
            callback.on_rollout_start()
        self._current_progress_remaining = self._remaining
        while not rounds.rolled:
            self._roll(callback)
            if not callback.on_step():
                return False
        if rounds.minibatch == 0:
            callback.on_rollout_end()
            board = rounds.take_targets(0)
            while board < self.config.boards:
                if not callback.on_step():
                    return False
                board = rounds.take_targets(board)
            rounds.remember()
        while True:
            update_learning_rate(self.policy.optimizer, self.current_learning_rate)
            losses, steps = rounds.step(self._n_updates)
            self._n_updates += steps
            self.metrics.add_loss(losses, steps)
            self.logger.record_mean("train/loss", losses / steps)
            if rounds.stepped:
                break
            if not callback.on_step():
                return False
        rounds.finish()
        return True

    def _roll(self, callback: BaseCallback) -> None:
        """A stretch of placements, counted and made known."""
        rounds, metrics = self._rounds, self.metrics
        self.exploration_rate = self.exploration
        start, before = rounds.position, self.num_timesteps
        ended = rounds.roll(self.exploration_rate, one_step=self.one_step)
        self.num_timesteps += rounds.position - start
        metrics.see_lines(int(rounds.games.lines.max()))
        infos = []
        for k, board, number, lines, placements, score in ended.tolist():
            made = before + k - start + 1
            metrics.add_episode(FinishedEpisode(board, number, lines, placements, score, made))
            seconds = (time.time_ns() - self.start_time) / 1e9
            infos.append({"episode": {"r": score, "l": placements, "t": seconds, "lines": lines}})
        self._episode_num += len(infos)
        self._update_info_buffer(infos)
        # What SB3's own callbacks look for: one entry for each placement, and for each episode.
        dones = (rounds.rollout.kinds[start : rounds.position] & LAST) != 0
        callback.update_locals({"dones": dones, "infos": infos, "self": self})

    def _setup_model(self) -> None:
        self.features = FeatureSet(self.features)  # a .zip holds it as a word
        self.config.check_height(self.game.height)
        if self.env is None:
            env = make_env(self.description)
            self.observation_space, self.action_space = env.observation_space, env.action_space
            self.n_envs = 1
        super()._setup_model()
        self.replay_buffer = None
        self._overrides = Overrides()
        self._random = np.random.default_rng(self.run_seed)
        self.metrics = TrainingMetrics()
        self._begin_rounds()

    def _begin_rounds(self) -> None:
        """Fresh games and an empty window, at the step count there is."""
        done = self.num_timesteps // (self.config.boards * self.config.rollout_steps)
        # Further on: not the pieces of the beginning once more.
        pieces = mixed(self.run_seed + self.num_timesteps) if done else self.run_seed
        self._rounds = Rounds(self.description, self.run_seed, pieces, done)
        self._rounds.bind(self.policy)

    def _excluded_save_params(self) -> list[str]:
        # As SB3's .zip holds no replay buffer; `checkpoint.dump` holds everything.
        excluded = ["_rounds", "_random", "_overrides", "metrics"]
        return [*super()._excluded_save_params(), *excluded, "ep_info_buffer", "ep_success_buffer"]

    def _setup_learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        reset_num_timesteps: bool = True,
        tb_log_name: str = "run",
        progress_bar: bool = False,
    ) -> tuple[int, BaseCallback]:
        """SB3's, less the environment: the boards go on where they are."""
        self.start_time = time.time_ns()
        if self.ep_info_buffer is None or reset_num_timesteps:
            self.ep_info_buffer = deque(maxlen=self._stats_window_size)
            self.ep_success_buffer = deque(maxlen=self._stats_window_size)
        if reset_num_timesteps:
            self.num_timesteps = 0
            self._episode_num = 0
        else:
            total_timesteps += self.num_timesteps
        self._total_timesteps = total_timesteps
        self._num_timesteps_at_start = self.num_timesteps
        if not self._custom_logger:
            self._logger = (
                configure_logger(
                    self.verbose, self.tensorboard_log, tb_log_name, reset_num_timesteps
                )
                if self.verbose or self.tensorboard_log
                # SB3's own logger makes a folder in the temporary directory even to say nothing.
                else Logger(folder=None, output_formats=[])
            )
        return total_timesteps, self._init_callback(callback, progress_bar)

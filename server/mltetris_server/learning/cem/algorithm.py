"""Noisy cross-entropy on linear features, as a Stable-Baselines3 algorithm.

    cem = CEM(seed=7)
    cem.learn(5_000_000)
    cem.player()         # plays without torch
    cem.save("cem.zip")  # loads with CEM.load

An iteration draws weights from a normal distribution, lets each sample play games of its own, and
makes the distribution that of the samples which lasted longest. docs/learning/cem.md says how.
"""

from __future__ import annotations

import secrets
import time
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, ClassVar, TypeVar

import gymnasium
import numpy as np
import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback
from stable_baselines3.common.utils import FloatSchedule, safe_mean
from stable_baselines3.common.vec_env import VecEnv

from mltetris_server.game.config import MAX_SEED, FeatureSet, GameConfig
from mltetris_server.game.engine import Games
from mltetris_server.hyperparameters import CemConfig, HyperparameterError
from mltetris_server.learning.cem.distribution import Distribution
from mltetris_server.learning.cem.iteration import Iteration
from mltetris_server.learning.envs import agree, make_env
from mltetris_server.learning.kernels import Network
from mltetris_server.learning.metrics import FinishedEpisode, TrainingMetrics
from mltetris_server.learning.model import ModelDescription
from mltetris_server.learning.player import Player
from mltetris_server.learning.policy import AfterstatePolicy, set_network
from mltetris_server.learning.sb3 import begin_learning, count_episodes
from mltetris_server.learning.seeds import mixed

SelfCEM = TypeVar("SelfCEM", bound="CEM")


class CEM(BaseAlgorithm):
    """Noisy cross-entropy on many compiled boards at once, on the CPU.

    `num_timesteps` counts placements over all boards. `callback.on_step()` is called after every
    slice of a few milliseconds; a callback may hold the learner there for as long as it likes,
    save it, or end `learn` by returning False. `learn` again, with `reset_num_timesteps=False`,
    goes on exactly where it stopped, wherever that was.

    The policy, the one that plays, is shown and saved, is the average of the distribution's means:
    `policy.q_net_target`. `policy.q_net` is the present mean. There is no gradient and no
    exploration: what is uncertain is the weights, not the placements.

    Args:
        policy: `AfterstatePolicy`, by name or class.
        env: A `PlacementEnv`, its id or a VecEnv of such, which then decides `game` and
            `features`. None: one is made where SB3's callbacks ask for it. Learning itself
            happens on compiled boards and does not touch it.
        game: The game to learn; trained on with boards of `config.training_height` rows.
        features: What a placement's value is a weighted sum of.
        config: Hyperparameters; default: those for the game and the features.
        seed: 0..2**64-1, of samples and pieces; None: drawn. The same seed gives the same
            learning curve, bit for bit.
        threads: Threads to learn with, at least 1; what is learnt does not depend on it.
        verbose, tensorboard_log, stats_window_size: As everywhere in SB3.
        device: Must be the CPU.

    Attributes:
        run_seed: The seed, or the one drawn.
        one_step: Whether a slice is to end with each placement of all boards, so that a callback
            can pace board 0. It changes nothing of what is learnt.
        metrics: Its running figures. Games that were still going when their iteration ended are
            not among the episodes, so that their mean is below what a sample makes.

    Raises:
        HyperparameterError: the configuration does not go with the game.
        ValueError: another argument is out of range, or the environment is of another kind.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"AfterstatePolicy": AfterstatePolicy}
    policy: AfterstatePolicy

    def __init__(
        self,
        policy: str | type[BasePolicy] = "AfterstatePolicy",
        env: GymEnv | str | None = None,
        *,
        game: GameConfig | None = None,
        features: FeatureSet | None = None,
        config: CemConfig | None = None,
        seed: int | None = None,
        threads: int = 1,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        verbose: int = 0,
        device: th.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        if th.device("cpu" if device == "auto" else device).type != "cpu":
            raise ValueError(f"CEM learns on the CPU; device must be cpu, not {device}")
        if seed is not None and not 0 <= seed <= MAX_SEED:
            raise ValueError(f"the seed must be 0..2**64-1, not {seed}")
        if threads < 1:
            raise ValueError(f"threads must be at least 1, not {threads}")
        if env is not None:
            env = self._wrap_env(gymnasium.make(env) if isinstance(env, str) else env)
            game, features = agree(env, game, features)
        self.game = game or GameConfig()
        self.features = features or FeatureSet.BCTS
        self.config = config or CemConfig.for_game(self.game.height, self.features)
        self.run_seed = secrets.randbits(64) if seed is None else seed
        self.threads = threads
        self.one_step = False
        super().__init__(
            policy,
            env,
            # The policy has an optimizer, as all of SB3's have, but nothing is learnt with it.
            learning_rate=0.0,
            policy_kwargs={
                "net_arch": list(self.config.hidden(self.features)),
                "fatal_value": self.config.fatal_value,
            },
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            verbose=verbose,
            device="cpu",
            # SB3 seeds numpy's global generator with it, which takes 32 bits.
            seed=mixed(self.run_seed) & 0xFFFFFFFF,
        )
        if _init_setup_model:
            self._setup_model()

    @property
    def description(self) -> ModelDescription:
        """What the model is."""
        return ModelDescription(self.features, self.game, self.config)

    @property
    def distribution(self) -> Distribution:
        """What samples are drawn from."""
        return self._distribution

    @property
    def iteration(self) -> Iteration:
        """Where in learning it is; for checkpoints."""
        return self._iteration

    @property
    def episodes_made(self) -> int:
        """Training games that ended since the step count began."""
        return self._episode_num

    @property
    def games(self) -> Games:
        """The training boards, one for each sample."""
        return self._iteration.games

    @property
    def exploration(self) -> None:
        """None: no placement is ever made at random."""
        return None

    @property
    def current_learning_rate(self) -> None:
        """None: there is no gradient to follow."""
        return None

    def set_exploration(self, value: float | None) -> None:
        """Only None is possible; raises HyperparameterError."""
        if value is not None:
            raise HyperparameterError([("exploration", "cem makes no random placements")])

    def set_learning_rate(self, value: float | None) -> None:
        """Only None is possible; raises HyperparameterError."""
        if value is not None:
            raise HyperparameterError([("learning_rate", "cem has none")])

    def player(self) -> Player:
        """The policy as it is now, free of torch and of this learner."""
        network = _linear(self._distribution.average)
        return Player(network, self.features, self.config.fatal_value)

    def play_as(self, network: Network) -> None:
        """Begin with the weights of this policy, scaled to length 1."""
        self._distribution.start_at(network.output_weights, self.config.spread)
        self._show()
        self._begin(0)

    def begin_at(self, placements: int, *, iterations: int = 0, episodes_made: int = 0) -> None:
        """Begin an iteration with fresh games, but at these counts."""
        self.num_timesteps = placements
        self._episode_num = episodes_made
        self._begin(iterations)

    def get_env(self) -> VecEnv | None:
        """The environment, as callbacks want it: made with the first call."""
        if self.env is None:
            self.env = self._wrap_env(make_env(self.description))
        return self.env

    def learn(
        self: SelfCEM,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 100,
        tb_log_name: str = "CEM",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> SelfCEM:
        """Learn for so many placements, or until a callback returns False.

        Args:
            total_timesteps: Placements over all boards; finished to the end of a slice. What an
                iteration found out changes the policy when it ends.
            callback: As everywhere in SB3.
            log_interval: Iterations between two logs.
            tb_log_name: As everywhere in SB3.
            reset_num_timesteps: Begin the count at 0; False: `total_timesteps` more.
            progress_bar: As everywhere in SB3.
        """
        total, callback = begin_learning(
            self, total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar
        )
        callback.on_training_start(locals(), globals())
        with ExitStack() as stack:
            pool = None
            if self.threads > 1:
                pool = stack.enter_context(ThreadPoolExecutor(self.threads - 1, "cem"))
            while self.num_timesteps < total:
                if not self._slice(pool, callback, log_interval):
                    break
        callback.on_training_end()
        return self

    def dump_logs(self) -> None:
        """Write SB3's log, with what a Tetris player wants to know."""
        seconds = max((time.time_ns() - self.start_time) / 1e9, 1e-9)
        made = self.num_timesteps - self._num_timesteps_at_start
        if self.ep_info_buffer:
            rewards = [info["r"] for info in self.ep_info_buffer]
            lengths = [info["l"] for info in self.ep_info_buffer]
            self.logger.record("rollout/ep_rew_mean", safe_mean(rewards))
            self.logger.record("rollout/ep_len_mean", safe_mean(lengths))
            self.logger.record("rollout/ep_lines_mean", self.metrics.mean_lines)
        self.logger.record("train/spread", self._distribution.spread)
        self.logger.record("train/iterations", self._iteration.number, exclude="tensorboard")
        self.logger.record("time/fps", int(made / seconds))
        self.logger.record("time/time_elapsed", int(seconds), exclude="tensorboard")
        self.logger.record("time/total_timesteps", self.num_timesteps, exclude="tensorboard")
        self.logger.dump(step=self.num_timesteps)

    def _slice(self, pool: Executor | None, callback: BaseCallback, log_interval: int) -> bool:
        """A slice of an iteration; False where the callback ended it."""
        iteration, metrics = self._iteration, self.metrics
        if iteration.horizon == 0:
            callback.on_rollout_start()
        before = int(iteration.made.sum())
        ended = iteration.play(pool, one_step=self.one_step)
        placements = int(iteration.made.sum()) - before
        self.num_timesteps += placements
        metrics.see_lines(int(iteration.games.lines.max()))
        infos = count_episodes(
            self,
            metrics,
            (
                # When in the slice it was is not known: boards do not play in step there.
                FinishedEpisode(board, number, lines, length, score, self.num_timesteps)
                for board, _, number, lines, length, score in ended.tolist()
            ),
        )
        # What SB3's own callbacks look for: one entry for each placement, and for each episode.
        dones = np.arange(placements) >= placements - len(infos)
        callback.update_locals({"dones": dones, "infos": infos, "self": self})
        if iteration.decided:
            callback.on_rollout_end()
            iteration.finish()
            self._n_updates += 1
            self._show()
            if iteration.number % log_interval == 0:
                self.dump_logs()
        return callback.on_step()

    def _show(self) -> None:
        """Let the policy know the distribution."""
        set_network(self.policy.q_net, _linear(self._distribution.mean))
        set_network(self.policy.q_net_target, _linear(self._distribution.average))

    def _setup_model(self) -> None:
        self.features = FeatureSet(self.features)  # a .zip holds it as a word
        self.config.check(self.game.height, self.features)
        # Plain JSON in an SB3 .zip: so it is read again without unpickling (`foreign.py`).
        self.mltetris_model = self.description.to_dict()
        if self.env is None:
            env = make_env(self.description)
            self.observation_space, self.action_space = env.observation_space, env.action_space
            self.n_envs = 1
        self.set_random_seed(self.seed)
        self.lr_schedule = FloatSchedule(self.learning_rate)
        policy = self.policy_class(
            self.observation_space, self.action_space, self.lr_schedule, **self.policy_kwargs
        )
        if not isinstance(policy, AfterstatePolicy):
            raise ValueError(f"CEM's policy is AfterstatePolicy, not {type(policy).__name__}")
        self.policy = policy.to(self.device)
        self.metrics = TrainingMetrics()
        # A .zip brings its own along.
        if not hasattr(self, "_distribution"):
            self._distribution = Distribution(self.description.inputs)
        self._show()
        self._begin(self._n_updates)

    def _begin(self, iterations: int) -> None:
        """Fresh games for samples of the distribution, after so many iterations."""
        self._n_updates = iterations
        # Further on: not the pieces of the beginning once more.
        further = self.num_timesteps > 0
        pieces = mixed(self.run_seed + self.num_timesteps) if further else self.run_seed
        self._iteration = Iteration(
            self.description,
            self._distribution,
            seed=self.run_seed,
            games_seed=pieces,
            number=iterations,
            threads=self.threads,
        )

    def _excluded_save_params(self) -> list[str]:
        # As SB3's .zip holds no rollout buffer; `checkpoint.dump` holds everything.
        ours = ["_iteration", "metrics", "ep_info_buffer", "ep_success_buffer"]
        return [*super()._excluded_save_params(), *ours]


def _linear(weights: np.ndarray[Any, Any]) -> Network:
    """The network without hidden units that has these weights."""
    return Network(
        np.zeros((0, weights.size), np.float32),
        np.zeros(0, np.float32),
        weights.astype(np.float32),
        np.zeros(1, np.float32),
    )

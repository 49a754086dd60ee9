"""What `td` and `dqn` share: values of afterstates, learnt on many compiled boards at once.

Both are subclasses of Stable-Baselines3's DQN with another way to play and to remember: `learn`,
`predict`, `save`, `load`, callbacks and loggers are as everywhere in SB3.
"""

from __future__ import annotations

import secrets
from typing import Any, ClassVar, Generic, TypeVar

import gymnasium
import numpy as np
import torch as th
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.dqn.dqn import DQN
from stable_baselines3.dqn.policies import DQNPolicy

from mltetris_server.game.config import MAX_SEED, FeatureSet, GameConfig
from mltetris_server.hyperparameters import DqnConfig, TdConfig
from mltetris_server.learning.envs import agree, make_env
from mltetris_server.learning.kernels import Network
from mltetris_server.learning.metrics import TrainingMetrics
from mltetris_server.learning.model import ModelDescription
from mltetris_server.learning.policy import AfterstatePolicy, set_network
from mltetris_server.learning.sb3 import begin_learning
from mltetris_server.learning.schedules import Overrides, learning_rate_schedule
from mltetris_server.learning.seeds import mixed

Config = TypeVar("Config", TdConfig, DqnConfig)


class AfterstateDQN(DQN, Generic[Config]):
    """Learns to value afterstates on many compiled boards at once, on the CPU.

    `num_timesteps` counts placements over all boards. `callback.on_step()` is called after every
    stretch of a few milliseconds; a callback may hold the learner there for as long as it likes,
    save it, or end `learn` by returning False. `learn` again, with `reset_num_timesteps=False`,
    goes on exactly where it stopped, wherever that was.

    Args:
        policy: `AfterstatePolicy`, by name or class.
        env: A `PlacementEnv`, its id or a VecEnv of such, which then decides `game` and
            `features`. None: one is made where SB3's callbacks ask for it. Learning itself
            happens on compiled boards and does not touch it.
        game: The game to learn; trained on with boards of `config.training_height` rows.
        features: What the network sees.
        config: Hyperparameters; default: those for the game and the features.
        seed: 0..2**64-1, of weights, pieces, exploration and samples; None: drawn. The same seed
            gives the same learning curve, bit for bit.
        threads: Threads to learn with, at least 1; what is learnt does not depend on it.
        verbose, tensorboard_log, stats_window_size: As everywhere in SB3.
        device: Must be the CPU.

    Attributes:
        run_seed: The seed, or the one drawn.
        one_step: Whether a stretch is to end with each step of all boards, so that a callback
            can pace board 0. It changes nothing of what is learnt.
        metrics: Its running figures.

    Raises:
        HyperparameterError: the configuration does not go with the game.
        ValueError: another argument is out of range, or the environment is of another kind.
    """

    config_class: ClassVar[Any]
    """The class of its configuration."""
    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"AfterstatePolicy": AfterstatePolicy}
    policy: AfterstatePolicy
    config: Config

    def __init__(
        self,
        policy: str | type[DQNPolicy] = "AfterstatePolicy",
        env: GymEnv | str | None = None,
        *,
        game: GameConfig | None = None,
        features: FeatureSet | None = None,
        config: Config | None = None,
        seed: int | None = None,
        threads: int = 1,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        verbose: int = 0,
        device: th.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        name = type(self).__name__
        if th.device("cpu" if device == "auto" else device).type != "cpu":
            raise ValueError(f"{name} learns on the CPU; device must be cpu, not {device}")
        if seed is not None and not 0 <= seed <= MAX_SEED:
            raise ValueError(f"the seed must be 0..2**64-1, not {seed}")
        if threads < 1:
            raise ValueError(f"threads must be at least 1, not {threads}")
        if env is not None:
            env = self._wrap_env(gymnasium.make(env) if isinstance(env, str) else env)
            game, features = agree(env, game, features)
        self.game = game or GameConfig()
        self.features = FeatureSet(features or FeatureSet.BCTS)
        config = config or self.config_class.for_game(self.game.height, self.features)
        self.config = config
        self.run_seed = secrets.randbits(64) if seed is None else seed
        self.threads = threads
        self.one_step = False
        super().__init__(
            policy,
            env,  # type: ignore[arg-type]  # None is fine
            learning_rate=learning_rate_schedule(config),
            batch_size=config.batch_size,
            gamma=config.gamma,
            train_freq=config.rollout_steps,
            exploration_fraction=1.0,
            exploration_initial_eps=config.exploration_initial,
            exploration_final_eps=config.exploration_final,
            policy_kwargs={
                "net_arch": list(config.hidden(self.features)),
                "fatal_value": config.fatal_value,
                "table": self.features is FeatureSet.BOARD,
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
            **self._dqn_arguments(config),
        )
        if _init_setup_model:
            self._setup_model()

    @staticmethod
    def _dqn_arguments(config: Config) -> dict[str, Any]:
        """What else SB3's DQN is to be made with."""
        raise NotImplementedError

    @property
    def description(self) -> ModelDescription:
        """What the model is."""
        return ModelDescription(self.features, self.game, self.config)

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
    def _round_began(self) -> int:
        """Placements made before this round: schedules follow it, so that it does not matter into
        which pieces a round was cut."""
        raise NotImplementedError

    @property
    def _remaining(self) -> float:
        """Share of the schedules that is left."""
        return max(0.0, 1.0 - max(0, self._round_began) / self.config.schedule_placements)

    def set_exploration(self, value: float | None) -> None:
        """Explore so much from now on, 0..1; None: by the schedule."""
        self._overrides.set_exploration(value)

    def set_learning_rate(self, value: float | None) -> None:
        """Learn at this rate from the next update on, above 0 to 1; None: by the schedule."""
        self._overrides.set_learning_rate(value)

    def play_as(self, network: Network) -> None:
        """Begin with the weights of this policy."""
        set_network(self.policy.q_net, network)
        set_network(self.policy.q_net_target, network)

    def begin_at(
        self, placements: int, *, gradient_steps_made: int = 0, episodes_made: int = 0
    ) -> None:
        """Begin with fresh games and an empty memory, but at these counts."""
        self.num_timesteps = placements
        self._n_updates = gradient_steps_made
        self._episode_num = episodes_made
        self._begin()

    def _begin(self) -> None:
        """Fresh games and an empty memory, at the step count there is."""
        raise NotImplementedError

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
        """Placements for observations of `mltetris/Placement-v0`, by the network that acts.

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

    def dump_logs(self) -> None:
        """Write SB3's log, with what a Tetris player wants to know."""
        if self.metrics.mean_lines is not None:
            self.logger.record("rollout/ep_lines_mean", self.metrics.mean_lines)
        self.logger.record("rollout/exploration_rate", self.exploration)
        self.logger.record("train/learning_rate", self.current_learning_rate)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        super().dump_logs()

    def _setup_model(self) -> None:
        self.features = FeatureSet(self.features)  # a .zip holds it as a word
        self.config.check(self.game.height, self.features)
        # Plain JSON in an SB3 .zip: so it is read again without unpickling (`foreign.py`).
        self.mltetris_model = self.description.to_dict()
        if self.env is None:
            env = make_env(self.description)
            self.observation_space, self.action_space = env.observation_space, env.action_space
            self.n_envs = 1
        super()._setup_model()
        self.replay_buffer = None
        self._overrides = Overrides()
        self._random = np.random.default_rng(self.run_seed)
        self.metrics = TrainingMetrics()
        self._begin()

    def _excluded_save_params(self) -> list[str]:
        # As SB3's .zip holds no replay buffer; `checkpoint.dump` holds everything.
        ours: list[str] = [
            "_random",
            "_overrides",
            "metrics",
            "ep_info_buffer",
            "ep_success_buffer",
        ]
        return [*super()._excluded_save_params(), *ours]

    def _setup_learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        reset_num_timesteps: bool = True,
        tb_log_name: str = "run",
        progress_bar: bool = False,
    ) -> tuple[int, BaseCallback]:
        """SB3's, less the environment: the boards go on where they are."""
        return begin_learning(
            self, total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar
        )

"""Masked PPO on candidate placements, as a Stable-Baselines3 algorithm.

    ppo = CandidatePPO(seed=7)
    ppo.learn(100_000)
    ppo.player()         # plays without torch
    ppo.save("ppo.zip")  # loads with CandidatePPO.load, and with sb3-contrib's MaskablePPO.load

One round of learning is a rollout (every training board makes `rollout_steps` placements, drawn
from the policy's probabilities in compiled code), its advantages, and the update of both networks
by sb3-contrib's own `MaskablePPO.train()`. docs/learning/ppo.md says why.
"""

from __future__ import annotations

import secrets
from typing import Any, ClassVar, NoReturn, TypeVar

import gymnasium
import torch as th
from sb3_contrib.ppo_mask.ppo_mask import MaskablePPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback
from stable_baselines3.common.utils import update_learning_rate
from stable_baselines3.common.vec_env import VecEnv

from mltetris_server.game.config import MAX_SEED, FeatureSet, GameConfig
from mltetris_server.game.engine import Games
from mltetris_server.hyperparameters import HyperparameterError, PpoConfig
from mltetris_server.learning.envs import agree, make_env
from mltetris_server.learning.kernels import Network
from mltetris_server.learning.metrics import FinishedEpisode, TrainingMetrics
from mltetris_server.learning.model import ModelDescription
from mltetris_server.learning.player import Player
from mltetris_server.learning.policy import set_network
from mltetris_server.learning.ppo.buffer import CandidateBuffer, Minibatch
from mltetris_server.learning.ppo.policy import CandidatePolicy
from mltetris_server.learning.ppo.rounds import Rounds
from mltetris_server.learning.sb3 import begin_learning, count_episodes, nothing_played
from mltetris_server.learning.schedules import Overrides, learning_rate_schedule
from mltetris_server.learning.seeds import mixed

SelfPPO = TypeVar("SelfPPO", bound="CandidatePPO")


class _Ended(Exception):
    """A callback ended learning between two minibatches."""


class CandidatePPO(MaskablePPO):
    """Learns how likely to make each candidate placement, on many compiled boards at once.

    `num_timesteps` counts placements over all boards. `callback.on_step()` is called after every
    stretch of a few milliseconds and between minibatches; a callback may hold the learner there
    for as long as it likes, save it, or end `learn` by returning False. `learn` again, with
    `reset_num_timesteps=False`, goes on exactly where it stopped, wherever that was.

    It explores by drawing from its probabilities, so that there is no exploration to be set.

    Args:
        policy: `CandidatePolicy`, by name or class.
        env: A `PlacementEnv`, its id or a VecEnv of such, which then decides `game` and
            `features`. None: one is made where SB3's callbacks ask for it. Learning itself
            happens on compiled boards and does not touch it.
        game: The game to learn; trained on with boards of `config.training_height` rows.
        features: What the networks see.
        config: Hyperparameters; default: those for the game and the features.
        seed: 0..2**64-1, of weights, pieces, placements and minibatches; None: drawn. The same
            seed gives the same learning curve, bit for bit.
        verbose, tensorboard_log, stats_window_size: As everywhere in SB3.
        device: Must be the CPU.

    Attributes:
        run_seed: The seed, or the one drawn.
        one_step: Whether a stretch is to end with each step of all boards, so that a callback
            can pace board 0. It changes nothing of what is learnt.
        metrics: Its running figures; their loss is the critic's mean squared error.

    Raises:
        HyperparameterError: the configuration does not go with the game.
        ValueError: another argument is out of range, or the environment is of another kind.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"CandidatePolicy": CandidatePolicy}
    policy: CandidatePolicy
    rollout_buffer: CandidateBuffer

    def __init__(
        self,
        policy: str | type[CandidatePolicy] = "CandidatePolicy",
        env: GymEnv | str | None = None,
        *,
        game: GameConfig | None = None,
        features: FeatureSet | None = None,
        config: PpoConfig | None = None,
        seed: int | None = None,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        verbose: int = 0,
        device: th.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        if th.device("cpu" if device == "auto" else device).type != "cpu":
            raise ValueError(f"CandidatePPO learns on the CPU; device must be cpu, not {device}")
        if seed is not None and not 0 <= seed <= MAX_SEED:
            raise ValueError(f"the seed must be 0..2**64-1, not {seed}")
        if env is not None:
            env = self._wrap_env(gymnasium.make(env) if isinstance(env, str) else env)
            game, features = agree(env, game, features)
        self.game = game or GameConfig()
        self.features = features or FeatureSet.BCTS
        self.config = config = config or PpoConfig.for_game(self.game.height, self.features)
        self.run_seed = secrets.randbits(64) if seed is None else seed
        self.one_step = False
        super().__init__(
            policy,
            env,  # type: ignore[arg-type]  # None is fine
            learning_rate=learning_rate_schedule(config),
            n_steps=config.rollout_steps,
            batch_size=config.batch_size,
            n_epochs=config.epochs,
            gamma=config.gamma,
            gae_lambda=config.gae_lambda,
            clip_range=config.clip_range,
            ent_coef=config.entropy_weight,
            vf_coef=config.value_weight,
            max_grad_norm=config.max_gradient_norm,
            policy_kwargs={
                "net_arch": [config.hidden_units],
                "death_reward": config.death_reward,
                # PPO's usual epsilon; one call for the whole step, for the networks are small.
                "optimizer_kwargs": {"eps": 1e-5, "fused": True},
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
        """What has been set in place of the schedule."""
        return self._overrides

    @property
    def passes_made(self) -> int:
        """Passes over a rollout over its whole life: SB3's `n_updates`."""
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
    def exploration(self) -> None:
        """It has none: it draws from its probabilities."""
        return None

    @property
    def current_learning_rate(self) -> float:
        """Learning rate of this round."""
        if self._overrides.learning_rate is not None:
            return self._overrides.learning_rate
        return float(self.lr_schedule(self._remaining))

    @property
    def _remaining(self) -> float:
        """Share of the schedule that is left, by where this round began: not by how far it is, so
        that it does not matter into which pieces it was cut."""
        begun = max(0, self.num_timesteps - self.rollout_buffer.position)
        return max(0.0, 1.0 - begun / self.config.schedule_placements)

    def set_exploration(self, value: float | None) -> None:
        """There is none to set.

        Raises:
            HyperparameterError: it is not None.
        """
        if value is not None:
            text = "ppo draws placements from its own probabilities: there is none to set"
            raise HyperparameterError([("exploration", text)])

    def set_learning_rate(self, value: float | None) -> None:
        """Learn at this rate from the next minibatch on, above 0 to 1; None: by the schedule."""
        self._overrides.set_learning_rate(value)

    def play_as(self, network: Network) -> None:
        """Begin with the weights of this policy."""
        set_network(self.policy.actor, network)

    def begin_at(self, placements: int, *, passes_made: int = 0, episodes_made: int = 0) -> None:
        """Begin with fresh games and an empty rollout, but at these counts."""
        self.num_timesteps = placements
        self._n_updates = passes_made
        self._episode_num = episodes_made
        self._begin()

    def player(self) -> Player:
        """The policy as it is now, greedy, free of torch and of this learner."""
        return Player(self._rounds.actor, self.features, self.config.fatal_value)

    def get_env(self) -> VecEnv | None:
        """The environment, as callbacks want it: made with the first call."""
        if self.env is None:
            self.env = self._wrap_env(make_env(self.description))
        return self.env

    def learn(  # type: ignore[override]  # as in sb3-contrib: `use_masking` stands where it does there
        self: SelfPPO,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 100,
        tb_log_name: str = "CandidatePPO",
        reset_num_timesteps: bool = True,
        use_masking: bool = True,
        progress_bar: bool = False,
    ) -> SelfPPO:
        """Learn for so many placements, or until a callback returns False.

        Args:
            total_timesteps: Placements over all boards; finished to the end of a rollout.
            callback: As everywhere in SB3.
            log_interval: Updates between two logs.
            tb_log_name: As everywhere in SB3.
            reset_num_timesteps: Begin the count, and with it the schedule, at 0; False: go on
                exactly, with `total_timesteps` more.
            use_masking: Must be True.
            progress_bar: As everywhere in SB3.

        Raises:
            ValueError: `use_masking` is False.
        """
        if not use_masking:
            raise ValueError("CandidatePPO chooses among candidates only; use_masking must be True")
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
                    self.dump_logs(self._rounds.number)
        finally:
            th.set_num_threads(threads)
        callback.on_training_end()
        return self

    def collect_rollouts(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not how it plays: raises NotImplementedError."""
        raise NotImplementedError("CandidatePPO plays on compiled boards, in learn()")

    def dump_logs(self, iteration: int = 0) -> None:
        """Write SB3's log, with what a Tetris player wants to know."""
        if self.metrics.mean_lines is not None:
            self.logger.record("rollout/ep_lines_mean", self.metrics.mean_lines)
        self.logger.record("train/learning_rate", self.current_learning_rate)
        super().dump_logs(iteration)

    def _round(self, callback: BaseCallback) -> bool:
        """One round, or what is left of it; False where the callback ended it."""
        rounds, buffer = self._rounds, self.rollout_buffer
        if rounds.between:
            callback.on_rollout_start()
        self._current_progress_remaining = self._remaining
        while not rounds.rolled:
            self._roll(callback)
            if not callback.on_step():
                return False
        if not buffer.begun:
            callback.on_rollout_end()
            board = rounds.value(0)
            while board < self.config.boards:
                if not callback.on_step():
                    return False
                board = rounds.value(board)
        if buffer.parts(self.config.batch_size) and not self._update(callback):
            return False
        rounds.begin(rounds.number + 1)
        return True

    def _update(self, callback: BaseCallback) -> bool:
        """MaskablePPO's `train()`, or what is left of it; False where the callback ended it."""
        buffer = self.rollout_buffer
        nothing_played(callback)
        first = True

        def before() -> None:
            nonlocal first
            if not first and not callback.on_step():
                raise _Ended
            first = False
            update_learning_rate(self.policy.optimizer, self.current_learning_rate)

        buffer.before, buffer.after = before, self._learnt
        self.n_epochs = self.config.epochs - buffer.epoch
        try:
            self.train()
        except _Ended:
            return False
        finally:
            self.n_epochs = self.config.epochs
        return True

    def _learnt(self, batch: Minibatch) -> None:
        """Take note of the critic's error over a minibatch."""
        error = batch.returns - self.policy.last_values
        self.metrics.add_loss(float((error * error).mean()), 1)

    def _update_learning_rate(
        self, optimizers: list[th.optim.Optimizer] | th.optim.Optimizer
    ) -> None:
        """Nothing: each minibatch takes the rate that holds then."""

    def _roll(self, callback: BaseCallback) -> None:
        """A stretch of placements, counted and made known."""
        rounds, metrics, buffer = self._rounds, self.metrics, self.rollout_buffer
        start, before = buffer.position, self.num_timesteps
        ended = rounds.roll(one_step=self.one_step)
        self.num_timesteps += buffer.position - start
        metrics.see_lines(int(rounds.games.lines.max()))
        infos = count_episodes(
            self,
            metrics,
            (
                FinishedEpisode(board, number, lines, placements, score, before + k - start + 1)
                for k, board, number, lines, placements, score in ended.tolist()
            ),
        )
        # What SB3's own callbacks look for: one entry for each placement, and for each episode.
        dones = buffer.rollout.dones[start : buffer.position] != 0
        callback.update_locals({"dones": dones, "infos": infos, "self": self})

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
        self._overrides = Overrides()
        self.metrics = TrainingMetrics()
        self._begin()

    def _begin(self) -> None:
        """Fresh games and an empty rollout, at the step count there is."""
        done = self.num_timesteps // (self.config.boards * self.config.rollout_steps)
        # Further on: not the pieces of the beginning once more.
        pieces = mixed(self.run_seed + self.num_timesteps) if done else self.run_seed
        self._rounds = Rounds(self.description, self.policy, self.run_seed, pieces, done)
        self.rollout_buffer = self._rounds.buffer

    def _excluded_save_params(self) -> list[str]:
        # `checkpoint.dump` holds everything.
        ours = ["_rounds", "_overrides", "metrics", "ep_info_buffer", "ep_success_buffer"]
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

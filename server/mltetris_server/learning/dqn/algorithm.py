"""Stable-Baselines3's own DQN, on placements, as fast as its gradient step allows.

    dqn = CandidateDQN(seed=7)
    dqn.learn(200_000)
    dqn.player()          # plays without torch
    dqn.save("dqn.zip")   # loads with CandidateDQN.load, and with the stock DQN.load

One round of learning is a rollout (every training board makes `rollout_steps` placements) into a
replay memory, and `gradient_steps` times `DQN.train` as SB3 has it. docs/learning/dqn.md says what
is different and why.
"""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar, cast

import numpy as np
import torch as th
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import MaybeCallback
from stable_baselines3.common.utils import polyak_update, update_learning_rate

from mltetris_server.game.engine import Games
from mltetris_server.hyperparameters import DqnConfig
from mltetris_server.learning.afterstate_dqn import AfterstateDQN
from mltetris_server.learning.dqn.rounds import Rounds
from mltetris_server.learning.kernels import Network
from mltetris_server.learning.metrics import FinishedEpisode
from mltetris_server.learning.player import Player
from mltetris_server.learning.policy import network_views
from mltetris_server.learning.sb3 import count_episodes, nothing_played
from mltetris_server.learning.seeds import mixed

SelfDQN = TypeVar("SelfDQN", bound="CandidateDQN")

_DRAWS = 0xD09_0F_BA7C4E5
"""Tells the batches' random numbers from all others of the same seed."""


class CandidateDQN(AfterstateDQN[DqnConfig]):
    """SB3's DQN on placements; see `AfterstateDQN` for what it is made with and how it is used.

    `callback.on_step()` is called between gradient steps too.
    """

    config_class: ClassVar[Any] = DqnConfig

    @staticmethod
    def _dqn_arguments(config: DqnConfig) -> dict[str, Any]:
        return {
            "buffer_size": config.memory,
            "learning_starts": config.learning_starts,
            "gradient_steps": config.gradient_steps,
            "tau": config.target_tau,
            "target_update_interval": config.target_update,
        }

    @property
    def rounds(self) -> Rounds:
        """Where in learning it is; for checkpoints."""
        return self._rounds

    @property
    def games(self) -> Games:
        """The training boards; the same `Games` for as long as this object lives."""
        return self._rounds.games

    @property
    def acting(self) -> Network:
        """The network that acts, is shown, evaluated and saved as the policy: the target network;
        a view of torch's own memory."""
        return network_views(self.policy.q_net_target.parameters())

    @property
    def _round_began(self) -> int:
        return self.num_timesteps - self._rounds.position

    def player(self) -> Player:
        """The policy as it is now, greedy, free of torch and of this learner."""
        return Player(self.acting, self.features, self.config.fatal_value)

    def learn(
        self: SelfDQN,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 100,
        tb_log_name: str = "DQN",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> SelfDQN:
        """Learn for so many placements, or until a callback returns False.

        Args:
            total_timesteps: Placements over all boards; finished to the end of a rollout.
            callback: As everywhere in SB3.
            log_interval: Rounds between two logs.
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

    def _round(self, callback: BaseCallback) -> bool:
        """One round, or what is left of it; False where the callback ended it."""
        rounds = self._rounds
        if rounds.between:
            callback.on_rollout_start()
        self._current_progress_remaining = self._remaining
        if not rounds.rolled:
            network = self.acting
            while not rounds.rolled:
                self._roll(network, callback)
                if not callback.on_step():
                    return False
            callback.on_rollout_end()
        if self.num_timesteps >= self.config.learning_starts:
            nothing_played(callback)
            while True:
                self._step()
                if rounds.stepped:
                    break
                if not callback.on_step():
                    return False
        rounds.finish()
        return True

    def _roll(self, network: Network, callback: BaseCallback) -> None:
        """A stretch of placements, counted and made known."""
        rounds, metrics = self._rounds, self.metrics
        self.exploration_rate = self.exploration
        start, before = rounds.position, self.num_timesteps
        ended, dones = rounds.roll(network, self.exploration_rate, one_step=self.one_step)
        self.num_timesteps += rounds.position - start
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
        callback.update_locals({"dones": dones, "infos": infos, "self": self})

    def _step(self) -> None:
        """One gradient step, SB3's, and what follows it."""
        config = self.config
        self._rounds.memory.draw = np.uint64(mixed(self._draws + self._n_updates))
        self.train(1, config.batch_size)
        self._rounds.minibatch += 1
        self.metrics.add_loss(float(self.logger.name_to_value["train/loss"]), 1)
        if self._n_updates % config.target_update == 0:
            polyak_update(
                self.q_net.parameters(), self.q_net_target.parameters(), config.target_tau
            )

    def _update_learning_rate(
        self, optimizers: list[th.optim.Optimizer] | th.optim.Optimizer
    ) -> None:
        """SB3's, but for a rate that has been set."""
        for optimizer in optimizers if isinstance(optimizers, list) else [optimizers]:
            update_learning_rate(optimizer, self.current_learning_rate)

    def _begin(self) -> None:
        done = self.num_timesteps // (self.config.boards * self.config.rollout_steps)
        # Further on: not the pieces of the beginning once more.
        pieces = mixed(self.run_seed + self.num_timesteps) if done else self.run_seed
        self._draws = mixed(self.run_seed ^ _DRAWS)
        self._rounds = Rounds(self.description, self.run_seed, pieces, done)
        self.replay_buffer = cast(ReplayBuffer, self._rounds.memory)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_rounds"]

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

from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, ClassVar, TypeVar

import torch as th
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import MaybeCallback
from stable_baselines3.common.utils import update_learning_rate

from mltetris_server.game.engine import Games
from mltetris_server.hyperparameters import TdConfig
from mltetris_server.learning.afterstate_dqn import AfterstateDQN
from mltetris_server.learning.kernels import LAST
from mltetris_server.learning.metrics import FinishedEpisode
from mltetris_server.learning.player import Player
from mltetris_server.learning.sb3 import count_episodes, nothing_played
from mltetris_server.learning.seeds import mixed
from mltetris_server.learning.td.rounds import Rounds, gradient_steps

SelfTD = TypeVar("SelfTD", bound="TD")


class TD(AfterstateDQN[TdConfig]):
    """TD(lambda); see `AfterstateDQN` for what it is made with and how it is used.

    `callback.on_step()` is called within updates too, where they take long.
    """

    config_class: ClassVar[Any] = TdConfig

    @staticmethod
    def _dqn_arguments(config: TdConfig) -> dict[str, Any]:
        return {
            # For who loads the .zip with the stock DQN; TD has its own memory.
            "buffer_size": 10_000,
            "tau": 1 - config.average_decay,
            "gradient_steps": gradient_steps(config),
            "target_update_interval": config.rollout_steps,
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
    def _round_began(self) -> int:
        return self.num_timesteps - self._rounds.position

    def player(self) -> Player:
        """The policy as it is now, greedy, free of torch and of this learner."""
        return Player(self._rounds.average, self.features, self.config.fatal_value)

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
        with ExitStack() as stack:
            stack.callback(th.set_num_threads, th.get_num_threads())
            # More would cost more than they bring, and might add up in another order.
            th.set_num_threads(1)
            pool = None
            if self.threads > 1:
                pool = stack.enter_context(ThreadPoolExecutor(self.threads - 1, "td"))
            self._rounds.bind(self.policy)
            # What has been begun is finished first, so that one call learns the same as two.
            while self.num_timesteps < total or not self._rounds.between:
                if not self._round(callback, pool):
                    break
                if self._rounds.number % log_interval == 0:
                    self.dump_logs()
        callback.on_training_end()
        return self

    def descend(self, steps: int) -> float:
        """Gradient steps on what is in the window, whoever put it there.

        Args:
            steps: How many, at least 1; there must be something in it.

        Returns:
            The sum of their losses.
        """
        update_learning_rate(self.policy.optimizer, self.current_learning_rate)
        losses = self._rounds.descend(self._n_updates, steps)
        self._n_updates += steps
        return losses

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """Not how TD learns, which has no replay buffer: raises NotImplementedError."""
        raise NotImplementedError("TD learns in learn(), from rollouts of its own")

    def _round(self, callback: BaseCallback, pool: Executor | None) -> bool:
        """One round, or what is left of it; False where the callback ended it."""
        rounds = self._rounds
        if rounds.between:
            callback.on_rollout_start()
        self._current_progress_remaining = self._remaining
        while not rounds.rolled:
            self._roll(callback, pool)
            if not callback.on_step():
                return False
        nothing_played(callback)
        if rounds.minibatch == 0:
            callback.on_rollout_end()
            board = rounds.take_targets(0, pool)
            while board < self.config.boards:
                if not callback.on_step():
                    return False
                board = rounds.take_targets(board, pool)
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

    def _roll(self, callback: BaseCallback, pool: Executor | None) -> None:
        """A stretch of placements, counted and made known."""
        rounds, metrics = self._rounds, self.metrics
        self.exploration_rate = self.exploration
        start, before = rounds.position, self.num_timesteps
        ended = rounds.roll(self.exploration_rate, one_step=self.one_step, pool=pool)
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
        dones = (rounds.rollout.kinds[start : rounds.position] & LAST) != 0
        callback.update_locals({"dones": dones, "infos": infos, "self": self})

    def _begin(self) -> None:
        done = self.num_timesteps // (self.config.boards * self.config.rollout_steps)
        # Further on: not the pieces of the beginning once more.
        pieces = mixed(self.run_seed + self.num_timesteps) if done else self.run_seed
        self._rounds = Rounds(self.description, self.run_seed, pieces, done, self.threads)
        self._rounds.bind(self.policy)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_rounds"]

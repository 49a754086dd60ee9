"""What `dqn` remembers: a replay memory that keeps boards, not observations.

An observation of all placements is some 400 numbers, a board and a piece are 11: a transition is
kept as the board it began with and the features of the placement made, and what could have been
done next is looked at again when it is drawn.
"""

from __future__ import annotations

import numpy as np
import torch as th
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize

from mltetris_server.game.engine import Games, new_games
from mltetris_server.hyperparameters import DqnConfig
from mltetris_server.learning.dqn.kernels import Batch, Transitions, sample
from mltetris_server.learning.kernels import Rollout
from mltetris_server.learning.model import ModelDescription
from mltetris_server.learning.player import make_eye
from mltetris_server.learning.policy import FLAGS


class CandidateMemory:
    """The last steps of all boards, to draw batches from; a replay buffer to SB3's DQN.

    Args:
        description: What is learnt, and how.
        first: The step it begins with.

    Attributes:
        first: The first step it has known.
        steps: Steps of all boards that may be drawn from at most.
        draw: Decides what the next batch draws at random.
    """

    def __init__(self, description: ModelDescription, first: int) -> None:
        config = description.config
        assert isinstance(config, DqnConfig)
        self._config = config
        game, inputs = description.training_game, description.inputs
        self.first = first
        self.steps = config.memory // config.boards
        self.draw = np.uint64(0)
        # One more: the boards behind the last step.
        shape = (self.steps + 1, config.boards)
        self.transitions = Transitions(
            columns=np.zeros((*shape, game.width), np.int64),
            pieces=np.ones(shape, np.int64),
            features=np.zeros((*shape, inputs), np.float32),
            kinds=np.zeros(shape, np.uint8),
        )
        self._values = np.zeros(config.boards, np.float32)
        self._last = first
        self._desk = new_games(game, 1, seed=0)
        self._eye = make_eye(description.features, game.width, config.fatal_value)
        row, size = inputs + FLAGS, config.batch_size
        self._batch = Batch(
            observations=np.zeros((size, row), np.float32),
            next_observations=np.zeros((size, game.actions * row), np.float32),
            rewards=np.zeros((size, 1), np.float32),
            dones=np.zeros((size, 1), np.float32),
            discounts=np.zeros((size, 1), np.float32),
        )
        self._tensors = ReplayBufferSamples(
            observations=th.from_numpy(self._batch.observations),
            # Each observation holds one placement: that is the one made.
            actions=th.zeros((size, 1), dtype=th.int64),
            next_observations=th.from_numpy(self._batch.next_observations),
            dones=th.from_numpy(self._batch.dones),
            rewards=th.from_numpy(self._batch.rewards),
            discounts=th.from_numpy(self._batch.discounts),
        )

    @property
    def last(self) -> int:
        """One behind the last step that may be drawn from."""
        return self._last

    @property
    def oldest(self) -> int:
        """The oldest step there still is."""
        return max(self.first, self._last - self.steps)

    def see(self, games: Games, step: int, start: int, stop: int) -> None:
        """Remember boards start..stop-1 as they are before their placement of this step."""
        row = step % (self.steps + 1)
        self.transitions.columns[row, start:stop] = games.columns[start:stop]
        self.transitions.pieces[row, start:stop] = games.pieces[start:stop, 0]

    def slot(self, step: int) -> Rollout:
        """Where to write what becomes of the placements of this step."""
        row = step % (self.steps + 1)
        return Rollout(self.transitions.features[row], self._values, self.transitions.kinds[row])

    def complete(self, games: Games, last: int) -> None:
        """All steps before `last` are remembered; the boards behind them are as they are now."""
        self.see(games, last, 0, self._config.boards)
        self._last = last

    def chronological(self, step: int) -> Transitions:
        """A copy of what is remembered, from the oldest step to `step`, the one being made."""
        rows = np.arange(max(self.first, step - self.steps), step + 1) % (self.steps + 1)
        columns, pieces, features, kinds = self.transitions
        return Transitions(columns[rows], pieces[rows], features[rows], kinds[rows])

    def adopt(self, there: Transitions, step: int, *, complete: bool) -> None:
        """Take over what another memory held, as much as fits of the newest.

        Args:
            there: What its `chronological` returned.
            step: And for which step.
            complete: Whether the boards behind the last step are there, so that all before `step`
                may be drawn from.
        """
        count = min(there.kinds.shape[0], self.steps + 1)
        self.first = step + 1 - count
        rows = np.arange(self.first, step + 1) % (self.steps + 1)
        for name, mine in self.transitions._asdict().items():
            mine[rows] = getattr(there, name)[-count:]
        self._last = step if complete else self.first

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> ReplayBufferSamples:
        """A batch, drawn as `draw` says; the next one is written over it.

        Args:
            batch_size: The configuration's.
            env: Not used: nothing here is normalized.

        Raises:
            ValueError: the batch size is another.
        """
        batch, config = self._batch, self._config
        if batch_size != config.batch_size:
            raise ValueError(f"batches are of {config.batch_size}, not {batch_size}")
        sample(
            self.transitions,
            self.oldest,
            self._last,
            self._desk,
            self._eye,
            config.gamma,
            config.n_steps,
            self.draw,
            batch,
        )
        return self._tensors

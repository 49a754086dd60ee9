"""The rollout that MaskablePPO's `train()` learns from, in our compact form.

Stable-Baselines3 keeps a whole observation a placement: 4 W rows, most of them zeros. Here only
the candidates' rows are kept, those of all samples behind each other, and a minibatch is handed
out in the same way: `observations` are the rows of its samples' candidates, `action_masks` says
which placements they are.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from numpy.typing import NDArray
from sb3_contrib.common.maskable.buffers import (
    MaskableRolloutBuffer,
    MaskableRolloutBufferSamples,
)

from mltetris_server.learning.ppo.kernels import Rollout

Minibatch = MaskableRolloutBufferSamples


class CandidateBuffer(MaskableRolloutBuffer):
    """A `MaskableRolloutBuffer` that knows where in an update it is.

    Its returns and advantages are SB3's own (`compute_returns_and_advantage`).

    Args:
        steps: Placements of each board in a rollout.
        boards: How many boards.
        inputs: Features of a placement.
        observation_space, action_space: Those of `mltetris/Placement-v0`.
        gamma: Discount.
        gae_lambda: Mix of one-step and longer advantages.

    Attributes:
        rollout: What the compiled kernels fill.
        position: Samples of the rollout that are made.
        epoch: Passes over it that are made.
        minibatch: Minibatches of the next pass that are made.
        shuffle: Decides the order of the samples in this update's passes.
        before: Called before each minibatch; where it raises, the pass can be gone on with.
        after: Called with each minibatch that has been learnt from.
    """

    def __init__(
        self,
        steps: int,
        boards: int,
        inputs: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Discrete,
        gamma: float,
        gae_lambda: float,
    ) -> None:
        actions = int(action_space.n)
        # Of four rotations, two fit W - 2 columns and two W - 1.
        most = steps * boards * (actions - 6)
        samples = steps * boards
        self.rollout = Rollout(
            rows=np.zeros((most, inputs), np.float32),
            actions=np.zeros(most, np.uint8),
            ends=np.zeros(samples + 1, np.int64),
            picks=np.zeros(samples, np.int64),
            log_probs=np.zeros(samples, np.float32),
            values=np.zeros(samples + boards, np.float32),
            dones=np.zeros(samples, np.float32),
        )
        self.position = 0
        self.epoch = 0
        self.minibatch = 0
        self.shuffle = 0
        self.mask_dims = actions
        self.before: Callable[[], None] = lambda: None
        self.after: Callable[[Minibatch], None] = lambda batch: None
        super().__init__(
            steps, observation_space, action_space, "cpu", gae_lambda, gamma, n_envs=boards
        )

    def reset(self) -> None:
        """Begin a rollout."""
        shape = (self.buffer_size, self.n_envs)
        self.rewards = np.zeros(shape, np.float32)
        self.advantages = np.zeros(shape, np.float32)
        self.returns = np.zeros(shape, np.float32)
        self.episode_starts = np.zeros(shape, np.float32)
        self.values = self.rollout.values[: self.samples].reshape(shape)
        self.log_probs = self.rollout.log_probs.reshape(shape)
        self.pos, self.full = 0, False
        self.position = self.epoch = self.minibatch = 0

    def add(self, *args: Any, **kwargs: Any) -> None:
        """Not how it is filled: raises NotImplementedError."""
        raise NotImplementedError("the compiled kernels fill the rollout")

    @property
    def samples(self) -> int:
        """Samples of a whole rollout."""
        return self.buffer_size * self.n_envs

    @property
    def begun(self) -> bool:
        """Whether the update on this rollout has begun."""
        return self.epoch > 0 or self.minibatch > 0

    def estimate(self, death_reward: float) -> None:
        """Work out returns and advantages of a whole rollout.

        Args:
            death_reward: Reward where the game was over; else it is 0.
        """
        dones = self.rollout.dones.reshape(self.rewards.shape)
        np.multiply(dones, np.float32(death_reward), out=self.rewards)
        self.episode_starts[1:] = dones[:-1]
        reached = th.from_numpy(self.rollout.values[self.samples :])
        self.compute_returns_and_advantage(reached, dones[-1])

    def usable(self) -> NDArray[np.int64]:
        """The samples in which there was something to choose, int64[any]."""
        return np.flatnonzero(np.diff(self.rollout.ends)).astype(np.int64)

    def parts(self, batch_size: int) -> int:
        """Minibatches of one pass: as even as can be, of at most `batch_size`, at least 2.

        (`train()` divides by the advantages' standard deviation, which one sample has not.) At
        most one more than `batch_size` where that is 2.
        """
        usable = self.usable().size
        return min(-(-usable // batch_size), usable // 2)

    def get(  # type: ignore[override]  # as in sb3-contrib: masks are handed out too
        self, batch_size: int | None = None
    ) -> Generator[Minibatch, None, None]:
        """What is left of the pass that it is in, minibatch by minibatch.

        Args:
            batch_size: Samples of a minibatch at most; None: all.
        """
        assert self.position == self.samples, "the rollout is not complete"
        usable = self.usable()
        order = np.random.default_rng([self.shuffle, self.epoch]).permutation(usable)
        batches = np.array_split(order, self.parts(batch_size or usable.size))
        while self.minibatch < len(batches):
            self.before()
            batch = self._minibatch(batches[self.minibatch])
            yield batch
            self.after(batch)
            self.minibatch += 1
        self.epoch, self.minibatch = self.epoch + 1, 0

    def _minibatch(self, chosen: NDArray[np.int64]) -> Minibatch:
        """The samples `chosen`, with the rows of their candidates."""
        rollout = self.rollout
        begin, counts = rollout.ends[chosen], np.diff(rollout.ends)[chosen]
        # Where each sample's rows begin among the minibatch's.
        starts = np.cumsum(counts) - counts
        rows = np.arange(counts.sum()) + np.repeat(begin - starts, counts)
        actions = rollout.actions[rows]
        masks = np.zeros((chosen.size, self.mask_dims), np.bool_)
        masks[np.repeat(np.arange(chosen.size), counts), actions] = True
        taken = actions[starts + rollout.picks[chosen]].astype(np.int64)
        return Minibatch(
            observations=th.from_numpy(rollout.rows[rows]),
            actions=th.from_numpy(taken),
            old_values=th.from_numpy(rollout.values[chosen]),
            old_log_prob=th.from_numpy(rollout.log_probs[chosen]),
            advantages=th.from_numpy(self.advantages.reshape(-1)[chosen]),
            returns=th.from_numpy(self.returns.reshape(-1)[chosen]),
            action_masks=th.from_numpy(masks),
        )

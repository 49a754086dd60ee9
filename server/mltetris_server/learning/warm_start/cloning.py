"""Behaviour cloning: the policy learns to make the placements that somebody else made.

Pomerleau (1989), "ALVINN: An Autonomous Land Vehicle in a Neural Network", NIPS 1; Bain and Sammut
(1995), "A Framework for Behavioural Cloning", Machine Intelligence 15. The network's outputs for
the candidates of a state are logits, and the loss is the cross entropy of the one that was made:
McFadden's (1974) conditional logit, which reads as many candidates as there are.
"""

from __future__ import annotations

import numpy as np
import torch as th
from numpy.typing import NDArray
from torch import nn

from mltetris_server.game.config import FeatureSet, GameConfig
from mltetris_server.hyperparameters import DqnConfig, TdConfig
from mltetris_server.learning.agent import Agent
from mltetris_server.learning.kernels import Network
from mltetris_server.learning.policy import network_parts, network_views
from mltetris_server.learning.seeds import mixed
from mltetris_server.learning.warm_start.examples import Block
from mltetris_server.learning.warm_start.imitation import imitation
from mltetris_server.learning.warm_start.kernels import Examples, Tape
from mltetris_server.learning.warm_start.values import (
    SAMPLE,
    first_states,
    network_values,
    table_values,
)

BATCH = 128
"""States of a gradient step."""
PIECE_SECONDS = 0.002
_LAST_RATE = 0.1
"""Share of the learning rate left at the end; it falls linearly."""
_ORDER = 0xC10_11E5
"""Tells the order of the states from all other random numbers of the same seed."""


class Cloning:
    """Cloning for any agent whose policy scores candidates one by one; see `WarmStart`.

    Args:
        agent: Who learns.
        game: What was played.
        tape: What is learnt from.
        epochs: Passes over it.
        learning_rate: Adam's first step size.
    """

    def __init__(
        self, agent: Agent, game: GameConfig, tape: Tape, epochs: int, learning_rate: float
    ) -> None:
        self.epoch, self.epochs = 1, epochs
        self.placements = int(tape.pieces.size)
        self._agent = agent
        self._rate = learning_rate
        description = agent.description
        self._block = Block(game, description.features, tape)
        network = agent.player().network
        self._parameters = [nn.Parameter(th.from_numpy(part)) for part in network_parts(network)]
        self._network = network_views(self._parameters)
        self._optimizer = th.optim.Adam(self._parameters, learning_rate, fused=True)
        self._imitation = imitation(description.features, self._network, game)
        for parameter, slopes in zip(
            self._parameters, network_parts(self._imitation.slopes), strict=True
        ):
            parameter.grad = th.from_numpy(slopes)
        step = 1e-4 + BATCH * self._imitation.state_seconds
        self._steps_a_piece = max(1, int(PIECE_SECONDS / step))
        self._sample: Examples | None = None
        self._order: NDArray[np.int64] | None = None
        self._position = 0
        self._figures = np.zeros(2)
        self._states = 0

    @property
    def done(self) -> bool:
        """See `WarmStart`."""
        return self.epoch > self.epochs

    def advance(self) -> None:
        """See `WarmStart`."""
        block = self._block
        if self.done:
            return
        if not block.whole:
            block.collect()
            return
        if self._order is None:
            key = mixed(self._agent.run_seed ^ _ORDER)
            numbers = np.random.default_rng([key, self.epoch, block.number])
            self._order = numbers.permutation(block.count)
            self._position = 0
            if self._sample is None:
                self._sample = first_states(block.examples, min(block.count, SAMPLE))
        threads = th.get_num_threads()
        # More would cost more than they bring: the networks are small.
        th.set_num_threads(1)
        try:
            for _ in range(self._steps_a_piece):
                if self._position == block.count:
                    break
                self._step(self._order)
        finally:
            th.set_num_threads(threads)
        if self._position < block.count:
            return
        self._order = None
        if block.last:
            self.epoch += 1
        if not self.done:
            block.turn()

    def settle(self) -> None:
        """See `WarmStart`."""
        if self._sample is None:
            return
        network = self.network
        description = self._agent.description
        config = description.config
        if isinstance(config, TdConfig | DqnConfig):
            convert = table_values if description.features is FeatureSet.BOARD else network_values
            network = convert(network, self._sample, config.death_reward)
        self._agent.play_as(network)

    @property
    def network(self) -> Network:
        """What has been learnt so far: outputs are logits."""
        return Network(*(part.copy() for part in self._network))

    def take_figures(self) -> tuple[float | None, float | None]:
        """See `WarmStart`."""
        if not self._states:
            return None, None
        loss, hits = (float(figure) / self._states for figure in self._figures)
        self._figures[:] = 0.0
        self._states = 0
        return loss, hits

    def _step(self, order: NDArray[np.int64]) -> None:
        batch = order[self._position : self._position + BATCH]
        self._imitation.take(self._block.examples, batch, self._figures)
        self._position += batch.size
        self._states += batch.size
        self._optimizer.param_groups[0]["lr"] = self._rate * (1 - (1 - _LAST_RATE) * self._spent)
        self._optimizer.step()

    @property
    def _spent(self) -> float:
        """Share of the warm start that is over, about."""
        block = self._block
        return min(1.0, (self.epoch - 1 + block.share * self._position / block.count) / self.epochs)

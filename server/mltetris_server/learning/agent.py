"""A learner, as those see it who run, show, examine and keep it, whichever algorithm it is."""

from __future__ import annotations

from io import BufferedIOBase
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.type_aliases import MaybeCallback

from mltetris_server.game.engine import Games
from mltetris_server.learning.kernels import Network
from mltetris_server.learning.metrics import TrainingMetrics
from mltetris_server.learning.model import ModelDescription
from mltetris_server.learning.player import Player

Tensors = dict[str, NDArray[np.generic]]
"""Arrays by the names they have in a file."""


class Agent(Protocol):
    """A Stable-Baselines3 algorithm that learns Tetris on compiled boards.

    It calls `callback.on_step()` every few milliseconds; there it may be held, steered, written
    down, or ended. Everything random follows from the seed and from counters.

    Attributes:
        run_seed: Its seed.
        num_timesteps: Placements learnt from, over all boards and its whole lineage.
        metrics: Its running figures.
        one_step: Whether it is to call back after each step of all boards.
    """

    run_seed: int
    num_timesteps: int
    metrics: TrainingMetrics
    one_step: bool

    @property
    def description(self) -> ModelDescription:
        """What the model is."""

    @property
    def games(self) -> Games:
        """The boards it trains on."""

    @property
    def exploration(self) -> float | None:
        """Probability of a random placement now; None: it has none."""

    @property
    def current_learning_rate(self) -> float | None:
        """Learning rate now; None: it has none."""

    def set_exploration(self, value: float | None) -> None:
        """Explore so much from now on, 0..1; None: by the schedule."""

    def set_learning_rate(self, value: float | None) -> None:
        """Learn at this rate from now on, above 0 to 1; None: by the schedule."""

    def player(self) -> Player:
        """The policy as it is now, greedy, free of this learner."""

    def play_as(self, network: Network) -> None:
        """Begin with the weights of this policy."""

    def begin_at(self, placements: int) -> None:
        """Begin with everything else fresh, but at this count."""

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 100,
        *,
        reset_num_timesteps: bool = True,
    ) -> Any:
        """Learn for so many placements, or until a callback returns False."""

    def save(self, path: BufferedIOBase) -> None:
        """Write it as an SB3 .zip."""


class TrainingState(Protocol):
    """What `training.safetensors` of one algorithm holds, checked.

    Attributes:
        seed: The learner's.
    """

    seed: int

    def give_to(self, agent: Any, before: ModelDescription, now: ModelDescription) -> None:
        """Set a fresh learner, which plays as the checkpoint does, to go on from here.

        Exactly where nothing has changed between `before` and `now`; otherwise everything is kept
        that still has a meaning.

        Raises:
            CheckpointError: the file holds something that cannot be.
        """

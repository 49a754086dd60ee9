"""Small learners and made-up networks."""

from __future__ import annotations

import numpy as np
from mltetris_server.hyperparameters import TdConfig
from mltetris_server.learning.kernels import Network
from mltetris_server.learning.td import TD

SMALL = TdConfig(boards=4, rollout_steps=8, batch_size=16, epochs=2, window=3, hidden_units=6)


def small_td(seed: int = 1, **arguments) -> TD:
    return TD(**{"config": SMALL, "seed": seed, **arguments})


def random_network(inputs: int, hidden: int, seed: int = 0) -> Network:
    random = np.random.default_rng(seed)
    shapes = ((hidden, inputs), (hidden,), (hidden,), (1,))
    return Network(*(random.normal(size=shape).astype(np.float32) for shape in shapes))

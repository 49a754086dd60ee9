"""Models of no merit, made in a moment."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from mltetris_server.game.config import FeatureSet, GameConfig
from mltetris_server.hyperparameters import TdConfig
from mltetris_server.learning import reference
from mltetris_server.learning.kernels import Network
from mltetris_server.learning.model import POLICY_FILE, ModelDescription, dump_network
from worker.fake_server import FakeServer


def a_model(
    seed: int, features: FeatureSet = FeatureSet.BCTS, game: GameConfig | None = None
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """A model with random weights."""
    description = ModelDescription(features, game or GameConfig(), TdConfig())
    random = np.random.default_rng(seed)
    inputs, hidden = description.inputs, description.config.hidden_units
    network = Network(
        *(
            random.normal(size=shape).astype(np.float32)
            for shape in ((hidden, inputs), (hidden,), (hidden,), (1,))
        )
    )
    return description.to_dict(), {POLICY_FILE: dump_network(network)}


def keep_model(server: FakeServer, slot: str, seed: int, **what: Any) -> None:
    """Puts such a model into a slot."""
    model, files = a_model(seed, **what)
    server.keep_slot(slot, json.dumps(model), files)


def keep_reference(server: FakeServer, *names: str) -> None:
    """Puts reference players into slots of their names."""
    for name in names:
        folder = reference.FOLDER / name
        model = json.loads((folder / "manifest.json").read_bytes())["model"]
        policy = (folder / POLICY_FILE).read_bytes()
        server.keep_slot(name, json.dumps(model), {POLICY_FILE: policy})

"""Models of no merit that can be asked, and boards to ask them about."""

from __future__ import annotations

from typing import Any

import numpy as np
from mltetris_api.v1.board_pb2 import Piece
from mltetris_api.v1.policy_pb2 import Position
from mltetris_api.v1.run_pb2 import Rule
from mltetris_server.game.config import FeatureSet, GameConfig
from mltetris_server.hyperparameters import TdConfig
from mltetris_server.learning.kernels import Network
from mltetris_server.learning.model import POLICY_FILE, ModelDescription, dump_network
from mltetris_server.learning.tables import EDGE
from mltetris_server.storage import bundle
from mltetris_server.storage.checkpoints import Checkpoint


def a_model(
    seed: int, features: FeatureSet = FeatureSet.BCTS, game: GameConfig | None = None
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """A model with random weights: its description and its files."""
    description = ModelDescription(features, game or GameConfig(), TdConfig())
    random = np.random.default_rng(seed)
    inputs, outputs = description.inputs, description.outputs
    units = description.hidden[0] if description.hidden else 0
    network = Network(
        *(
            random.normal(size=shape).astype(np.float32)
            for shape in ((units, inputs), (units,), (outputs,), (1,))
        )
    )
    if features is FeatureSet.BOARD:
        network.output_weights[[0, EDGE]] = 0
    return description.to_dict(), {POLICY_FILE: dump_network(network)}


def a_bundle(seed: int, features: FeatureSet = FeatureSet.BCTS, width: int = 10) -> bytes:
    """Such a model as a slot to import."""
    model, files = a_model(seed, features, GameConfig(width))
    return bundle.pack(Checkpoint.create(model=model, files=files, placements=seed))


def sha256_of(data: bytes) -> str:
    """The fingerprint of a bundle's model."""
    return bundle.unpack(data).sha256


def a_position(
    random: np.random.Generator,
    *,
    width: int | None = None,
    height: int | None = None,
    rule: Rule.ValueType | None = None,
) -> Position:
    """A board that can be, from nearly empty to full of holes up to its top."""
    width = width or int(random.integers(4, 33))
    height = height or int(random.integers(4, 41))
    filled = random.random((height, width)) < random.random()
    filled[: int(random.integers(0, height + 1))] = False
    # No row is full.
    filled[np.arange(height), random.integers(0, width, height)] = False
    colours = random.integers(1, 8, (height, width))
    return Position(
        width=width,
        height=height,
        cells=np.where(filled, colours, 0).astype(np.uint8).tobytes(),
        piece=Piece.ValueType(int(random.integers(1, 8))),
        rule=rule or Rule.ValueType(int(random.integers(1, 3))),
    )

"""A slot's bundle as a Stable-Baselines3 .zip."""

from __future__ import annotations

import io

from mltetris_server.learning.bundle import read_bundle
from mltetris_server.learning.checkpoint import load
from mltetris_server.learning.model import CheckpointError


def export_sb3(bundle: bytes) -> bytes:
    """The .zip that the algorithm's class and, where this package is importable, for `td` and `dqn`
    also the stock `DQN.load` read.

    Args:
        bundle: A SLOT bundle, as ExportSlot writes it.

    Raises:
        CheckpointError: the bundle is not what it should be.
    """
    manifest, files = read_bundle(bundle)
    placements = manifest.get("placements", 0)
    if isinstance(placements, bool) or not isinstance(placements, int):
        raise CheckpointError("manifest.json: placements", "must be a whole number")
    agent = load(manifest["model"], files, placements=placements)
    target = io.BytesIO()
    agent.save(target)
    return target.getvalue()

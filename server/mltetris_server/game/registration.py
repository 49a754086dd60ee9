"""Importing this module makes `mltetris/Placement-v0` known to Gymnasium.

Either of these gives the environment:

    import mltetris_server.game.registration
    gymnasium.make("mltetris/Placement-v0")

    gymnasium.make("mltetris_server.game.registration:mltetris/Placement-v0")
"""

from __future__ import annotations

import gymnasium

PLACEMENT_ENV = "mltetris/Placement-v0"


def register() -> None:
    """Register `mltetris/Placement-v0` unless it is; importing this module has done it."""
    if PLACEMENT_ENV not in gymnasium.registry:
        gymnasium.register(
            id=PLACEMENT_ENV, entry_point="mltetris_server.game.environments:PlacementEnv"
        )


register()

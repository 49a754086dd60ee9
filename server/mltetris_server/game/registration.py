"""Importing this module makes this project's environments known to Gymnasium.

Either of these gives `mltetris/Placement-v0`, and likewise `mltetris/Keys-v0`:

    import mltetris_server.game.registration
    gymnasium.make("mltetris/Placement-v0")

    gymnasium.make("mltetris_server.game.registration:mltetris/Placement-v0")
"""

from __future__ import annotations

import gymnasium

PLACEMENT_ENV = "mltetris/Placement-v0"
KEYS_ENV = "mltetris/Keys-v0"

# As text, so that registering compiles nothing and imports no numba.
_ENTRY_POINTS = {
    PLACEMENT_ENV: "mltetris_server.game.environments:PlacementEnv",
    KEYS_ENV: "mltetris_server.game.keys_environment:KeysEnv",
}


def register() -> None:
    """Register what is not registered yet; importing this module has done it."""
    for name, entry_point in _ENTRY_POINTS.items():
        if name not in gymnasium.registry:
            gymnasium.register(id=name, entry_point=entry_point)


register()

"""Numbers that look random, from others."""

from __future__ import annotations

import numpy as np

from mltetris_server.game.config import MAX_SEED
from mltetris_server.game.engine import mix


def mixed(number: int) -> int:
    """A number of 64 bits that looks random, from another: SplitMix64's mixer."""
    return int(mix(np.uint64(number & MAX_SEED)))

"""What a warm start's spec leaves open."""

from __future__ import annotations

from mltetris_api.v1.run_pb2 import WarmStart, WarmStartMethod

from mltetris_server.learning.warm_start import CLONING, REPLAY

EPOCHS = 3
MAX_PLACEMENTS = 10_000
LEARNING_RATE = 0.01

_WORDS = {
    WarmStartMethod.WARM_START_METHOD_CLONING: CLONING,
    WarmStartMethod.WARM_START_METHOD_REPLAY: REPLAY,
}


def plan_warm_start(asked: WarmStart) -> WarmStart:
    """The same with every default filled in."""
    planned = WarmStart()
    planned.CopyFrom(asked)
    planned.method = asked.method or WarmStartMethod.WARM_START_METHOD_CLONING
    if not asked.HasField("epochs"):
        planned.epochs = EPOCHS
    if not asked.HasField("max_placements"):
        planned.max_placements = MAX_PLACEMENTS
    if not asked.HasField("learning_rate"):
        planned.learning_rate = LEARNING_RATE
    return planned


def method_word(planned: WarmStart) -> str:
    """The method as `learning` calls it."""
    return _WORDS[planned.method]

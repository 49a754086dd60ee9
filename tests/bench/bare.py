"""`learn()` called in a script, as the thing a run of the service is compared with.

    python -m bench.bare SEED WARM_UP PLACEMENTS

Prints placements a second between WARM_UP and WARM_UP + PLACEMENTS, by the clock on the wall, as a
run's metrics count them.
"""

from __future__ import annotations

import sys
import time

import torch
from mltetris_server.learning.td import TD
from stable_baselines3.common.callbacks import BaseCallback


class Stopwatch(BaseCallback):
    """Notes when the warm-up was over."""

    def __init__(self, warm_up: int) -> None:
        super().__init__()
        self._warm_up = warm_up
        self.begin: tuple[float, int] | None = None

    def _on_step(self) -> bool:
        if self.begin is None and self.num_timesteps >= self._warm_up:
            self.begin = (time.perf_counter(), self.num_timesteps)
        return True


def main() -> None:
    """Learn, and print the rate."""
    seed, warm_up, placements = (int(argument) for argument in sys.argv[1:])
    torch.set_num_threads(1)  # as a worker does
    td = TD(seed=seed)
    stopwatch = Stopwatch(warm_up)
    td.learn(warm_up + placements, callback=stopwatch)
    assert stopwatch.begin is not None
    begin, made = stopwatch.begin
    print((td.num_timesteps - made) / (time.perf_counter() - begin))


if __name__ == "__main__":
    main()

"""A slow start: an agent learns so fast that nobody would see it get better."""

from __future__ import annotations

from mltetris_api.v1 import run_pb2

from mltetris_cli.live import figures
from mltetris_cli.live.follower import Follower
from mltetris_cli.live.steering import Steering

# Placements a second to learn from, and for how many seconds. After the last step the training
# goes on at full speed. An agent plays well after about 5,000 placements, so that most of the
# steps show something new.
STEPS: tuple[tuple[float, float], ...] = ((200.0, 6.0), (500.0, 6.0), (1000.0, 6.0))


class Ramp:
    """Lets a training learn faster and faster, then lets it go.

    The run must have been started with the first step's rate.
    """

    def __init__(self, steering: Steering, follower: Follower) -> None:
        self._steering = steering
        self._follower = follower
        self._step = -1
        self._until = 0.0
        self._ended = False

    @property
    def words(self) -> str:
        """What the viewer should know; empty when it is over."""
        if self._ended or self._step < 0:
            return ""
        rate = figures.short(STEPS[self._step][0])
        return f"slowly at first: it learns from {rate} placements/s · f full speed"

    def step(self, now: float) -> None:
        """Goes on to the next step when the present one is over."""
        if self._ended or self._follower.run.state != run_pb2.RUN_STATE_RUNNING:
            return
        if self._step < 0:
            self._step, self._until = 0, now + STEPS[0][1]
        elif now >= self._until:
            self._step += 1
            if self._step == len(STEPS):
                self._ended = True
                self._steering.set_training_rate(0.0)
                return
            rate, seconds = STEPS[self._step]
            self._until = now + seconds
            self._steering.set_training_rate(rate)

    def end(self) -> None:
        """Leaves the rate to the viewer."""
        self._ended = True

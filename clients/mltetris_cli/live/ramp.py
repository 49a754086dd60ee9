"""A slow start: an agent learns so fast that nobody would see its first moves."""

from __future__ import annotations

from mltetris_api.v1 import run_pb2

from mltetris_cli.live.follower import Follower
from mltetris_cli.live.steering import Steering

# Placements a second of the watched board, and for how many seconds. After the last step the
# training goes on at full speed.
STEPS: tuple[tuple[float, float], ...] = ((10.0, 5.0), (30.0, 4.0), (100.0, 4.0))


class Ramp:
    """Shows the training itself, faster and faster, then lets it go.

    The run must have been started with the first step's pace, in visual mode and training view.
    Any key of the viewer ends it early.
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
        pace = STEPS[self._step][0]
        first = "its first moves, slowly" if self._step == 0 else "faster"
        return f"{first}: {pace:.0f} placements/s on each board · any key: full speed"

    def step(self, now: float) -> None:
        """Goes on to the next step when the present one is over."""
        if self._ended or self._follower.run.state != run_pb2.RUN_STATE_RUNNING:
            return
        if self._step < 0:
            self._step, self._until = 0, now + STEPS[0][1]
        elif now >= self._until:
            self._step += 1
            if self._step == len(STEPS):
                self.end()
                return
            pace, seconds = STEPS[self._step]
            self._until = now + seconds
            self._steering.set_pace(pace)

    def end(self) -> None:
        """From now on at full speed, with the policy's own game to watch."""
        if not self._ended:
            self._ended = True
            self._steering.full_speed()

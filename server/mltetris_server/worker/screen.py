"""Frames on their way to watchers: as often as somebody wants one, and no oftener."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

from mltetris_api.v1.board_pb2 import BoardFrame
from mltetris_api.worker.v1.worker_pb2 import Frames

from mltetris_server.worker.clocks import Pace
from mltetris_server.worker.metrics import timestamp
from mltetris_server.worker.steering import Steering


class Projector(Protocol):
    """The part of the link that frames go through."""

    def show(self, frames: Frames) -> None:
        """Shows the newest frames."""


class Screen:
    """Decides when frames are to be made, numbers them and sends them."""

    def __init__(self, link: Projector, steering: Steering) -> None:
        self._link = link
        self._steering = steering
        self._pace = Pace()
        self._sequence = 0
        self._news = False

    @property
    def watched(self) -> bool:
        """Whether anybody watches."""
        return self._steering.max_fps > 0

    def changed(self) -> None:
        """The boards look different now."""
        self._news = True

    @property
    def due(self) -> float | None:
        """When the next frame is to be made, on the monotonic clock; None: not before a change."""
        if not self.watched:
            return None
        if self._steering.frame_owed:
            return 0.0
        return self._pace.due(self._steering.max_fps) if self._news else None

    @property
    def wants(self) -> bool:
        """Whether a frame is to be made now."""
        due = self.due
        return due is not None and due <= time.monotonic()

    def send(self, frames: Sequence[BoardFrame]) -> None:
        """Sends the boards as they are now."""
        now = timestamp()
        for frame in frames:
            self._sequence += 1
            frame.sequence = self._sequence
            frame.sample_time.CopyFrom(now)
        self._link.show(Frames(frames=frames))
        self._news = False
        self._steering.frame_owed = False
        self._pace.happened(self._steering.max_fps)

"""What `td` remembers: a window of past rollouts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Window:
    """The last rollouts' afterstates and what they were worth: a ring of equal slots.

    Attributes:
        features: float32[slots * samples, F]; the first `size` rows are in use.
        targets: float32[slots * samples]; NaN where there is nothing to learn.
        filled: Slots in use.
        cursor: The slot to be written next.
    """

    def __init__(self, slots: int, samples: int, inputs: int) -> None:
        self.features = np.zeros((slots * samples, inputs), np.float32)
        self.targets = np.zeros(slots * samples, np.float32)
        self.filled = 0
        self.cursor = 0
        self._slots, self._samples = slots, samples

    @property
    def size(self) -> int:
        """Samples in use."""
        return self.filled * self._samples

    def slot(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Features and targets of the slot to be written next, as views."""
        start = self.cursor * self._samples
        return (
            self.features[start : start + self._samples],
            self.targets[start : start + self._samples],
        )

    def advance(self) -> None:
        """The slot has been written: the next one comes."""
        self.filled = min(self.filled + 1, self._slots)
        self.cursor = (self.cursor + 1) % self._slots

    def restore(
        self, features: NDArray[np.float32], targets: NDArray[np.float32], cursor: int
    ) -> None:
        """Take over what another window of the same shape held: its `size` rows and its cursor."""
        self.filled, self.cursor = targets.size // self._samples, cursor
        self.features[: self.size], self.targets[: self.size] = features, targets

    def adopt(
        self, features: NDArray[np.float32], targets: NDArray[np.float32], oldest: int
    ) -> None:
        """Take over what fits of a window of another shape, the newest samples first.

        Args:
            features: Its rows in use.
            targets: Likewise.
            oldest: Its oldest row.
        """
        slots = min(targets.size // self._samples, self._slots)
        kept = slots * self._samples
        order = np.roll(np.arange(targets.size), -oldest)[targets.size - kept :]
        self.restore(features[order], targets[order], slots % self._slots)

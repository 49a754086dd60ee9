"""Where the link leaves what the server said, and the run's thread finds it."""

from __future__ import annotations

import threading
import time
from collections import deque

from mltetris_api.worker.v1.worker_pb2 import AttachResponse


class Mailbox:
    """Messages for the run's thread.

    The run's thread looks at `pending` as often as it likes (it is a plain
    attribute), takes what is there with `take`, and where it has nothing else
    to do it waits with `wait`, which ends as soon as something comes.
    """

    def __init__(self) -> None:
        # Reentrant: a signal's handler may put while the same thread is inside `wait`.
        self._changed = threading.Condition(threading.RLock())
        self._messages: deque[AttachResponse] = deque()
        self._left = False
        self.pending = False
        """Whether there is something to take, or the server is gone."""

    @property
    def left(self) -> bool:
        """Whether the server is gone: nothing will come any more, and nobody listens."""
        return self._left

    def put(self, message: AttachResponse) -> None:
        """Leaves a message. Any thread."""
        with self._changed:
            self._messages.append(message)
            self.pending = True
            self._changed.notify_all()

    def leave(self) -> None:
        """Says that the server is gone. Any thread."""
        with self._changed:
            self._left = True
            self.pending = True
            self._changed.notify_all()

    def take(self) -> list[AttachResponse]:
        """Everything left since the last time, oldest first. The run's thread."""
        with self._changed:
            messages = list(self._messages)
            self._messages.clear()
            self.pending = self._left
            return messages

    def wait(self, until: float | None = None) -> None:
        """Waits until something is pending, or until `until` on the monotonic clock."""
        with self._changed:
            timeout = None if until is None else max(0.0, until - time.monotonic())
            self._changed.wait_for(lambda: self.pending, timeout)

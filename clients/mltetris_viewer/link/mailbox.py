"""Where the threads leave what they learn, and the window picks it up."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from mltetris_api.v1 import run_pb2

from mltetris_viewer.model.events import Event, FramesArrived, PointsArrived

#: Metric points handed over at once: a long history must not hold up the window.
MOST_POINTS = 2000


class Mailbox:
    """Events from any number of threads to one reader.

    Of boards only the newest frames are kept; metric points of a run become one
    event. Everything else comes out in the order in which it came in.
    """

    def __init__(self, wake: Callable[[], None] = lambda: None) -> None:
        """`wake` is called, from the thread that puts, when there is something in an empty box."""
        self._wake = wake
        self._lock = threading.Lock()
        self._events: deque[Event] = deque()
        self._frames: dict[str, FramesArrived] = {}
        self._points: dict[str, list[run_pb2.MetricPoint]] = {}
        self._caught_up: dict[str, bool] = {}

    def put(self, event: Event) -> None:
        """Leaves an event."""
        with self._lock:
            was_empty = self._empty()
            if isinstance(event, FramesArrived):
                self._frames[event.run] = event
            elif isinstance(event, PointsArrived):
                self._points.setdefault(event.run, []).extend(event.points)
                self._caught_up[event.run] = event.caught_up
            else:
                self._events.append(event)
        if was_empty:
            self._wake()

    def take(self) -> list[Event]:
        """What there is; of a long history of metrics only a part, and the rest the next time."""
        with self._lock:
            taken: list[Event] = list(self._events)
            self._events.clear()
            for run, points in list(self._points.items()):
                now, later = points[:MOST_POINTS], points[MOST_POINTS:]
                taken.append(PointsArrived(run, now, self._caught_up[run] and not later))
                if later:
                    self._points[run] = later
                else:
                    del self._points[run]
            taken.extend(self._frames.values())
            self._frames.clear()
            left = bool(self._points)
        if left:
            self._wake()
        return taken

    def _empty(self) -> bool:
        return not (self._events or self._frames or self._points)

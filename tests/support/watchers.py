"""Watchers through the SDK, each on a thread of its own, over any number of breaks."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from mltetris_api.v1 import run_pb2
from mltetris_client import Trainer


class MetricWatcher:
    """Every metric point of one run that its watcher was given: `points`."""

    def __init__(self, trainer: Trainer, run: str) -> None:
        self.points: list[run_pb2.MetricPoint] = []
        self._stream = trainer.stream_metrics(run)
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        for point in self._stream:
            self.points.append(point)

    def ended(self, timeout: float) -> list[run_pb2.MetricPoint]:
        """Waits until the run is final and everything has come; returns the points."""
        self._thread.join(timeout)
        assert not self._thread.is_alive(), "the stream does not end"
        return self.points

    def cancel(self) -> list[run_pb2.MetricPoint]:
        """Stops watching; returns the points so far."""
        self._stream.cancel()
        self._thread.join(30)
        return self.points


class EventWatcher:
    """What happens to all runs: `runs`, `episodes` and `notices`, in the order in which it came."""

    def __init__(self, trainer: Trainer) -> None:
        self.runs: list[run_pb2.Run] = []
        self.episodes: list[run_pb2.Episode] = []
        self.notices: list[tuple[str, str]] = []
        self._stream = trainer.watch_runs()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        assert self._ready.wait(30)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stream.cancel()
        self._thread.join(30)

    def _watch(self) -> None:
        for event in self._stream:
            if event.HasField("run"):
                self.runs.append(event.run)
            elif event.HasField("episode"):
                self.episodes.append(event.episode)
            elif event.HasField("notice"):
                self.notices.append((event.notice.run, event.notice.text))
            if event.caught_up:
                self._ready.set()

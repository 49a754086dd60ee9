"""Keeps up with one run: its state, metrics, episodes, notices and boards, each on its thread."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from mltetris_client import (
    BoardStream,
    Closed,
    Episode,
    MetricPoint,
    MlTetrisError,
    NotFound,
    Notice,
    Run,
    StreamBoardResponse,
    Trainer,
    is_final,
)

from mltetris_cli.jsonify import seconds
from mltetris_cli.live.series import Series

Event = Run | MetricPoint | Episode | Notice
"""What a listener is told of."""

_KEPT_EPISODES = 200
# After the run's end was told, its last metrics are waited for this long.
_LAST_METRICS_S = 5.0


class Follower:
    """What is known of a run, kept up to date until the run is final or this is closed.

    Read its attributes from any thread. ``listener`` is called for every event, from this
    object's threads, one call at a time.
    """

    def __init__(
        self,
        trainer: Trainer,
        run: Run,
        *,
        max_fps: float = 0.0,
        listener: Callable[[Event], None] | None = None,
    ) -> None:
        self._listener = listener
        self._telling = threading.Lock()
        self._changed = threading.Condition()
        self._run = run
        self._point: MetricPoint | None = None
        self._error: MlTetrisError | None = None
        self._metrics_done = False
        self._games = 0
        self._boards_seen: StreamBoardResponse | None = None
        self.evaluations = Series()
        self.rewards = Series()
        self.training_lines = Series()
        self.watched_lines = Series()
        self.game_lines = Series()
        self.episodes: deque[Episode] = deque(maxlen=_KEPT_EPISODES)
        self.notices: deque[Notice] = deque(maxlen=20)
        self._events = trainer.watch_runs(run.id)
        self._metrics = trainer.stream_metrics(run.id)
        self._boards: BoardStream | None = None
        if max_fps > 0:
            self._boards = trainer.stream_board(run.id, max_fps=max_fps)
        self._threads = [
            threading.Thread(target=self._guard, args=(work,), name=name, daemon=True)
            for work, name in ((self._read_events, "events"), (self._read_metrics, "metrics"))
        ]
        for thread in self._threads:
            thread.start()

    # -- What is known ---------------------------------------------------------------------------

    @property
    def run(self) -> Run:
        """The run as it was told last."""
        with self._changed:
            return self._run

    @property
    def point(self) -> MetricPoint | None:
        """The newest metric point."""
        with self._changed:
            return self._point

    @property
    def boards(self) -> StreamBoardResponse | None:
        """The newest boards, None before the first."""
        if self._boards is not None:
            try:
                newer = self._boards.latest()
            except NotFound:
                newer = None  # a run that ended before it had a board, and was deleted
            if newer is not None:
                self._boards_seen = newer
        return self._boards_seen

    @property
    def connected(self) -> bool:
        """Whether the server answers; False while the streams are trying to come back."""
        return self._events.connected

    @property
    def finished(self) -> bool:
        """Whether the run is final and everything of it was read, or the following failed."""
        with self._changed:
            return self._is_finished()

    def raise_error(self) -> None:
        """Raises what made the following end, if anything did.

        Raises:
            MlTetrisError: that.
        """
        if self._error is not None:
            raise self._error

    def wait(self, timeout: float) -> bool:
        """Waits until something is told, at most ``timeout`` seconds; whether it is finished."""
        with self._changed:
            if not self._is_finished():
                self._changed.wait(timeout)
            return self._is_finished()

    def adopt(self, run: Run) -> None:
        """Takes in what a call of ours returned, if it is newer than what was told."""
        with self._changed:
            if run.revision > self._run.revision:
                self._run = run
                self._changed.notify_all()

    # -- Ending ----------------------------------------------------------------------------------

    def close(self) -> None:
        """Ends all streams and threads."""
        self._events.cancel()
        self._metrics.cancel()
        if self._boards is not None:
            self._boards.close()
        for thread in self._threads:
            thread.join(timeout=_LAST_METRICS_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- The threads -----------------------------------------------------------------------------

    def _is_finished(self) -> bool:
        return self._error is not None or (is_final(self._run) and self._metrics_done)

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Closed:
            pass  # the trainer was closed before us: the end
        except MlTetrisError as error:
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _read_events(self) -> None:
        for event in self._events:
            kind = event.WhichOneof("event")
            if kind == "run":
                with self._changed:
                    self._run = event.run
                    self._changed.notify_all()
                self._tell(event.run)
                if is_final(event.run):
                    self._await_last_metrics()
                    return
            elif kind == "episode":
                with self._changed:
                    self.episodes.append(event.episode)
                    self._games += 1
                    self.game_lines.add(self._games, event.episode.lines)
                    self._changed.notify_all()
                self._tell(event.episode)
            elif kind == "notice":
                with self._changed:
                    self.notices.append(event.notice)
                    self._changed.notify_all()
                self._tell(event.notice)
            elif kind == "deleted_run":
                raise NotFound(f"run {event.deleted_run} was deleted")

    def _await_last_metrics(self) -> None:
        """A server that ends with the run may take its last metrics along."""
        with self._changed:
            self._changed.wait_for(lambda: self._metrics_done, timeout=_LAST_METRICS_S)
            self._metrics_done = True
            self._changed.notify_all()
        self._metrics.cancel()

    def _read_metrics(self) -> None:
        for point in self._metrics:
            with self._changed:
                self._point = point
                elapsed = seconds(point.elapsed)
                if point.HasField("evaluation"):
                    self.evaluations.add(elapsed, point.evaluation.mean_lines)
                if point.HasField("mean_reward"):
                    self.rewards.add(elapsed, point.mean_reward)
                if point.HasField("lines"):
                    self.watched_lines.add(elapsed, point.lines)
                if point.HasField("mean_lines"):
                    self.training_lines.add(elapsed, point.mean_lines)
                self._changed.notify_all()
            self._tell(point)
        with self._changed:
            self._metrics_done = True
            self._changed.notify_all()

    def _tell(self, event: Event) -> None:
        if self._listener is not None:
            with self._telling:
                self._listener(event)

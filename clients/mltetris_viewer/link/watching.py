"""The threads that watch one run: its boards and its metrics."""

from __future__ import annotations

import threading

from mltetris_client import Closed, MetricStream, MlTetrisError, NotFound, Trainer

from mltetris_viewer.link.mailbox import Mailbox
from mltetris_viewer.model.events import FramesArrived, PointsArrived, StreamFailed

#: Boards asked for, a second. A faster game is a blur anyway.
MAX_FPS = 30.0
#: Seconds between two tries of a stream that failed.
RETRY_SECONDS = 2.0
#: Seconds within which a thread notices that it is not needed any more.
_NOTICE_SECONDS = 0.1


class Watch:
    """Watches one run from its making until `stop`, or until the run is final."""

    def __init__(self, trainer: Trainer, mailbox: Mailbox, run: str) -> None:
        self.run = run
        self._trainer = trainer
        self._mailbox = mailbox
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._metrics: MetricStream | None = None
        self._told_caught_up = False
        self._threads = [
            threading.Thread(target=work, name=f"viewer-{name}-{run}", daemon=True)
            for name, work in (("boards", self._watch_boards), ("metrics", self._watch_metrics))
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Lets the threads end; does not wait for them."""
        self._stopped.set()
        with self._lock:
            if self._metrics is not None:
                self._metrics.cancel()

    def join(self, timeout: float) -> None:
        """Waits for the threads, for `timeout` seconds each at most."""
        for thread in self._threads:
            thread.join(timeout)

    def poll(self) -> None:
        """Reports the end of the history: the stream tells of it without a point to carry it."""
        with self._lock:
            stream = self._metrics
        if stream is not None and stream.caught_up and not self._told_caught_up:
            self._told_caught_up = True
            self._mailbox.put(PointsArrived(self.run, (), True))

    def _watch_boards(self) -> None:
        while not self._stopped.is_set():
            try:
                with self._trainer.stream_board(
                    self.run, max_fps=MAX_FPS, include_values=True
                ) as boards:
                    while not self._stopped.is_set() and not boards.ended:
                        response = boards.wait(_NOTICE_SECONDS)
                        if response is not None:
                            self._mailbox.put(FramesArrived(self.run, list(response.frames)))
                return
            except (Closed, NotFound):
                return  # The window is closing, or the run was deleted: the model hears of it.
            except MlTetrisError as error:
                self._failed("boards", error)

    def _watch_metrics(self) -> None:
        last = 0
        while not self._stopped.is_set():
            stream = self._trainer.stream_metrics(self.run, after_sequence=last)
            with self._lock:
                self._metrics = stream
            try:
                for point in stream:
                    self._mailbox.put(PointsArrived(self.run, (point,), stream.caught_up))
                if not self._stopped.is_set():
                    self._mailbox.put(PointsArrived(self.run, (), True))
                return
            except (Closed, NotFound):
                return
            except MlTetrisError as error:
                self._failed("metrics", error)
            finally:
                last = stream.last_sequence

    def _failed(self, what: str, error: MlTetrisError) -> None:
        if self._stopped.is_set():
            return
        self._mailbox.put(StreamFailed(self.run, f"No {what}: {error.message}"))
        self._stopped.wait(RETRY_SECONDS)

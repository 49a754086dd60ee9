"""The lossy stream: a run's boards, always the newest, whatever the reader's pace."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from mltetris_api.v1 import trainer_pb2

from mltetris_client.errors import Closed, MlTetrisError
from mltetris_client.link import Link
from mltetris_client.resuming import Responses, Resuming


class BoardStream:
    """The newest frame of every board of a run.

    A thread of its own drains the stream into a slot that holds one message, so a slow reader
    gets old frames neither from here nor from buffers on the way. ``frame.skipped`` counts the
    frames that were dropped, on the server and here.

    Iterate it, or ask with `latest` or `wait`; it ends when the run is final. `close` it, or use
    it in a ``with``: the server makes frames as long as somebody watches.
    """

    def __init__(
        self,
        link: Link,
        run: str,
        *,
        max_fps: float = 30.0,
        include_values: bool = False,
        patience: float | None = None,
    ) -> None:
        self._stub = link.trainer
        self._request = trainer_pb2.StreamBoardRequest(
            run=run, max_fps=max_fps, include_values=include_values
        )
        self._responses = Resuming(self._open, link=link, patience=patience)
        self._changed = threading.Condition()
        self._newest: trainer_pb2.StreamBoardResponse | None = None
        self._ended = False
        self._error: MlTetrisError | None = None
        self._thread = threading.Thread(target=self._drain, name=f"boards-{run}", daemon=True)
        self._thread.start()

    @property
    def connected(self) -> bool:
        """Whether the connection stands; False while it is being made again."""
        return self._responses.connected

    @property
    def ended(self) -> bool:
        """Whether no further frame will come."""
        with self._changed:
            return self._ended and self._newest is None

    def latest(self) -> trainer_pb2.StreamBoardResponse | None:
        """The newest frames if there are any not yet read, without waiting.

        Raises:
            MlTetrisError: the stream failed.
        """
        with self._changed:
            return self._take()

    def wait(self, timeout: float | None = None) -> trainer_pb2.StreamBoardResponse | None:
        """Waits for frames not yet read; None after ``timeout`` seconds or at the end.

        Raises:
            MlTetrisError: the stream failed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not None or self._ended, timeout)
            return self._take()

    def close(self) -> None:
        """Ends the stream and its thread. May be called twice, and from any thread."""
        self._responses.cancel()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=5.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[trainer_pb2.StreamBoardResponse]:
        """Yields the newest frames whenever there are any, until the run is final.

        Raises:
            MlTetrisError: the stream failed.
        """
        while (response := self.wait()) is not None:
            yield response

    def _take(self) -> trainer_pb2.StreamBoardResponse | None:
        response, self._newest = self._newest, None
        if response is None and self._error is not None:
            raise self._error
        return response

    def _drain(self) -> None:
        error: MlTetrisError | None = None
        try:
            for response in self._responses:
                with self._changed:
                    _count_dropped(self._newest, response)
                    self._newest = response
                    self._changed.notify_all()
        except Closed:
            pass  # the connection was closed under us: the end, as after close()
        except MlTetrisError as failure:
            error = failure
        finally:
            with self._changed:
                self._error = error
                self._ended = True
                self._changed.notify_all()

    def _open(self) -> Responses[trainer_pb2.StreamBoardResponse]:
        return self._stub.StreamBoard(self._request)


def _count_dropped(
    unread: trainer_pb2.StreamBoardResponse | None, newer: trainer_pb2.StreamBoardResponse
) -> None:
    """Adds the frames of a message nobody read to the newer one's count."""
    if unread is None:
        return
    dropped = {frame.board: frame.skipped + 1 for frame in unread.frames}
    for frame in newer.frames:
        frame.skipped += dropped.get(frame.board, 0)

"""The two lossless streams: a run's metrics, and what happens to runs."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

from mltetris_api.v1 import run_pb2, trainer_pb2

from mltetris_client.link import Link
from mltetris_client.resuming import Responses, Resuming

_Message = TypeVar("_Message")

# The server sends at most this many runs before `caught_up`.
SNAPSHOT_LIMIT = 1_000


class Stream(Generic[_Message]):
    """What both streams are besides their messages: connected or not, and to be cancelled."""

    _responses: Resuming[_Message]

    @property
    def connected(self) -> bool:
        """Whether the connection stands; False while it is being made again."""
        return self._responses.connected

    def cancel(self) -> None:
        """Ends the stream, from any thread."""
        self._responses.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.cancel()


class MetricStream(Stream[trainer_pb2.StreamMetricsResponse]):
    """A run's metric points, in order, without gap or repeat, over any number of breaks.

    Iterate it, from one thread; it ends when the run is final (`history`: with the newest point).
    `cancel` (or leaving its ``with``) ends it from any thread.
    """

    def __init__(
        self,
        link: Link,
        run: str,
        *,
        after_sequence: int = 0,
        patience: float | None = None,
    ) -> None:
        self._stub = link.trainer
        self._run = run
        self._last = after_sequence
        self._caught_up = False
        self._responses = Resuming(self._open, link=link, patience=patience)

    @property
    def last_sequence(self) -> int:
        """Number of the newest point that was read: resume from here."""
        return self._last

    @property
    def caught_up(self) -> bool:
        """Whether the history has been read and what follows is live."""
        return self._caught_up

    def __iter__(self) -> Iterator[run_pb2.MetricPoint]:
        """Yields the points.

        Raises:
            MlTetrisError: see `Resuming`.
        """
        for response in self._responses:
            yield from self._news(response)

    def history(self) -> Iterator[run_pb2.MetricPoint]:
        """Yields the points there are by now and ends: it does not wait for those to come.

        The stream is cancelled then. `last_sequence` says from where another may go on.

        Raises:
            MlTetrisError: see `Resuming`.
        """
        for response in self._responses:
            yield from self._news(response)
            if self._caught_up:
                break
        self.cancel()

    def _news(self, response: trainer_pb2.StreamMetricsResponse) -> Iterator[run_pb2.MetricPoint]:
        for point in response.points:
            if point.sequence > self._last:
                self._last = point.sequence
                yield point
        self._caught_up = self._caught_up or response.caught_up

    def _open(self) -> Responses[trainer_pb2.StreamMetricsResponse]:
        request = trainer_pb2.StreamMetricsRequest(run=self._run, after_sequence=self._last)
        return self._stub.StreamMetrics(request)


class RunEvents(Stream[trainer_pb2.WatchRunsResponse]):
    """Every run as it is, then every change, episode, notice and deletion, over any break.

    After a break the server tells everything there is again; what has not changed is left out
    here, and runs that were deleted meanwhile are told as such. `caught_up` comes once.
    """

    def __init__(
        self,
        link: Link,
        run: str = "",
        *,
        patience: float | None = None,
    ) -> None:
        self._stub = link.trainer
        self._run = run
        self._revisions: dict[str, int] = {}
        self._told: set[str] | None = None
        self._caught_up = False
        self._responses = Resuming(self._open, link=link, patience=patience, on_open=self._on_open)

    def __iter__(self) -> Iterator[trainer_pb2.WatchRunsResponse]:
        """Yields the events.

        Raises:
            MlTetrisError: see `Resuming`.
        """
        for response in self._responses:
            event = response.WhichOneof("event")
            if event == "run":
                if self._told is not None:
                    self._told.add(response.run.id)
                known = self._revisions.get(response.run.id)
                # Not "newer than": a server that was killed may have lost its last revisions.
                if known == response.run.revision:
                    continue
                self._revisions[response.run.id] = response.run.revision
            elif event == "deleted_run":
                self._revisions.pop(response.deleted_run, None)
            elif event == "caught_up":
                yield from self._deleted_meanwhile()
                if self._caught_up:
                    continue
                self._caught_up = True
            yield response

    def _deleted_meanwhile(self) -> Iterator[trainer_pb2.WatchRunsResponse]:
        """Tells of the runs that were known before a break and are not there after it."""
        told, self._told = self._told, None
        if told is None or len(told) >= SNAPSHOT_LIMIT:
            return  # a full snapshot leaves old runs out: nothing follows from their absence
        for gone in self._revisions.keys() - told:
            del self._revisions[gone]
            yield trainer_pb2.WatchRunsResponse(deleted_run=gone)

    def _on_open(self) -> None:
        self._told = set()

    def _open(self) -> Responses[trainer_pb2.WatchRunsResponse]:
        return self._stub.WatchRuns(trainer_pb2.WatchRunsRequest(run=self._run))

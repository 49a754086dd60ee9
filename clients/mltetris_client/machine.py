"""The part of `Trainer` that looks at the server and its machine."""

from __future__ import annotations

from collections.abc import Iterator

from mltetris_api.v1 import system_pb2

from mltetris_client import specs
from mltetris_client.link import Link
from mltetris_client.resuming import Responses, Resuming
from mltetris_client.streams import Stream


class SystemMetricsStream(Stream[system_pb2.StreamSystemMetricsResponse]):
    """How the server's machine is, again and again, over any number of breaks.

    Iterate it, from one thread; `cancel` (or leaving its ``with``) ends it from any thread.
    """

    def __init__(self, link: Link, period: float, *, patience: float | None = None) -> None:
        self._stub = link.system
        self._request = system_pb2.StreamSystemMetricsRequest(
            period=specs.duration(period, field="period")
        )
        self._responses = Resuming(self._open, link=link, patience=patience)

    def __iter__(self) -> Iterator[system_pb2.SystemMetrics]:
        """Yields the measurements.

        Raises:
            MlTetrisError: see `Resuming`.
        """
        for response in self._responses:
            yield response.metrics

    def _open(self) -> Responses[system_pb2.StreamSystemMetricsResponse]:
        return self._stub.StreamSystemMetrics(self._request)


class MachineCalls:
    """What a `Trainer` can tell of the server and its machine."""

    _link: Link

    def get_system_metrics(self) -> system_pb2.SystemMetrics:
        """How the server's machine and its processes are now.

        What the machine does not tell is unset: ``HasField("cpu_temperature_celsius")``.
        """
        request = system_pb2.GetSystemMetricsRequest()
        return self._link.unary(self._link.system.GetSystemMetrics, request).metrics

    def stream_system_metrics(
        self, period: float = 1.0, *, patience: float | None = None
    ) -> SystemMetricsStream:
        """The same every ``period`` seconds, 0.1..3600. It ends only when cancelled.

        After a break it goes on by itself, for ``patience`` seconds (None: for ever).
        """
        return SystemMetricsStream(self._link, period, patience=patience)

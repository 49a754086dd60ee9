"""The page that Prometheus reads: calls, runs, processes and the machine.

A server of its own (prometheus-client's), with a registry of its own. What happens often is
counted as it happens; the rest is asked for when the page is.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import structlog
from mltetris_api.v1 import system_pb2
from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server
from prometheus_client.core import InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from mltetris_server.errors import DomainError
from mltetris_server.service.addresses import CannotListen, check_free
from mltetris_server.service.measuring.figures import gauge, of_machine, of_stats

_log = structlog.get_logger(__name__)

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_PATIENCE_S: Final = 10.0
"""How long a scrape waits for what it asks the server; Prometheus itself gives up after 10 s."""


class Calls:
    """Counts calls as they are answered."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._answered = Counter(
            "mltetris_rpc_calls",
            "Calls answered, by method and gRPC status code; streams when they end.",
            ("service", "method", "code"),
            registry=registry,
        )
        self._took = Histogram(
            "mltetris_rpc_duration_seconds",
            "From a call to its answer; streams are left out.",
            ("service", "method"),
            buckets=_SECONDS,
            registry=registry,
        )

    def note(self, service: str, method: str, code: str, seconds: float | None) -> None:
        """Counts a call.

        Args:
            service: its full name.
            method: its name.
            code: of the status, as `NOT_FOUND`.
            seconds: how long it took; None: it was a stream.
        """
        self._answered.labels(service, method, code).inc()
        if seconds is not None:
            self._took.labels(service, method).observe(seconds)


@dataclass(frozen=True, slots=True)
class Sources:
    """What is asked when the page is, in the event loop."""

    version: str
    stats: Callable[[], Awaitable[system_pb2.GetStatsResponse]]
    metrics: Callable[[], Awaitable[system_pb2.SystemMetrics]]
    open_streams: Callable[[], int]


class Page:
    """The page, served from `begin` to `end`."""

    def __init__(self, sources: Sources) -> None:
        self._registry = CollectorRegistry()
        self.calls = Calls(self._registry)
        self._sources = sources
        self._end: Callable[[], None] = lambda: None

    async def begin(self, listen: str) -> str:
        """Serves it at `listen`, HOST:PORT (port 0: any free one); returns its URL.

        Raises:
            CannotListen: it cannot be served there.
        """
        host, _, port = listen.rpartition(":")
        host = host.strip("[]")
        check_free(listen, "--metrics-listen")
        self._registry.register(_Asked(self._sources, asyncio.get_running_loop()))
        try:
            server, thread = start_http_server(int(port), host, self._registry)
        except OSError as error:
            raise CannotListen(f"cannot listen on {listen} for metrics: {error}") from error

        def end() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        self._end = end
        shown = f"[{host}]" if ":" in host else host
        return f"http://{shown}:{server.server_port}/metrics"

    async def end(self) -> None:
        """Serves it no more."""
        await asyncio.to_thread(self._end)


class _Asked(Collector):
    """What is found out when somebody asks: runs in the thread of a scrape."""

    def __init__(self, sources: Sources, loop: asyncio.AbstractEventLoop) -> None:
        self._sources = sources
        self._loop = loop

    def describe(self) -> Iterable[Metric]:
        """Nothing before the loop runs."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yields every figure; those that cannot be had now are missing, and one says so."""
        yield InfoMetricFamily(
            "mltetris_server", "The server.", value={"version": self._sources.version}
        )
        yield gauge(
            "mltetris_open_streams",
            "Board, metric, run and other streams that are open.",
            self._sources.open_streams(),
        )
        failed = 0
        for ask, figures in (
            (self._sources.stats, of_stats),
            (self._sources.metrics, of_machine),
        ):
            answer = self._answer(ask)
            if answer is None:
                failed += 1
            else:
                yield from figures(answer)
        yield gauge(
            "mltetris_scrape_failures",
            "Groups of figures that are missing on this page: the server's log says why.",
            failed,
        )

    def _answer(self, ask: Callable[[], Awaitable[Any]]) -> Any | None:
        async def answer() -> Any:
            return await ask()

        future = asyncio.run_coroutine_threadsafe(answer(), self._loop)
        try:
            return future.result(_PATIENCE_S)
        except (DomainError, OSError, TimeoutError, concurrent.futures.CancelledError) as error:
            future.cancel()
            _log.warning("figures are missing on the page of metrics", why=str(error))
            return None

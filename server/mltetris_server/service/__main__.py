"""The server process: `python -m mltetris_server.service`.

Prints one JSON line on standard output when it is ready; logs go to standard error. Exits with 0
after a signal, 1 where it cannot start (one line says why), 2 for a usage error.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import structlog

from mltetris_server.errors import DomainError
from mltetris_server.runs.launchers.local import WORKER_COMMAND
from mltetris_server.runs.settings import MAX_QUEUED, MAX_WATCHERS, RunSettings
from mltetris_server.service import logging
from mltetris_server.service.addresses import CannotListen
from mltetris_server.service.exposure import Security, Tls, is_local
from mltetris_server.service.options import MAX_STREAMS
from mltetris_server.service.secrets import OPERATOR_VARIABLE, VIEWER_VARIABLE, read_tokens
from mltetris_server.service.server import Server, ServerSettings
from mltetris_server.storage.retention import EPISODES_A_RUN, POINTS, POINTS_A_RUN, Limits

_MOST_KEPT: Final = 10**12

_log = structlog.get_logger(__name__)


def main(
    arguments: Sequence[str] | None = None, worker_command: Sequence[str] = WORKER_COMMAND
) -> int:
    """Runs the server until a signal ends it; returns the exit status."""
    options = _parse(arguments)
    logging.configure(options.log_format, options.log_level)
    try:
        settings = ServerSettings(
            listen=options.listen,
            data_dir=options.data_dir,
            runs=RunSettings(
                max_runs=options.max_runs,
                max_queued=options.max_queued,
                max_watchers=options.max_watchers,
                grace_s=options.grace,
                silence_s=options.silence,
            ),
            security=_security(options),
            metrics_listen=options.metrics_listen or "",
            max_streams=options.max_streams,
            limits=Limits(
                points_a_run=options.keep_points_per_run,
                points=options.keep_points,
                episodes_a_run=options.keep_episodes_per_run,
            ),
            worker_transport=options.worker_transport,
            worker_command=tuple(worker_command),
        )
        asyncio.run(_serve(settings))
    except (DomainError, CannotListen) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


async def _serve(settings: ServerSettings) -> None:
    signals = Signals()
    server = await Server.start(settings)
    signals.at_once = server.kill_workers
    try:
        ready = {
            "event": "ready",
            "address": server.address,
            "data_dir": str(server.data_dir),
            "pid": os.getpid(),
        }
        if server.metrics_url:
            ready["metrics"] = server.metrics_url
        print(json.dumps(ready), flush=True)
        if settings.security.insecure and not is_local(settings.listen):
            _log.warning("open to the network: --insecure was said", address=server.address)
        _log.info("ready", address=server.address, data_dir=str(server.data_dir))
        if server.metrics_url:
            _log.info("metrics", url=server.metrics_url)
        # What has been loaded stays: looking through it for garbage takes tens of milliseconds, in
        # which nobody is answered.
        gc.collect()
        gc.freeze()
        await signals.ending.wait()
        _log.info("ending")
    finally:
        await server.stop()
    _log.info("ended")


def _security(options: argparse.Namespace) -> Security:
    """What the options say of TLS and tokens. Raises CannotListen."""
    tls = None
    if options.tls_cert is not None and options.tls_key is not None:
        tls = Tls(options.tls_cert, options.tls_key, options.tls_client_ca)
    elif options.tls_cert or options.tls_key or options.tls_client_ca:
        raise CannotListen("TLS needs both --tls-cert and --tls-key")
    tokens = read_tokens(options.operator_token_file, options.viewer_token_file)
    return Security(tls, tokens, options.insecure)


class Signals:
    """The first signal to end sets `ending`; the second calls `at_once` and ends the process."""

    def __init__(self) -> None:
        self.ending = asyncio.Event()
        self.at_once: Callable[[], None] = lambda: None
        loop = asyncio.get_running_loop()
        numbers = [signal.SIGINT, signal.SIGTERM]
        if sys.platform == "win32":
            numbers.append(signal.SIGBREAK)
        else:
            # The terminal was closed: better an orderly end than none.
            numbers.append(signal.SIGHUP)
        for number in numbers:
            try:
                loop.add_signal_handler(number, self._caught, number)
            except NotImplementedError:
                # Windows: a handler runs in the main thread, which waits in the loop: wake it.
                signal.signal(
                    number, lambda caught, _: loop.call_soon_threadsafe(self._caught, caught)
                )

    def _caught(self, number: int) -> None:
        if self.ending.is_set():
            self.at_once()
            os._exit(128 + number)
        self.ending.set()


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m mltetris_server.service",
        description="Serves training and playing of Tetris agents over gRPC.",
    )
    parser.add_argument(
        "--listen",
        type=_address,
        default="127.0.0.1:50051",
        metavar="HOST:PORT",
        help="where to listen, or unix:/path; port 0: any free one (default: %(default)s)",
    )
    parser.add_argument(
        "--data-dir",
        type=Path,
        default=Path(os.environ.get("MLTETRIS_DATA_DIR", "checkpoints")),
        help="where models and history are kept (default: $MLTETRIS_DATA_DIR or ./checkpoints)",
    )
    parser.add_argument(
        "--max-runs",
        type=_count,
        default=os.cpu_count() or 1,
        help="runs that may go at once; more wait (default: number of cores, %(default)s)",
    )
    for flag, default, what in (
        ("--max-queued", MAX_QUEUED, "runs that may wait for a place"),
        ("--max-watchers", MAX_WATCHERS, "streams that may be open on one run"),
        ("--max-streams", MAX_STREAMS, "streams that may be open on one connection"),
    ):
        parser.add_argument(
            flag, type=_limit, default=default, metavar="N", help=f"{what} (default: %(default)s)"
        )
    for flag, default, least, what in (
        ("--keep-points-per-run", POINTS_A_RUN, 1000, "metric points kept of one run"),
        ("--keep-points", POINTS, 1, "metric points kept of all runs together"),
        ("--keep-episodes-per-run", EPISODES_A_RUN, 200, "games kept of one run"),
    ):
        parser.add_argument(
            flag,
            type=_at_least(least),
            default=default,
            metavar="N",
            help=f"{what}; see docs/history.md (default: %(default)s)",
        )
    parser.add_argument(
        "--grace",
        type=_seconds,
        default=60.0,
        metavar="SECONDS",
        help="how long workers and a restarted server wait for each other (default: %(default)g)",
    )
    parser.add_argument(
        "--silence",
        type=_seconds,
        default=30.0,
        metavar="SECONDS",
        help="after which a worker that says nothing is given up (default: %(default)g)",
    )
    parser.add_argument(
        "--metrics-listen",
        type=_tcp_address,
        metavar="HOST:PORT",
        help="where Prometheus may ask, without a token; port 0: any free one (default: nowhere)",
    )
    parser.add_argument("--log-format", choices=("json", "console"), default="console")
    parser.add_argument(
        "--log-level", choices=("debug", "info", "warning", "error"), default="info"
    )
    parser.add_argument(
        "--tls-cert", type=Path, metavar="FILE", help="certificate of the server, PEM"
    )
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key, PEM")
    parser.add_argument(
        "--tls-client-ca",
        type=Path,
        metavar="FILE",
        help="let only clients in that have a certificate of this CA, PEM",
    )
    parser.add_argument(
        "--operator-token-file",
        type=Path,
        metavar="FILE",
        help=f"the token of those who may do everything (or ${OPERATOR_VARIABLE})",
    )
    parser.add_argument(
        "--viewer-token-file",
        type=Path,
        metavar="FILE",
        help=f"the token of those who may look only (or ${VIEWER_VARIABLE})",
    )
    parser.add_argument(
        "--insecure",
        action="store_true",
        help="listen for other machines even without TLS or without a token",
    )
    parser.add_argument(
        "--worker-transport",
        choices=("auto", "unix", "loopback"),
        default="auto",
        help="how workers reach the server (default: a Unix socket where there are such)",
    )
    return parser.parse_args(arguments)


def _address(text: str) -> str:
    if text.startswith("unix:") and len(text) > len("unix:"):
        return text
    return _tcp_address(text)


def _tcp_address(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not host or not colon or not port.isdecimal() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:50051")
    return text


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 1000")
    return int(text)


def _limit(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 1000000")
    return int(text)


def _at_least(least: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= _MOST_KEPT:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a number from {least} to {_MOST_KEPT}"
            )
        return int(text)

    return read


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0.1 <= seconds <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0.1 to 86400")
    return seconds


if __name__ == "__main__":
    sys.exit(main())

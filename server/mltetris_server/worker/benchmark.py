"""A benchmark: players compared on the same pieces."""

from __future__ import annotations

from collections.abc import Callable

from mltetris_api.v1.run_pb2 import RunReason
from mltetris_api.worker.v1.worker_pb2 import Welcome

from mltetris_server.worker.link import Link
from mltetris_server.worker.mailbox import Mailbox
from mltetris_server.worker.specs import SpecError


def run_benchmark(
    link: Link, mailbox: Mailbox, welcome: Welcome, begun: Callable[[], None]
) -> RunReason.ValueType:
    """Runs a benchmark to its end and returns why it ended.

    Args:
        link: the line to the server.
        mailbox: what the server says.
        welcome: what the server said first.
        begun: called once everything is loaded.
    """
    raise SpecError("this worker cannot run a benchmark")

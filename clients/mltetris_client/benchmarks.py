"""The part of `Trainer` for suites and scores."""

from __future__ import annotations

from mltetris_client.link import Link


class BenchmarkCalls:
    """What a `Trainer` can tell of benchmarks."""

    _link: Link

"""The part of `Trainer` that keeps datasets."""

from __future__ import annotations

from mltetris_client.link import Link


class DatasetCalls:
    """What a `Trainer` can do with datasets."""

    _link: Link

"""The part of `Trainer` that looks back."""

from __future__ import annotations

from mltetris_client.link import Link


class HistoryCalls:
    """What a `Trainer` can tell of what was."""

    _link: Link

"""The part of `Trainer` that looks at the server and its machine."""

from __future__ import annotations

from mltetris_client.link import Link


class MachineCalls:
    """What a `Trainer` can tell of the server and its machine."""

    _link: Link

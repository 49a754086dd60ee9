"""The part of `Trainer` that asks models what to do."""

from __future__ import annotations

from mltetris_client.link import Link


class PolicyCalls:
    """What a `Trainer` can ask models."""

    _link: Link

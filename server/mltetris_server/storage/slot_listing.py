"""Lists of slots: in order, in pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from mltetris_api.v1 import slot_pb2

from mltetris_server import errors
from mltetris_server.storage import paging

Key: TypeAlias = tuple[float, str]
"""What a slot is sorted by; ties are broken by name, so that it is unique."""

_WITHOUT = 1.0
"""Behind every score, also behind 0: scores are negated."""


def order(order_by: str, suite: str = "") -> Callable[[slot_pb2.Slot], Key]:
    """The sort key of slots.

    Args:
        order_by: "score" (or empty; best first), "name" or "create_time" (newest first).
        suite: with "score": by the benchmark score in this suite, which the slots carry; empty: by
            the mean lines of each slot's evaluation. Slots without one come last.

    Raises:
        InvalidArgument: there is no such order, or a suite goes with another one than "score".
    """
    if order_by in ("", "score"):
        return (lambda slot: _by_benchmark(slot, suite)) if suite else _by_evaluation
    if suite:
        raise errors.InvalidArgument.field("suite", 'goes together with order_by "score" only')
    if order_by == "name":
        return lambda slot: (0.0, slot.name)
    if order_by == "create_time":
        return lambda slot: (-slot.create_time.ToNanoseconds() / 1e9, slot.name)
    raise errors.InvalidArgument.field("order_by", 'one of "score", "name" and "create_time"')


def page(
    slots: Sequence[slot_pb2.Slot],
    order_by: str = "",
    page_size: int = 0,
    page_token: str = "",
    *,
    suite: str = "",
) -> tuple[list[slot_pb2.Slot], str]:
    """A page of ``slots`` in order, and the token of the next one, empty on the last.

    Raises InvalidArgument as `order` does, and for a token of another list.
    """
    key = order(order_by, suite)
    length = paging.page_length(page_size)
    query = f"{order_by or 'score'} {suite}".strip()
    rest = sorted(slots, key=key)
    if page_token:
        number, name = paging.read_token(page_token, query, (float, str))
        after = (float(number), str(name))
        rest = [slot for slot in rest if key(slot) > after]
    shown = rest[:length]
    if len(rest) <= length:
        return shown, ""
    return shown, paging.make_token(query, list(key(shown[-1])))


def _by_evaluation(slot: slot_pb2.Slot) -> Key:
    return (-slot.evaluation.mean_lines if slot.HasField("evaluation") else _WITHOUT, slot.name)


def _by_benchmark(slot: slot_pb2.Slot, suite: str) -> Key:
    for score in slot.benchmark_scores:
        if score.suite == suite:
            return (-score.score, slot.name)
    return (_WITHOUT, slot.name)

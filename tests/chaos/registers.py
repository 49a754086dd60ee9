"""Registers with operations of unknown outcome: is what was read explained by what was written?

Every value is written once at most (but None, by every removal), so a read names its write. It is
explained if that write may have come before it with no other surely in between. That is necessary
for a linearizable register, and what breaks it was lost, came twice or came back from the dead.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from chaos.records import OK, REFUSED, UNKNOWN, Op, Server

FOREVER = float("inf")


@dataclass(frozen=True)
class Write:
    """A write that took effect somewhere from `start` to `end`; not `sure`: perhaps never."""

    value: str | None
    start: float
    end: float
    sure: bool = True


@dataclass
class Register:
    """All writes of one register; it begins as None, or as `first`."""

    first: str | None = None
    writes: list[Write] = field(default_factory=list)

    def explains(self, value: str | None, start: float, end: float) -> bool:
        """Whether a read that went on from `start` to `end` may have found `value`."""
        beginning = Write(self.first, -FOREVER, -FOREVER)
        candidates = [w for w in (beginning, *self.writes) if w.value == value and w.start <= end]
        if not candidates:
            return False
        # The last write that surely was done before the read began: what ended before it is gone.
        latest = max((w.start for w in self.writes if w.sure and w.end < start), default=-FOREVER)
        return any(candidate.end >= latest for candidate in candidates)

    def why_not(self, value: str | None) -> str:
        """For a read that is not explained: what is known of it."""
        own = [w for w in self.writes if w.value == value]
        if not own:
            return f"nobody ever wrote {value!r}"
        last = max((w for w in self.writes if w.sure), key=lambda w: w.start, default=None)
        then = f"; surely written after: {last.value!r} at {last.start:.3f}" if last else ""
        return f"{value!r} was written at {own[-1].start:.3f}{then}"


def registers(ops: Iterable[Op], servers: Iterable[Server]) -> dict[str, Register]:
    """The registers that operations have written."""
    ends = sorted(server.time for server in servers if server.event == "down")
    found: dict[str, Register] = defaultdict(Register)
    for op in ops:
        if op.outcome == REFUSED:
            continue
        for effect in op.effects:
            end = op.end if op.outcome == OK else settled(op, ends)
            sure = effect.sure and op.outcome == OK
            found[effect.key].writes.append(Write(effect.value, op.start, end, sure))
    return found


def settled(op: Op, ends: list[float]) -> float:
    """When an operation of unknown outcome has taken effect or never will: as the server dies."""
    assert op.outcome == UNKNOWN
    if any(op.start <= end <= op.end for end in ends):
        return op.end
    return next((end for end in ends if end > op.end), FOREVER)

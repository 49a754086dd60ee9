"""What all clients know together, and how they write down what they see and do."""

from __future__ import annotations

import random
import threading
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from mltetris_api.v1 import run_pb2, slot_pb2

from chaos.api import UNKNOWN_CODES, failure
from chaos.records import (
    OK,
    REFUSED,
    UNKNOWN,
    Deleted,
    Effect,
    Op,
    Points,
    Read,
    Recorder,
    Seen,
    now,
)

T = TypeVar("T")

LULL_S = 0.3
SLOTS = tuple(f"slot-{i}" for i in range(8))


@dataclass
class World:
    """Runs that somebody has seen, by id, as they were seen last; shared by all threads."""

    recorder: Recorder
    ending: threading.Event = field(default_factory=threading.Event)
    """No more calls."""
    runs: dict[str, Seen] = field(default_factory=dict)
    acknowledged: int = 0
    """Writes so far."""
    points: int = 0
    """Metric points that were sent so far."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def saw(self, run: run_pb2.Run, source: str, connection: int = 0, since: float = -1.0) -> None:
        """Notes what a run was shown to be."""
        seen = Seen(
            source,
            connection,
            since,
            now(),
            run.id,
            run.revision,
            run_pb2.RunState.Name(run.state).removeprefix("RUN_STATE_"),
            run_pb2.RunReason.Name(run.reason).removeprefix("RUN_REASON_"),
            run.display_name,
            run.restarts,
            run.metrics.sequence,
        )
        self.recorder.add(seen)
        with self.lock:
            known = self.runs.get(run.id)
            if known is None or known.revision < seen.revision:
                self.runs[run.id] = seen

    def lost_sight(self, run: str, source: str, connection: int) -> None:
        """Notes that a run was said to be deleted."""
        self.recorder.add(Deleted(source, connection, now(), run))
        self.forget(run)

    def forget(self, run: str) -> None:
        """Lets nobody choose the run any more."""
        with self.lock:
            self.runs.pop(run, None)

    def some(self, chance: random.Random, *states: str) -> Seen | None:
        """A run, in one of the states as far as is known (none given: in any)."""
        with self.lock:
            known = [run for run in self.runs.values() if not states or run.state in states]
        return chance.choice(known) if known else None

    def count(self, *states: str) -> int:
        """How many there are in these states."""
        with self.lock:
            return sum(run.state in states for run in self.runs.values())

    def read_points(
        self, source: str, run: str, after: int, points: Sequence[run_pb2.MetricPoint]
    ) -> int:
        """Notes points that came; returns the number of the last."""
        found = tuple((point.sequence, checksum(point)) for point in points)
        with self.lock:
            self.points += len(found)
        if found:
            self.recorder.add(Points(source, run, after, found, now()))
        return found[-1][0] if found else after

    def call(
        self,
        client: str,
        what: str,
        target: str,
        call: Callable[[], T],
        *,
        start: float | None = None,
        token: str = "",
        effects: Iterable[Effect] = (),
        absent: str = "",
        learnt: Callable[[T], Iterable[Effect | Read]] = lambda answer: (),
    ) -> tuple[str, T | None]:
        """Makes a call and writes it down; returns its outcome and its answer.

        Args:
            start: when the first of several tries began; None: now.
            effects: what it does where it takes effect.
            absent: the register that NOT_FOUND finds empty.
            learnt: what follows from the answer.
        """
        begun = now() if start is None else start
        sent = now()
        try:
            answer = call()
        except Exception as error:  # noqa: BLE001 - failure() raises what is none of a call
            end = now()
            code, text = failure(error)
            outcome = UNKNOWN if code in UNKNOWN_CODES else REFUSED
            if outcome == UNKNOWN:
                # Somebody is gone: calls that only find that out again are no load.
                self.ending.wait(LULL_S)
            reads = (Read(absent, None),) if absent and code == "NOT_FOUND" else ()
            self.recorder.add(
                Op(
                    *(client, what, target, begun, end, outcome, code, text, token),
                    effects=tuple(effects),
                    reads=reads,
                )
            )
            return outcome, None
        facts = [*effects, *learnt(answer)]
        with self.lock:
            self.acknowledged += any(isinstance(fact, Effect) for fact in facts)
        shas: tuple[tuple[str, str], ...] = ()
        if isinstance(answer, slot_pb2.Slot):
            shas = ((value_of(answer), answer.sha256),)
        self.recorder.add(
            Op(
                *(client, what, target, begun, now(), OK, "", "", token),
                effects=tuple(fact for fact in facts if isinstance(fact, Effect)),
                reads=tuple(fact for fact in facts if isinstance(fact, Read)),
                shas=shas,
            )
        )
        if isinstance(answer, run_pb2.Run):
            self.saw(answer, what, since=sent)
        return OK, answer


def value_of(slot: slot_pb2.Slot) -> str:
    """The value of a slot's register: its notes, which are used once, or what was imported."""
    return slot.notes or f"sha:{slot.sha256}"


def checksum(point: Any) -> int:
    """Tells a metric point from another of the same number."""
    return zlib.crc32(point.SerializeToString(deterministic=True))

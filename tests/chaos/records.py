"""What is written down while it happens: one record a line of JSON, and the list of them all.

Times are seconds of one monotonic clock. A value of a register is text, or None: not there.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

OK, REFUSED, UNKNOWN = "ok", "refused", "unknown"


@dataclass(frozen=True)
class Effect:
    """What an operation that took effect has made of a register.

    Not `sure`: only in some cases, such as the active slot where another one is renamed.
    """

    key: str
    value: str | None
    sure: bool = True


@dataclass(frozen=True)
class Read:
    """What a register was at some time of an operation."""

    key: str
    value: str | None


@dataclass(frozen=True)
class Op:
    """One call. `outcome` is `ok`, `refused`, or `unknown`, where the line broke before an answer.

    `effects` are those it has where it took effect; `shas` the models it showed: (value, digest).
    """

    client: str
    what: str
    target: str
    start: float
    end: float
    outcome: str
    code: str = ""
    text: str = ""
    token: str = ""
    effects: tuple[Effect, ...] = ()
    reads: tuple[Read, ...] = ()
    shas: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Seen:
    """A run as somebody was shown it at `time`, in an answer to a call begun at `since`.

    On a stream `since` is -1, and (`source`, `connection`) is the stream.
    """

    source: str
    connection: int
    since: float
    time: float
    run: str
    revision: int
    state: str
    reason: str
    name: str
    restarts: int
    points: int


@dataclass(frozen=True)
class Deleted:
    """A stream said that a run was deleted."""

    source: str
    connection: int
    time: float
    run: str


@dataclass(frozen=True)
class Points:
    """Metric points as they came, (sequence, checksum): the first is to follow `after`."""

    source: str
    run: str
    after: int
    points: tuple[tuple[int, int], ...]
    time: float


@dataclass(frozen=True)
class Kill:
    """A death that was caused; `run` of a worker's, `restarts` the run had then (-1: not known)."""

    kind: str
    time: float
    run: str = ""
    restarts: int = -1


@dataclass(frozen=True)
class Server:
    """The server's process: `starting`, `up` (it answers) or `down` (it has ended).

    `grace` is how long its workers wait for the next one, in seconds.
    """

    event: str
    time: float
    grace: float = 0.0


@dataclass(frozen=True)
class FinalRun:
    """A run at the end; `changes` are its stored states and reasons, the first included."""

    revision: int
    state: str
    reason: str
    name: str
    points: tuple[tuple[int, int], ...] = ()
    changes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Final:
    """What there is at the end, from the server and from its disk."""

    time: float
    runs: dict[str, FinalRun] = field(default_factory=dict)
    slots: dict[str, str] = field(default_factory=dict)
    shas: dict[str, str] = field(default_factory=dict)
    """Of the slots, by value."""
    active: str | None = None
    idle: tuple[str, ...] = ()
    """Live runs that nobody worked on, and workers without a live run."""
    damaged: tuple[str, ...] = ()
    leftovers: tuple[str, ...] = ()
    orphans: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    """Unexpected errors in the server's log."""


Record = Op | Seen | Deleted | Points | Kill | Server | Final


class Recorder:
    """Keeps every record, and writes it to a file at once. Any thread may use it."""

    def __init__(self, path: Path) -> None:
        self.records: list[Record] = []
        self._lock = threading.Lock()
        self._file = path.open("w", encoding="utf-8")

    def add(self, record: Record) -> None:
        """Keeps a record."""
        line = json.dumps({"record": type(record).__name__, **asdict(record)})
        with self._lock:
            self.records.append(record)
            if not self._file.closed:
                self._file.write(line + "\n")

    def close(self) -> None:
        """Ends the file."""
        with self._lock:
            self._file.close()


def now() -> float:
    """The time of records."""
    return time.monotonic()


def of_kind(records: Iterable[Record], kind: type[Any]) -> list[Any]:
    """The records of one kind, in the order they were made."""
    return [record for record in records if isinstance(record, kind)]

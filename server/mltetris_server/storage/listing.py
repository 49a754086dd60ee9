"""Lists of runs: what of them is asked for, and in which order."""

from __future__ import annotations

import zlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from mltetris_api.v1 import run_pb2
from sqlalchemy import ColumnElement, Select, and_, func, or_, select

from mltetris_server import errors
from mltetris_server.storage import paging
from mltetris_server.storage.schema import run_sources, runs

FINAL_STATES: Final = frozenset(
    [run_pb2.RUN_STATE_SUCCEEDED, run_pb2.RUN_STATE_STOPPED, run_pb2.RUN_STATE_FAILED]
)
"""The states that a run never leaves."""

_GREATEST: Final = 2**63 - 1
_NO_LINES: Final = 1e308
"""In place of the best lines of a run that has none, so that it comes last."""


@dataclass(frozen=True, slots=True)
class RunQuery:
    """Which runs, and in which order; what is empty or None leaves everything in.

    Times are in microseconds since 1970; ``order_by`` is one of the contract's words.
    """

    kinds: Collection[int] = ()
    states: Collection[int] = ()
    text: str = ""
    created_from_us: int | None = None
    created_before_us: int | None = None
    algorithms: Collection[int] = ()
    slot: str = ""
    dataset: str = ""
    suite: str = ""
    order_by: str = ""
    ascending: bool = False

    @property
    def fingerprint(self) -> str:
        """What a page token of this list begins with."""
        asked = (
            self._values(self.kinds),
            self._values(self.states),
            self.text.casefold(),
            self.created_from_us,
            self.created_before_us,
            sorted(set(self.algorithms)),
            self.slot,
            self.dataset,
            self.suite,
            self.order_by or "create_time",
            self.ascending,
        )
        return f"runs:{zlib.crc32(repr(asked).encode()):x}"

    def matching(self) -> Select[int]:
        """How many runs match."""
        return select(func.count()).select_from(runs).where(*self._conditions())

    def page(self, token: str, length: int) -> Select[int, object]:
        """Numbers and sort keys of the runs that follow ``token``, at most ``length``.

        Raises InvalidArgument for an order that there is not, and for a token of another list.
        """
        key, shape = self._key()
        conditions = self._conditions()
        if token:
            at, number = paging.read_token(token, self.fingerprint, (shape, int))
            if self.ascending:
                beyond = or_(key > at, and_(key == at, runs.c.number > number))
            else:
                beyond = or_(key < at, and_(key == at, runs.c.number < number))
            conditions.append(beyond)
        if self.ascending:
            order = (key.asc(), runs.c.number.asc())
        else:
            order = (key.desc(), runs.c.number.desc())
        query = select(runs.c.number, key.label("key")).where(*conditions)
        return query.order_by(*order).limit(length)

    def token(self, key: object, number: int) -> str:
        """The token for what follows the run of that key and number."""
        assert isinstance(key, (int, float, str))
        return paging.make_token(self.fingerprint, [key, number])

    def _key(self) -> tuple[ColumnElement[object], type]:
        """What is ordered by, and the type of its values."""
        match self.order_by or "create_time":
            case "create_time":
                return runs.c.create_time_us, int
            case "end_time":
                return runs.c.end_time_us, int
            case "best_lines":
                return func.coalesce(
                    runs.c.best_lines, _NO_LINES if self.ascending else -1.0
                ), float
            case "placements":
                return runs.c.placements, int
            case "display_name":
                return runs.c.name_key, str
        raise errors.InvalidArgument.field(
            "order_by",
            'one of "create_time", "end_time", "best_lines", "placements" and "display_name"',
        )

    def _conditions(self) -> list[ColumnElement[bool]]:
        column = runs.c
        # Every state is named where none is asked for: the index of lists begins with it, and with
        # it the runs themselves are not read.
        states = self._values(self.states) or list(run_pb2.RunState.values())
        found: list[ColumnElement[bool]] = [column.state.in_(states)]
        if kinds := self._values(self.kinds):
            found.append(column.kind.in_(kinds))
        if self.text:
            text = self.text.casefold()
            found.append(
                or_(func.instr(column.name_key, text) > 0, func.instr(column.id, text) > 0)
            )
        if self.created_from_us is not None:
            found.append(column.create_time_us >= _clamped(self.created_from_us))
        if self.created_before_us is not None:
            found.append(column.create_time_us < _clamped(self.created_before_us))
        if self.algorithms:
            # UNSPECIFIED is TD.
            found.append(column.algorithm.in_(sorted({value or 1 for value in self.algorithms})))
        if self.suite:
            found.append(column.suite == self.suite)
        for kind, name in (("slot", self.slot), ("dataset", self.dataset)):
            if name:
                made_of = select(run_sources.c.run_number).where(
                    run_sources.c.kind == kind, run_sources.c.name == name
                )
                found.append(column.number.in_(made_of))
        return found

    @staticmethod
    def _values(chosen: Collection[int]) -> list[int]:
        """The values that are asked for, in order; UNSPECIFIED among them: every one."""
        return [] if 0 in chosen else sorted(set(chosen))


def unfinished() -> ColumnElement[bool]:
    """The condition of runs that are not final."""
    return runs.c.state.in_([s for s in run_pb2.RunState.values() if s and s not in FINAL_STATES])


def _clamped(time_us: int) -> int:
    """The time, or the nearest that SQLite can be asked for."""
    return max(-_GREATEST, min(time_us, _GREATEST))

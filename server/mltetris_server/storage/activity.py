"""The audit trail in the history's database: who did what to which run or slot."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Final

from mltetris_api.v1 import system_pb2
from sqlalchemy import Engine, delete, func, insert, select

from mltetris_server.storage import paging
from mltetris_server.storage.database import translated
from mltetris_server.storage.schema import activity

MOST_KEPT: Final = 100_000
"""Entries kept; the oldest go first."""
_SWEEP: Final = 1_000
"""Entries between two looks for what is to go."""


class ActivityStore:
    """What was done, newest first. Errors are those of `History`.

    Args:
        engine: of the history's database, to write.
        reader: of the same, to read.
        path: its file, for messages.
        most_kept: entries kept.
    """

    def __init__(
        self, engine: Engine, reader: Engine, path: Path, *, most_kept: int = MOST_KEPT
    ) -> None:
        self._engine = engine
        self._reader = reader
        self._path = path
        self._most_kept = most_kept

    def add(self, entry: system_pb2.Activity) -> int:
        """Store an entry, its time included; returns the number it got."""
        with translated(self._path), self._engine.begin() as connection:
            result = connection.execute(
                insert(activity).values(
                    run=entry.run, slot=entry.slot, entry=entry.SerializeToString()
                )
            )
            number = int(result.lastrowid)
            if number % min(_SWEEP, self._most_kept) == 0:
                connection.execute(
                    delete(activity).where(activity.c.number <= number - self._most_kept)
                )
        return number

    def page(
        self, *, run: str = "", slot: str = "", page_size: int = 0, page_token: str = ""
    ) -> tuple[list[system_pb2.Activity], str]:
        """A page of entries, newest first, and the token of the next page, empty on the last.

        ``run`` and ``slot``: only what was done to these. ``page_size`` 0 is 50. Raises
        InvalidArgument for a token of another list.
        """
        length = paging.page_length(page_size)
        filters = f"activity:{zlib.crc32(repr((run, slot)).encode()):x}"
        query = (
            select(activity.c.number, activity.c.entry)
            .order_by(activity.c.number.desc())
            .limit(length + 1)
        )
        if run:
            query = query.where(activity.c.run == run)
        if slot:
            query = query.where(activity.c.slot == slot)
        if page_token:
            (before,) = paging.read_token(page_token, filters, (int,))
            query = query.where(activity.c.number < before)
        with translated(self._path), self._reader.begin() as connection:
            rows = connection.execute(query).all()
            entries = []
            for row in rows[:length]:
                entry = system_pb2.Activity.FromString(row.entry)
                entry.number = row.number
                entries.append(entry)
        if len(rows) <= length:
            return entries, ""
        return entries, paging.make_token(filters, [rows[length - 1].number])

    def count(self) -> int:
        """Entries there are."""
        with translated(self._path), self._reader.begin() as connection:
            return int(connection.scalar(select(func.count()).select_from(activity)) or 0)

"""Opening the history's SQLite file: durability, one transaction a call, errors that say what."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, QueuePool, create_engine, event
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import ConnectionPoolEntry

from mltetris_server import errors
from mltetris_server.storage.migrate import migrate

_BUSY_SECONDS = 5
# SQLite's primary result codes for a file whose content is wrong: https://sqlite.org/rescode.html
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def open_engine(path: Path) -> Engine:
    """An engine on the migrated database at ``path``.

    It has one connection: callers of other threads wait their turn.
    """
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=0,
        connect_args={"timeout": _BUSY_SECONDS},
    )
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    try:
        with translated(path):
            migrate(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn SQLite's word for damage into DataLoss and for a refusing disk into Unavailable."""
    try:
        yield
    except DatabaseError as error:
        original = error.orig
        if not isinstance(original, sqlite3.Error):
            raise
        code = getattr(original, "sqlite_errorcode", 0) & 0xFF
        if code in _DAMAGE:
            raise errors.DataLoss(
                f"{path} is damaged ({original}): put a backup in its place, or move it away "
                "to begin a new history; slots are not in it"
            ) from error
        if isinstance(original, sqlite3.OperationalError):
            raise errors.Unavailable(
                f"cannot write {path}: {original}; free some space or check the permissions"
            ) from error
        raise


def _configure(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
    # sqlite3 would begin transactions by itself, but not before DDL and reads; _begin does it.
    connection.isolation_level = None
    cursor = connection.cursor()
    try:
        cursor.execute("PRAGMA journal_mode = WAL")
        # FULL: what was acknowledged survives a power cut, not only a crash.
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute("PRAGMA cache_size = -8192")
        cursor.execute("PRAGMA journal_size_limit = 16777216")
    finally:
        cursor.close()


def _begin(connection: Connection) -> None:
    # IMMEDIATE: a transaction that cannot write fails when it begins, not halfway.
    connection.exec_driver_sql("BEGIN IMMEDIATE")

"""Opening the history's SQLite file: durability, one transaction a call, errors that say what."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from google.protobuf.message import DecodeError
from sqlalchemy import URL, Connection, Engine, QueuePool, create_engine, event
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import ConnectionPoolEntry

from mltetris_server import errors
from mltetris_server.storage.migrate import migrate

READERS = 2
"""Connections that read at the same time: a long history does not hold up a list."""
_BUSY_SECONDS = 5
_LITTLE = 256 * 1024
"""Bytes left on a disk that is full."""
# SQLite's primary result codes for a file whose content is wrong: https://sqlite.org/rescode.html
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

_ADVICE = {
    sqlite3.SQLITE_BUSY: "; another program has it open and is writing",
    sqlite3.SQLITE_FULL: "; free some space",
    sqlite3.SQLITE_READONLY: "; check its permissions",
    sqlite3.SQLITE_CANTOPEN: "; check its folder's permissions",
}


def open_engine(path: Path) -> Engine:
    """An engine on the migrated database at ``path``.

    It has one connection: callers of other threads wait their turn.
    """
    with translated(path, str(path)):
        # Without foreign keys: SQLite changes a table by copying and dropping the old one, and
        # dropping a referenced table would delete the rows that refer to it.
        unmigrated = _engine(path, foreign_keys=False)
        try:
            migrate(unmigrated)
        finally:
            unmigrated.dispose()
    return _engine(path, foreign_keys=True)


def open_reader(path: Path) -> Engine:
    """An engine that only reads the migrated database at ``path``, beside the one that writes.

    It never waits for a writer, nor a writer for it: a transaction sees what was committed when it
    first read, until it ends. Callers beyond ``READERS`` wait their turn.
    """
    engine = _new_engine(path, READERS)
    event.listen(engine, "connect", _configure_reader)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN DEFERRED"))
    # All of them now: what the process holds open does not depend on what is asked for later.
    with translated(path, str(path)), ExitStack() as stack:
        for _ in range(READERS):
            stack.enter_context(engine.connect())
    return engine


def _engine(path: Path, *, foreign_keys: bool) -> Engine:
    engine = _new_engine(path, 1)

    def configure(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
        _configure(connection, foreign_keys=foreign_keys)

    event.listen(engine, "connect", configure)
    event.listen(engine, "begin", _begin)
    return engine


def _new_engine(path: Path, connections: int) -> Engine:
    return create_engine(
        URL.create("sqlite", database=str(path)),
        poolclass=QueuePool,
        pool_size=connections,
        max_overflow=0,
        connect_args={"timeout": _BUSY_SECONDS},
    )


@contextmanager
def translated(path: Path, shown: str = "") -> Iterator[None]:
    """Turn SQLite's word for damage into DataLoss and for a refusing disk into Unavailable.

    The messages name the file as ``shown``; by default without its folder, for they go to clients.
    """
    shown = shown or path.name
    try:
        yield
    except (DecodeError, UnicodeDecodeError) as error:
        # The latter where SQLite quotes what is no text in what it says of it.
        raise _damaged(shown, error) from error
    except (DatabaseError, sqlite3.DatabaseError) as error:
        # SQLAlchemy wraps the errors of statements, but not those of its "connect" event.
        original = error.orig if isinstance(error, DatabaseError) else error
        if not isinstance(original, sqlite3.Error):
            raise
        code = getattr(original, "sqlite_errorcode", 0) & 0xFF
        if code in _DAMAGE:
            raise _damaged(shown, original) from error
        if isinstance(original, sqlite3.OperationalError):
            # Its index in shared memory, too, needs room, and says so otherwise.
            full = code == sqlite3.SQLITE_FULL or (
                code == sqlite3.SQLITE_IOERR and shutil.disk_usage(path.parent).free < _LITTLE
            )
            advice = _ADVICE.get(sqlite3.SQLITE_FULL if full else code, "")
            kind = errors.DiskFull if full else errors.Unavailable
            raise kind(f"cannot use {shown}: {original}{advice}") from error
        raise


def _damaged(shown: str, error: Exception) -> errors.DataLoss:
    return errors.DataLoss(
        f"{shown} is damaged ({error}): put a backup in its place, or move it away to begin a new "
        "history; slots are not in it"
    )


def _configure(connection: sqlite3.Connection, *, foreign_keys: bool) -> None:
    # sqlite3 would begin transactions by itself, but not before DDL and reads; _begin does it.
    connection.isolation_level = None
    cursor = connection.cursor()
    try:
        cursor.execute("PRAGMA journal_mode = WAL")
        # FULL: what was acknowledged survives a power cut, not only a crash. NORMAL would not wait
        # for the device at every commit, in WAL.
        cursor.execute("PRAGMA synchronous = FULL")
        # macOS' fsync leaves it in the drive's cache; elsewhere these change nothing.
        cursor.execute("PRAGMA fullfsync = ON")
        cursor.execute("PRAGMA checkpoint_fullfsync = ON")
        cursor.execute(f"PRAGMA foreign_keys = {foreign_keys:d}")
        cursor.execute("PRAGMA cache_size = -8192")
        cursor.execute("PRAGMA journal_size_limit = 16777216")
    finally:
        cursor.close()


def _configure_reader(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    try:
        cursor.execute("PRAGMA query_only = ON")
        cursor.execute("PRAGMA cache_size = -8192")
    finally:
        cursor.close()


def _begin(connection: Connection) -> None:
    # IMMEDIATE: a transaction that cannot write fails when it begins, not halfway.
    connection.exec_driver_sql("BEGIN IMMEDIATE")

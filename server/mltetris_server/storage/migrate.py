"""Brings a history's tables to the newest schema.

alembic costs 10 MB and a tenth of a second, so it is imported only where there is something to
migrate: on a new data directory and after an update.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from mltetris_server import errors

NEWEST = "0003"
"""The newest revision in ``migrations/versions``."""

SCRIPTS = Path(__file__).parent / "migrations"


def migrate(engine: Engine, *, scripts: Path = SCRIPTS, newest: str = NEWEST) -> None:
    """Migrate the database to ``newest``, in one transaction: all of it or nothing.

    The engine must not enforce foreign keys, for a table is changed by replacing it.

    Raises WrongState where a newer mlTetris made it; its own errors pass through.
    """
    with engine.begin() as connection:
        revision = _revision(connection)
        if revision == newest:
            return
        _upgrade(connection, scripts, newest, revision)
        if connection.execute(text("PRAGMA foreign_key_check")).first() is not None:
            raise RuntimeError(f"migrating from schema {revision} left rows that refer to nothing")


def _revision(connection: Connection) -> str | None:
    """The revision the tables are at; None in a new database."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _upgrade(connection: Connection, scripts: Path, newest: str, revision: str | None) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if revision is not None and revision not in known:
        raise errors.WrongState(
            f"{connection.engine.url.database} was made by a newer mlTetris (schema {revision}; "
            f"this one knows {newest}): update mlTetris, or choose another --data-dir"
        )
    config.attributes["connection"] = connection
    command.upgrade(config, newest)

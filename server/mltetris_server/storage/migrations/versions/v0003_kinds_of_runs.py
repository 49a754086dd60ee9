"""What runs are made of, the scores of benchmarks, and what lists, histories and totals need."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
import structlog
from alembic import op
from mltetris_api.v1 import run_pb2

from mltetris_server.storage import run_columns

_log = structlog.get_logger(__name__)

revision = "0003"
down_revision: str | None = "0002"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Make their tables and columns, and fill them."""
    op.create_table(
        "run_sources",
        sa.Column("id", sa.Integer, primary_key=True),
        _run_number(),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
    )
    op.create_index("run_sources_of_run", "run_sources", ["run_number"])
    op.create_index("run_sources_by_name", "run_sources", ["kind", "name", "run_number"])
    op.create_table(
        "benchmark_scores",
        sa.Column("number", sa.Integer, primary_key=True),
        _run_number(),
        sa.Column("suite", sa.String(64), nullable=False),
        sa.Column("player", sa.String(100), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("score", sa.LargeBinary, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("benchmark_scores_of_run", "benchmark_scores", ["run_number"])
    op.create_index("benchmark_scores_by_model", "benchmark_scores", ["sha256", "suite", "number"])
    op.create_index("benchmark_scores_by_suite", "benchmark_scores", ["suite", "number"])
    op.create_table(
        "totals",
        sa.Column("name", sa.String(16), primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
    )
    for name, kind, default in _NEW_COLUMNS:
        op.add_column(
            "runs", sa.Column(name, kind, nullable=default is None, server_default=default)
        )
    op.add_column(
        "metric_points", sa.Column("level", sa.Integer, nullable=False, server_default="0")
    )
    op.add_column(
        "episodes", sa.Column("player", sa.String(100), nullable=False, server_default="")
    )
    op.drop_index("runs_listing")
    connection = op.get_bind()
    _fill_runs(connection)
    _fill_players(connection)
    op.create_index("runs_listing", "runs", _LISTED)
    op.create_index("episodes_by_lines", "episodes", ["run_number", "lines", "id"])
    op.create_index("episodes_of_player", "episodes", ["run_number", "player", "id"])
    op.create_index(
        "episodes_of_player_by_lines", "episodes", ["run_number", "player", "lines", "id"]
    )


_NEW_COLUMNS: tuple[tuple[str, sa.types.TypeEngine[Any], str | None], ...] = (
    ("name_key", sa.String(300), ""),
    ("end_time_us", sa.BigInteger(), "0"),
    ("best_lines", sa.Float(), None),
    ("placements", sa.BigInteger(), "0"),
    ("algorithm", sa.Integer(), "0"),
    ("suite", sa.String(64), ""),
    ("points", sa.BigInteger(), "0"),
    ("episodes", sa.BigInteger(), "0"),
    ("last_point", sa.BigInteger(), "0"),
    ("leveled", sa.BigInteger(), "0"),
    ("restarts", sa.Integer(), "0"),
    ("counted_placements", sa.BigInteger(), "0"),
    ("counted_games", sa.BigInteger(), "0"),
)
_LISTED = [
    "state",
    "kind",
    "number",
    "create_time_us",
    "end_time_us",
    "best_lines",
    "placements",
    "algorithm",
    "suite",
    "name_key",
    "id",
    "points",
    "episodes",
    "last_point",
    "leveled",
]
_BATCH = 500


def _fill_runs(connection: sa.Connection) -> None:
    """Fill the columns from the runs themselves, and count what there is.

    The levels of points are found later, beside the server's work (levels.py).
    """
    runs = sa.table(
        "runs",
        *map(
            sa.column, ("number", "run", "kind", "state", "reason", *(c[0] for c in _NEW_COLUMNS))
        ),
    )
    run_sources = sa.table("run_sources", *map(sa.column, ("run_number", "kind", "name")))
    placements = games = last = done = 0
    while True:
        query = sa.select(runs.c.number, runs.c.run).where(runs.c.number > last)
        rows = connection.execute(query.order_by(runs.c.number).limit(_BATCH)).all()
        if not rows:
            break
        for number, blob in rows:
            run = run_pb2.Run.FromString(blob)
            first = run.first_placements
            placements += max(0, run.metrics.placements - first)
            games += run.metrics.episodes
            values = run_columns.columns(run) | {
                "counted_placements": max(run.metrics.placements, first),
                "counted_games": run.metrics.episodes,
            }
            connection.execute(sa.update(runs).where(runs.c.number == number).values(values))
            made_of = [
                {"run_number": number, "kind": kind, "name": name}
                for kind, name in run_columns.sources(run)
            ]
            if made_of:
                connection.execute(sa.insert(run_sources), made_of)
        last = rows[-1].number
        done += len(rows)
        if len(rows) == _BATCH:
            _log.info("bringing the history up to date", runs=done)
    connection.execute(
        sa.text(
            "UPDATE runs SET (points, last_point) = (SELECT count(*), coalesce(max(sequence), 0) "
            "FROM metric_points WHERE run_number = runs.number), episodes = "
            "(SELECT count(*) FROM episodes WHERE run_number = runs.number)"
        )
    )
    totals = sa.table("totals", sa.column("name"), sa.column("value"))
    connection.execute(
        sa.insert(totals),
        [{"name": "placements", "value": placements}, {"name": "games", "value": games}],
    )


def _fill_players(connection: sa.Connection) -> None:
    """Say who played in the episodes of demos; in trainings nobody is named."""
    query = sa.text(
        "SELECT episodes.id, episode FROM episodes JOIN runs ON number = run_number "
        "WHERE kind = 2 AND episodes.id > :last ORDER BY episodes.id LIMIT :batch"
    )
    last = 0
    while rows := connection.execute(query, {"last": last, "batch": _BATCH}).all():
        for id_, blob in rows:
            connection.execute(
                sa.text("UPDATE episodes SET player = :player WHERE id = :id"),
                {"player": run_pb2.Episode.FromString(blob).player, "id": id_},
            )
        last = rows[-1].id


def _run_number() -> sa.Column[int]:
    return sa.Column(
        "run_number",
        sa.Integer,
        sa.ForeignKey("runs.number", ondelete="CASCADE"),
        nullable=False,
    )

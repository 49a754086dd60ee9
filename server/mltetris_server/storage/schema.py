"""The tables of the history, as the newest migration leaves them.

What is asked for by column stands in a column; everything else is in the protobuf message beside
it, so that a new field of the contract needs no migration.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
)

metadata = MetaData()

runs = Table(
    "runs",
    metadata,
    # Grows with every run: the order of the list.
    Column("number", Integer, primary_key=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("kind", Integer, nullable=False),
    Column("state", Integer, nullable=False),
    Column("reason", Integer, nullable=False),
    Column("request_id", String(64), unique=True),
    Column("create_time_us", BigInteger, nullable=False),
    # The worker: how to know it again, and its last event stored here.
    Column("secret_hash", LargeBinary, nullable=False),
    Column("worker_pid", Integer, nullable=False),
    Column("last_event", BigInteger, nullable=False),
    # mltetris.v1.Run
    Column("run", LargeBinary, nullable=False),
    # What lists find and order by (run_columns.py).
    Column("name_key", String(300), nullable=False, server_default=""),
    Column("end_time_us", BigInteger, nullable=False, server_default="0"),
    # Mean of the best evaluation; NULL where there is none.
    Column("best_lines", Float),
    Column("placements", BigInteger, nullable=False, server_default="0"),
    Column("algorithm", Integer, nullable=False, server_default="0"),
    Column("suite", String(64), nullable=False, server_default=""),
    # Metric points and episodes kept, the sequence of the newest point, and of the last point whose
    # level is known.
    Column("points", BigInteger, nullable=False, server_default="0"),
    Column("episodes", BigInteger, nullable=False, server_default="0"),
    Column("last_point", BigInteger, nullable=False, server_default="0"),
    Column("leveled", BigInteger, nullable=False, server_default="0"),
    # Up to where the totals have counted the run (totals.py).
    Column("restarts", Integer, nullable=False, server_default="0"),
    Column("counted_placements", BigInteger, nullable=False, server_default="0"),
    Column("counted_games", BigInteger, nullable=False, server_default="0"),
    # Everything that a list looks at, so that it reads no run that it does not show.
    Index(
        "runs_listing",
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
    ),
    # A number is never used twice, so that a page token stays true after a deletion.
    sqlite_autoincrement=True,
)

metric_points = Table(
    "metric_points",
    metadata,
    Column("run_number", ForeignKey("runs.number", ondelete="CASCADE"), primary_key=True),
    Column("sequence", BigInteger, primary_key=True),
    Column("time_us", BigInteger, nullable=False),
    Column("placements", BigInteger, nullable=False),
    # mltetris.v1.MetricPoint
    Column("point", LargeBinary, nullable=False),
    # The greatest n for which it is an extreme of its stretch of 2**n sequences (levels.py).
    Column("level", Integer, nullable=False, server_default="0"),
    # Clustered by its key: the points of a run lie side by side in order.
    sqlite_with_rowid=False,
)

episodes = Table(
    "episodes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run_number", ForeignKey("runs.number", ondelete="CASCADE"), nullable=False),
    Column("view", Integer, nullable=False),
    Column("lines", BigInteger, nullable=False),
    Column("end_time_us", BigInteger, nullable=False),
    # mltetris.v1.Episode
    Column("episode", LargeBinary, nullable=False),
    # Empty in a training.
    Column("player", String(100), nullable=False, server_default=""),
    Index("episodes_of_run", "run_number", "id"),
    Index("episodes_by_lines", "run_number", "lines", "id"),
    Index("episodes_of_player", "run_number", "player", "id"),
    Index("episodes_of_player_by_lines", "run_number", "player", "lines", "id"),
)

state_changes = Table(
    "state_changes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run_number", ForeignKey("runs.number", ondelete="CASCADE"), nullable=False),
    Column("time_us", BigInteger, nullable=False),
    Column("state", Integer, nullable=False),
    Column("reason", Integer, nullable=False),
    Index("state_changes_of_run", "run_number", "id"),
)

# What runs are made of, to be found by it: a run's spec says it, too.
run_sources = Table(
    "run_sources",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run_number", ForeignKey("runs.number", ondelete="CASCADE"), nullable=False),
    # "slot", "run" or "dataset", and its name.
    Column("kind", String(8), nullable=False),
    Column("name", String(64), nullable=False),
    Index("run_sources_of_run", "run_number"),
    Index("run_sources_by_name", "kind", "name", "run_number"),
)

benchmark_scores = Table(
    "benchmark_scores",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("run_number", ForeignKey("runs.number", ondelete="CASCADE"), nullable=False),
    Column("suite", String(64), nullable=False),
    Column("player", String(100), nullable=False),
    Column("sha256", String(64), nullable=False),
    # mltetris.v1.BenchmarkScore
    Column("score", LargeBinary, nullable=False),
    Index("benchmark_scores_of_run", "run_number"),
    Index("benchmark_scores_by_model", "sha256", "suite", "number"),
    Index("benchmark_scores_by_suite", "suite", "number"),
    sqlite_autoincrement=True,
)

# Sums over all runs there ever were, which deleting one does not lessen.
totals = Table(
    "totals",
    metadata,
    Column("name", String(16), primary_key=True),
    Column("value", BigInteger, nullable=False),
)

activity = Table(
    "activity",
    metadata,
    Column("number", Integer, primary_key=True),
    # Empty where it was about none.
    Column("run", String(64), nullable=False),
    Column("slot", String(64), nullable=False),
    # mltetris.v1.Activity
    Column("entry", LargeBinary, nullable=False),
    Index("activity_of_run", "run", "number"),
    Index("activity_of_slot", "slot", "number"),
    # A number is never used twice, whatever was swept out.
    sqlite_autoincrement=True,
)

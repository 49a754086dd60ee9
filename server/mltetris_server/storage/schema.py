"""The tables of the history, as the newest migration leaves them.

What is asked for by column stands in a column; everything else is in the protobuf message beside
it, so that a new field of the contract needs no migration.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
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
    Index("runs_listing", "kind", "state", "number"),
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
    Index("episodes_of_run", "run_number", "id"),
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

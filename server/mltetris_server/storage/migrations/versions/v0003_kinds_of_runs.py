"""What runs are made of, and the scores of benchmarks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision: str | None = "0002"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Make their tables."""
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


def _run_number() -> sa.Column[int]:
    return sa.Column(
        "run_number",
        sa.Integer,
        sa.ForeignKey("runs.number", ondelete="CASCADE"),
        nullable=False,
    )

"""The audit trail."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision: str | None = "0001"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Make its table."""
    op.create_table(
        "activity",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("run", sa.String(64), nullable=False),
        sa.Column("slot", sa.String(64), nullable=False),
        sa.Column("entry", sa.LargeBinary, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("activity_of_run", "activity", ["run", "number"])
    op.create_index("activity_of_slot", "activity", ["slot", "number"])

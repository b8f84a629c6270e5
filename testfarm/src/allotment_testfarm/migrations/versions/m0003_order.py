# SPDX-License-Identifier: Apache-2.0
"""The order of waiting jobs, what a nightly is due, more of what test nodes tell, and several engines."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns."""
    op.add_column("projects", sa.Column("nightly", sa.Text(), server_default="", nullable=False))
    op.add_column("projects", sa.Column("nightly_last", sa.Float(), nullable=True))
    op.add_column("projects", sa.Column("nightly_next", sa.Float(), nullable=True))
    op.add_column("jobs", sa.Column("priority", sa.Integer(), server_default="0", nullable=False))
    op.add_column("jobs", sa.Column("ready", sa.Float(), server_default="0", nullable=False))
    op.add_column("jobs", sa.Column("is_fresh", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("attempts", sa.Column("log_removed", sa.Float(), nullable=True))
    op.add_column("attempts", sa.Column("parts", sa.JSON(), server_default="[]", nullable=False))
    op.add_column("attempts", sa.Column("promises", sa.JSON(), server_default="[]", nullable=False))
    op.add_column("test_cases", sa.Column("line", sa.Integer(), nullable=True))
    op.add_column("nodes", sa.Column("refuses", sa.Text(), server_default="", nullable=False))
    op.add_column("jobs", sa.Column("tries", sa.Integer(), server_default="0", nullable=False))
    op.add_column("attempts", sa.Column("engine", sa.Text(), server_default="", nullable=False))
    op.create_index("ix_jobs_state_priority_id", "jobs", ["state", "priority", "id"])
    op.create_index("ix_jobs_colour_id", "jobs", ["colour", "id"])
    op.create_index("ix_jobs_release_colour_id", "jobs", ["release", "colour", "id"])
    unjudged = sa.text("verdict IS NULL")
    op.create_index("ix_jobs_unjudged", "jobs", ["state", "id"], sqlite_where=unjudged, postgresql_where=unjudged)
    has_log = sa.text("log_removed IS NULL AND ended IS NOT NULL")
    op.create_index("ix_attempts_logs", "attempts", ["ended", "id"], sqlite_where=has_log, postgresql_where=has_log)
    _prepare_manifests()
    op.create_table(
        "duties",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("expires", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_duties"),
    )


def _prepare_manifests() -> None:
    """Add what finds a manifest by its name or closure, and those that are to be offered."""
    op.add_column("manifests", sa.Column("closure", sa.Text(), server_default="", nullable=False))
    op.add_column("manifests", sa.Column("closure_gone", sa.Boolean(), server_default=sa.false(), nullable=False))
    manifests = sa.table("manifests", sa.column("document", sa.JSON()), sa.column("closure", sa.Text()))
    closure = manifests.c.document["manifest"]["closure"]["sha256"].as_string()
    op.execute(sa.update(manifests).values(closure=closure))
    op.create_index("ix_manifests_name_created_id", "manifests", ["name", "created", "id"])
    op.create_index("ix_manifests_closure", "manifests", ["closure"])
    is_due = sa.text("offered IS NULL")
    op.create_index(
        "ix_manifests_unoffered", "manifests", ["created", "id"], sqlite_where=is_due, postgresql_where=is_due
    )

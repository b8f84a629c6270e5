# SPDX-License-Identifier: Apache-2.0
"""What a job can see, and which job has proved it already."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the documents of inputs, and what refers to them."""
    op.create_table(
        "inputs",
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_inputs")),
    )
    # No foreign keys: SQLite would have to copy the whole table for each.
    op.add_column("jobs", sa.Column("files", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("files_problem", sa.Text(), server_default="", nullable=False))
    op.add_column("jobs", sa.Column("environment", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("proved_by", sa.Integer(), nullable=True))
    op.add_column("jobs", sa.Column("compared_with", sa.Integer(), nullable=True))
    op.create_index(op.f("ix_jobs_files"), "jobs", ["files"], unique=False)
    op.add_column("nodes", sa.Column("environment", sa.Text(), server_default="", nullable=False))

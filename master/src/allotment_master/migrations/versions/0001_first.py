# SPDX-License-Identifier: Apache-2.0
"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables, those that others refer to first."""
    _add_events()
    _add_identity()
    _add_manifests()
    _add_nodes()
    _add_tokens()
    _add_instances()
    _add_labels()
    _add_supplies()
    _add_partitions()


def _add_events() -> None:
    op.create_table(
        "events",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("time", sa.Float(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_events_subject_id", "events", ["subject", "id"])


def _add_identity() -> None:
    op.create_table(
        "identity",
        sa.Column("issuer", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("issuer", name="pk_identity"),
    )


def _add_manifests() -> None:
    op.create_table(
        "manifests",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("added", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_manifests"),
        sa.UniqueConstraint("position", name="uq_manifests_position"),
        sa.UniqueConstraint("sha256", name="uq_manifests_sha256"),
    )
    op.create_index("ix_manifests_name_position", "manifests", ["name", "position"])


def _add_nodes() -> None:
    op.create_table(
        "nodes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("platform", sa.String(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("seen", sa.Float(), nullable=True),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_nodes"),
        sa.UniqueConstraint("name", name="uq_nodes_name"),
    )


def _add_tokens() -> None:
    op.create_table(
        "tokens",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_tokens"),
    )


def _add_instances() -> None:
    op.create_table(
        "instances",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("parent_id", sa.Integer(), nullable=True),
        sa.Column("root_id", sa.Integer(), nullable=True),
        sa.Column("release", sa.String(), nullable=False),
        sa.Column("manifest", sa.String(length=64), nullable=False),
        sa.Column("software_type", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("parameters", sa.Text(), nullable=False),
        sa.Column("sla", sa.Text(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("ended", sa.Float(), nullable=True),
        sa.Column("no_place", sa.Text(), nullable=False),
        sa.Column("status", sa.String(), nullable=True),
        sa.Column("observed_generation", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("refused_children", sa.Text(), nullable=False),
        sa.Column("published", sa.Text(), nullable=True),
        sa.Column("promises", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["manifest"], ["manifests.sha256"], name="fk_instances_manifest"),
        sa.ForeignKeyConstraint(["parent_id"], ["instances.id"], name="fk_instances_parent_id"),
        sa.ForeignKeyConstraint(["root_id"], ["instances.id"], name="fk_instances_root_id"),
        sa.PrimaryKeyConstraint("id", name="pk_instances"),
    )
    op.create_index("ix_instances_parent_id", "instances", ["parent_id"])
    op.create_index("ix_instances_path_id", "instances", ["path", "id"])
    op.create_index("ix_instances_root_id", "instances", ["root_id"])
    op.create_index(
        "uq_instances_living_path",
        "instances",
        ["path"],
        unique=True,
        sqlite_where=sa.text("ended IS NULL"),
        postgresql_where=sa.text("ended IS NULL"),
    )


def _add_labels() -> None:
    op.create_table(
        "labels",
        sa.Column("node_id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("value", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.id"], name="fk_labels_node_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("node_id", "key", name="pk_labels"),
    )
    op.create_index("ix_labels_key_value_node_id", "labels", ["key", "value", "node_id"])


def _add_supplies() -> None:
    op.create_table(
        "supplies",
        sa.Column("node_id", sa.Integer(), nullable=False),
        sa.Column("manifest", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("development", sa.Boolean(), nullable=False),
        sa.Column("status", sa.String(), nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["manifest"], ["manifests.sha256"], name="fk_supplies_manifest"),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.id"], name="fk_supplies_node_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("node_id", "manifest", name="pk_supplies"),
    )
    op.create_index("ix_supplies_manifest_node_id", "supplies", ["manifest", "node_id"])


def _add_partitions() -> None:
    op.create_table(
        "partitions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("node_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("instance_id", sa.Integer(), nullable=True),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("document", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["instance_id"], ["instances.id"], name="fk_partitions_instance_id"),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.id"], name="fk_partitions_node_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_partitions"),
        sa.UniqueConstraint("instance_id", name="uq_partitions_instance_id"),
        sa.UniqueConstraint("node_id", "number", name="uq_partitions_node_id_number"),
    )
    op.create_index(
        "ix_partitions_free",
        "partitions",
        ["number", "node_id"],
        sqlite_where=sa.text("instance_id IS NULL"),
        postgresql_where=sa.text("instance_id IS NULL"),
    )

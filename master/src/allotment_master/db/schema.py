# SPDX-License-Identifier: Apache-2.0
"""The tables as they are now; ``migrations/`` makes them, and a test holds the two together."""

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# One row: who this database's masters are, in the documents that they write.
identity = Table("identity", metadata, Column("issuer", String, primary_key=True))

tokens = Table(
    "tokens",
    metadata,
    Column("digest", String(64), primary_key=True),  # sha256 of the token, which is kept nowhere
    Column("role", String, nullable=False),
    Column("subject", String, nullable=False),  # a node's name, else empty
    Column("created", Float, nullable=False),
)

nodes = Table(
    "nodes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String, nullable=False, unique=True),
    Column("platform", String, nullable=False),
    Column("created", Float, nullable=False),
    Column("seen", Float),
    Column("sequence", Integer, nullable=False),  # grows with every change that concerns the node
)

labels = Table(
    "labels",
    metadata,
    Column("node_id", ForeignKey("nodes.id", ondelete="CASCADE"), primary_key=True),
    Column("key", String, primary_key=True),
    Column("value", String, nullable=False),
    Index(None, "key", "value", "node_id"),
)

manifests = Table(
    "manifests",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("position", Integer, nullable=False, unique=True),  # the greatest of a name is the newest
    Column("sha256", String(64), nullable=False, unique=True),
    Column("name", String, nullable=False),
    Column("body", Text, nullable=False),  # the signed manifest's canonical JSON
    Column("added", Float, nullable=False),
    Index(None, "name", "position"),
)

supplies = Table(
    "supplies",
    metadata,
    Column("node_id", ForeignKey("nodes.id", ondelete="CASCADE"), primary_key=True),
    Column("manifest", ForeignKey("manifests.sha256"), primary_key=True),
    Column("state", String, nullable=False),
    Column("development", Boolean, nullable=False),
    Column("status", String),  # as the node said; NULL before it has
    Column("error", Text, nullable=False),
    Index(None, "manifest", "node_id"),
)

instances = Table(
    "instances",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("path", String, nullable=False),  # the parent's path, a slash, and the name
    Column("name", String, nullable=False),
    Column("parent_id", ForeignKey("instances.id")),
    Column("root_id", ForeignKey("instances.id")),  # NULL: is a root; whoever changes a tree locks its root's row
    Column("release", String, nullable=False),
    Column("manifest", ForeignKey("manifests.sha256"), nullable=False),
    Column("software_type", String, nullable=False),
    Column("state", String, nullable=False),
    Column("parameters", Text, nullable=False),
    Column("sla", Text, nullable=False),
    Column("created", Float, nullable=False),
    Column("ended", Float),  # when it was gone; its name is free again
    Column("no_place", Text, nullable=False),  # why it has no partition
    Column("status", String),  # as the node said; NULL before it has
    Column("observed_generation", Integer, nullable=False),
    Column("error", Text, nullable=False),
    Column("refused_children", Text, nullable=False),  # why children that it asked for were not accepted
    Column("published", Text),
    Column("promises", Text, nullable=False),
    Index(
        "uq_instances_living_path",
        "path",
        unique=True,
        sqlite_where=text("ended IS NULL"),
        postgresql_where=text("ended IS NULL"),
    ),
    Index(None, "path", "id"),
    Index(None, "parent_id"),
    Index(None, "root_id"),
)

partitions = Table(
    "partitions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("node_id", ForeignKey("nodes.id", ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("name", String, nullable=False),
    Column("instance_id", ForeignKey("instances.id"), unique=True),  # NULL: free
    Column("generation", Integer, nullable=False),  # of the document; goes on when another instance moves in
    Column("document", Text),  # the desired state, as it is sent
    UniqueConstraint("node_id", "number"),
    Index(
        "ix_partitions_free",
        "number",
        "node_id",
        sqlite_where=text("instance_id IS NULL"),
        postgresql_where=text("instance_id IS NULL"),
    ),
)

events = Table(
    "events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("time", Float, nullable=False),
    Column("kind", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("data", Text, nullable=False),
    Index(None, "subject", "id"),
    sqlite_autoincrement=True,  # an id is never used twice, even when old events are removed
)

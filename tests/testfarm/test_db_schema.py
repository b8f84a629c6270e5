# SPDX-License-Identifier: Apache-2.0
"""Migrations make what schema.py says."""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from allotment_master.kit.database import Database
from allotment_testfarm.db.schema import metadata


def test_migrations_make_the_tables_that_the_code_uses(farm_database: Database) -> None:
    with farm_database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_a_second_upgrade_changes_nothing(farm_database: Database) -> None:
    farm_database.upgrade("allotment_testfarm")
    with farm_database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []

# SPDX-License-Identifier: Apache-2.0
"""Migrations make what schema.py says."""

import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext

from allotment_master.kit.database import Database
from allotment_testfarm.db.schema import manifests, metadata


def test_migrations_make_the_tables_that_the_code_uses(farm_database: Database) -> None:
    with farm_database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_manifests_of_an_earlier_version_are_found_by_their_closures(database_url: str) -> None:
    database = Database(database_url)
    config = Config()
    config.set_main_option("script_location", "allotment_testfarm:migrations")
    config.set_main_option("path_separator", "os")
    document = '{"manifest": {"closure": {"sha256": "c10"}}}'
    parents = (
        "INSERT INTO projects (id, name, repository, branch, created) VALUES (1, 'p', '', '', 0)",
        'INSERT INTO revisions (id, project_id, "commit", tree, author, time, subject, position, seen)'
        " VALUES (1, 1, '', '', '', 0, '', 1, 0)",
        "INSERT INTO jobs (id, project_id, revision_id, position, release, profile, kind, platform, timeout, options,"
        " state, created) VALUES (1, 1, 1, 1, '', '', '', '', 0, '{}', '', 0)",
        "INSERT INTO attempts (id, job_id, number, node, fencing, started, expires, deadline, steps, log)"
        " VALUES (1, 1, 1, '', 1, 0, 0, 0, '[]', '')",
        "INSERT INTO manifests (id, sha256, name, document, attempt_id, created)"
        f" VALUES (1, 'x', 'a', '{document}', 1, 0)",
    )
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
        for statement in parents:
            connection.exec_driver_sql(statement)
    database.upgrade("allotment_testfarm")
    with database.read() as connection:
        assert connection.execute(sa.select(manifests.c.closure, manifests.c.closure_gone)).all() == [("c10", False)]
    database.close()


def test_a_second_upgrade_changes_nothing(farm_database: Database) -> None:
    farm_database.upgrade("allotment_testfarm")
    with farm_database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []

# SPDX-License-Identifier: Apache-2.0
"""The migrations make the tables that the code uses, once, whoever starts first, and refuse a later version's."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from allotment.errors import AllotmentError
from allotment_master.db.schema import metadata
from allotment_master.kit.database import Database


def test_migrated_tables_are_those_of_the_code(database_url: str) -> None:
    database = Database(database_url)
    database.upgrade("allotment_master")
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    database.close()


def test_two_that_start_at_once_migrate_once(database_url: str) -> None:
    databases = [Database(database_url) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda database: database.upgrade("allotment_master"), databases))
    with databases[0].read() as connection:
        assert list(connection.execute(text("select version_num from alembic_version")).scalars()) == ["0001"]
    for database in databases:
        database.close()


def test_database_of_a_later_version_is_refused(database_url: str) -> None:
    database = Database(database_url)
    database.upgrade("allotment_master")
    with database.write() as connection:
        connection.execute(text("update alembic_version set version_num = '9999'"))
    with pytest.raises(AllotmentError) as caught:
        database.upgrade("allotment_master")
    assert "can't be brought up to date: Can't locate revision identified by '9999'" in caught.value.what
    assert caught.value.fix == "A later version may have used it: run that version, or give another database"
    database.close()

# SPDX-License-Identifier: Apache-2.0
"""Transactions of the kit's database mean the same on SQLite and PostgreSQL."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from allotment.errors import AllotmentError
from allotment_master.kit.database import Database


@pytest.fixture
def counter(database_url: str) -> Iterator[Database]:
    """A database with a table ``counter`` that holds one row of 0."""
    database = Database(database_url)
    with database.write() as connection:
        connection.execute(text("create table counter (value integer not null)"))
        connection.execute(text("insert into counter values (0)"))
    yield database
    database.close()


def value(database: Database) -> int:
    with database.read() as connection:
        return connection.execute(text("select value from counter")).scalar_one()


def test_write_that_raises_changes_nothing(counter: Database) -> None:
    with pytest.raises(ZeroDivisionError), counter.write() as connection:
        connection.execute(text("update counter set value = 7"))
        raise ZeroDivisionError
    assert value(counter) == 0


def test_error_of_the_database_shows_no_value_that_was_written(counter: Database) -> None:
    with pytest.raises(DBAPIError) as caught, counter.write() as connection:
        connection.execute(text("insert into nowhere values (:value)"), {"value": "planted-secret"})
    assert "nowhere" in str(caught.value)
    assert "planted" not in str(caught.value)


def test_concurrent_writers_lose_no_update(counter: Database) -> None:
    def increment(_: int) -> None:
        with counter.write() as connection:
            connection.execute(text("update counter set value = value + 1"))

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(increment, range(200)))
    assert value(counter) == 200


def test_reader_sees_the_last_commit_while_a_writer_is_at_work(counter: Database) -> None:
    written = threading.Event()
    finish = threading.Event()

    def slow_writer() -> None:
        with counter.write() as connection:
            connection.execute(text("update counter set value = 1"))
            written.set()
            finish.wait(10)

    writer = threading.Thread(target=slow_writer)
    writer.start()
    try:
        assert written.wait(10)
        assert value(counter) == 0
    finally:
        finish.set()
        writer.join(10)
    assert value(counter) == 1


def test_second_process_waits_for_the_first_ones_write(counter: Database, database_url: str) -> None:
    other = Database(database_url)

    def increment(database: Database) -> None:
        for _ in range(20):
            with database.write() as connection:
                connection.execute(text("update counter set value = value + 1"))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(increment, (counter, other)))
    other.close()
    assert value(counter) == 40


def cut_others(database: Database) -> None:
    """End all other connections to the database, as a server does that restarts."""
    with database.write() as connection:
        connection.execute(
            text(
                "select pg_terminate_backend(pid, 10000) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
            )
        )


def test_connection_that_was_cut_while_it_rested_is_replaced(postgresql_url: str) -> None:
    database, other = Database(postgresql_url, trust=0.0), Database(postgresql_url)
    for _ in range(2):  # the new one is tried as well
        with database.read() as first, database.read() as second:
            assert first.execute(text("select 1")).scalar_one() == second.execute(text("select 1")).scalar_one()
        cut_others(other)
    database.close()
    other.close()


def test_connections_that_were_cut_at_work_fail_once(postgresql_url: str) -> None:
    database, other = Database(postgresql_url, trust=3600.0), Database(postgresql_url)
    with database.read() as first, database.read() as second:
        first.execute(text("select 1"))
        second.execute(text("select 1"))
    cut_others(other)
    with pytest.raises(DBAPIError) as caught, database.read() as connection:
        connection.execute(text("select 1"))
    assert caught.value.connection_invalidated
    with database.read() as first, database.read() as second:
        assert first.execute(text("select 1")).scalar_one() == second.execute(text("select 1")).scalar_one()
    database.close()
    other.close()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "the database's URL can't be read. Write it like sqlite:////path/file or postgresql://host/name."),
        ("sqlite://", "a database in memory is lost at the first stop. Write it like sqlite:////path/file."),
        ("mysql://host/name", "databases of the kind 'mysql' are not supported. Use sqlite or postgresql."),
    ],
)
def test_wrong_url_is_refused_with_its_fix(url: str, message: str) -> None:
    with pytest.raises(AllotmentError) as caught:
        Database(url)
    assert str(caught.value) == message

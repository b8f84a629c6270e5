# SPDX-License-Identifier: Apache-2.0
"""One way to SQLite and PostgreSQL: read and write transactions that mean the same on both."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry

from allotment.errors import AllotmentError

CONNECTIONS = 16  # of one process; the HTTP tier's thread limit is the same number, so no thread waits for one
BUSY = 30.0  # seconds that a writer waits for another process's write transaction on SQLite
TRUST = 1.0  # seconds for which a connection that was in use is used again untried: trying it costs as much as a query
_MIGRATION_LOCK = 0x616C6C6F74  # advisory lock on PostgreSQL: two programs that start at once migrate in turn


class Database:
    """A database by URL; ``read()`` and ``write()`` give a connection inside a transaction, from any thread.

    On SQLite writers take turns: in this process by a lock, which is fair, and among processes by BEGIN IMMEDIATE.
    On PostgreSQL transactions are READ COMMITTED and run side by side: what must not change is locked by the query.
    """

    def __init__(self, url: str, connections: int = CONNECTIONS, trust: float = TRUST) -> None:
        self.engine = _create_engine(_parse(url), connections, trust)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        self.connections = connections
        self._writer = threading.Lock()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database on SQLite, and committed ones on PostgreSQL."""
        with self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that is committed when the block ends, and undone when it raises."""
        if not self.is_sqlite:
            with self.engine.begin() as connection:
                yield connection
            return
        # The writer's turn comes first: a connection that waits for it would be missing to readers.
        with self._writer, self.engine.connect() as connection:
            connection.execution_options(is_writer=True)
            with connection.begin():
                yield connection

    def upgrade(self, package: str) -> None:
        """Bring the tables to the newest of the migrations in ``<package>/migrations``; call it before anything else.

        A database that a later version has migrated is refused.
        """
        from alembic import command
        from alembic.config import Config
        from alembic.util import CommandError

        config = Config()
        config.set_main_option("script_location", f"{package}:migrations")
        config.set_main_option("path_separator", "os")
        with self.write() as connection:
            if not self.is_sqlite:
                connection.execute(sqlalchemy.select(sqlalchemy.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, "head")
            except CommandError as error:
                raise AllotmentError(
                    f"the database {self.engine.url!r} can't be brought up to date: {error}",
                    "A later version may have used it: run that version, or give another database",
                ) from error

    def close(self) -> None:
        """Close the connections that are not in use."""
        self.engine.dispose()


def migrate() -> None:
    """Run the migrations of the folder that is being upgraded: all that a ``migrations/env.py`` has to call."""
    from alembic import context

    context.configure(connection=context.config.attributes["connection"])
    with context.begin_transaction():
        context.run_migrations()


def _parse(url: str) -> URL:
    try:
        parsed = sqlalchemy.make_url(url)
    except ArgumentError as error:
        raise AllotmentError(
            "the database's URL can't be read", "Write it like sqlite:////path/file or postgresql://host/name"
        ) from error
    family = parsed.get_backend_name()
    if family == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise AllotmentError("a database in memory is lost at the first stop", "Write it like sqlite:////path/file")
        return parsed.set(drivername="sqlite+pysqlite")
    if family in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    raise AllotmentError(f"databases of the kind '{family}' are not supported", "Use sqlite or postgresql")


def _create_engine(url: URL, connections: int, trust: float) -> Engine:
    # Errors are logged, and what is written may be secret: their texts show statements without the values.
    pool: dict[str, Any] = {
        "pool_size": connections,
        "max_overflow": 4,
        "pool_timeout": 30.0,
        "hide_parameters": True,
    }
    if url.get_backend_name() == "sqlite":
        engine = sqlalchemy.create_engine(
            url, connect_args={"timeout": BUSY, "check_same_thread": False}, poolclass=sqlalchemy.QueuePool, **pool
        )
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    try:
        engine = sqlalchemy.create_engine(url, **pool)
    except ImportError as error:
        raise AllotmentError("PostgreSQL needs the package psycopg", "Install allotment.master[postgresql]") from error
    _try_idle_connections(engine, trust)
    return engine


def _try_idle_connections(engine: Engine, trust: float) -> None:
    """Have connections that a restarted server has dropped replaced before they are used.

    One that drops within ``trust`` seconds of its last use fails its next transaction, and the pool replaces them all.
    """

    def rest(_: object, entry: ConnectionPoolEntry) -> None:
        entry.info["rests_since"] = time.monotonic()

    def use(connection: DBAPIConnection, entry: ConnectionPoolEntry, _: object) -> None:
        is_new = "rests_since" not in entry.info
        if is_new or time.monotonic() - entry.info["rests_since"] < trust:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError from error  # the pool connects anew

    event.listen(engine, "checkin", rest)
    event.listen(engine, "checkout", use)


def _prepare_sqlite(connection: sqlite3.Connection, _: object) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself: _begin_sqlite does
    connection.execute(f"PRAGMA busy_timeout = {int(BUSY * 1000)}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")  # what was answered outlives a power cut too
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: Connection) -> None:
    is_writer = connection.get_execution_options().get("is_writer", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writer else "BEGIN")


def sqlite_url(path: str) -> str:
    """Return the URL of a SQLite file at an absolute path."""
    return URL.create("sqlite", database=path).render_as_string(hide_password=False)

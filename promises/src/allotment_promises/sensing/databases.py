# SPDX-License-Identifier: Apache-2.0
"""Ask PostgreSQL, MariaDB, SQLite and Redis: what the promise types that do so have in common, and their options."""

import importlib
import math
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from allotment.errors import AllotmentError
from allotment.options import OptionProblem
from allotment.secret import Secret
from allotment_promises.sensing.limits import check_above_zero, check_port

_MODULES = {"postgresql": "psycopg", "mariadb": "pymysql", "redis": "redis"}
_PORTS = {"postgresql": 5432, "mariadb": 3306, "redis": 6379}
Row = tuple[Any, ...]


def _load(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


_drivers = {kind: _load(name) for kind, name in _MODULES.items()}  # now: once, before checks are forked


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """Options of a promise type that asks a database server."""

    host: str = ""  # name or IP address of the server
    port: int | None = None  # its port; default: the usual one of such servers
    socket: Path | None = None  # its unix socket instead, for PostgreSQL the folder of it; relative to the partition
    user: str = ""  # who asks
    password: Secret = Secret("")  # its password
    ca: Path | None = None  # file of certificates to trust; with it, TLS is wanted and verified
    timeout: float = 5.0  # seconds to connect, and for the answer

    def __post_init__(self) -> None:
        check_above_zero(timeout=self.timeout)
        if self.port is not None:
            check_port(self.port)
        if self.socket is not None and (self.port is not None or self.ca is not None):
            raise OptionProblem("socket, port, ca", "a unix socket has neither port nor TLS", "Remove them")

    def target(self, kind: str, partition: Path) -> str:
        """Return ``host:port`` or the unix socket's whole path; see GenericPromise.target."""
        return self.place(kind) if self.socket is None else str(partition / self.socket)

    def place(self, kind: str) -> str:
        """Return ``host:port`` or the unix socket, for people."""
        return str(self.socket) if self.socket is not None else f"{self.host}:{self.port or _PORTS[kind]}"


class DatabaseProblem(Exception):
    """The server is away or refuses; the text says why, in one line."""


def query(kind: str, options: ServerOptions, partition: Path, database: str, statement: str) -> list[Row]:
    """Return up to 100 rows of a statement, in a transaction that can only read; raises :class:`DatabaseProblem`."""
    asks = {"postgresql": _query_postgresql, "mariadb": _query_mariadb}
    with _plain_errors(driver(kind).Error):
        return asks[kind](options, partition, database, statement)


def mariadb_status(options: ServerOptions, partition: Path, statement: str) -> list[dict[str, Any]]:
    """Return what a SHOW statement of MariaDB shows, by name; raises :class:`DatabaseProblem`."""
    module = driver("mariadb")
    with _plain_errors(module.Error), _mariadb(options, partition, "") as connection:
        with connection.cursor(module.cursors.DictCursor) as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())


def query_sqlite(path: Path, statement: str, timeout: float) -> list[Row]:
    """Return up to 100 rows of a file that is there; raises :class:`DatabaseProblem`."""
    deadline = time.monotonic() + timeout
    with _plain_errors(sqlite3.Error):
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=timeout)) as connection:
            connection.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
            return connection.execute(statement).fetchmany(100)


@contextmanager
def redis_client(options: ServerOptions, partition: Path) -> Iterator[Any]:
    """Give a client of a Redis server; what goes wrong with it is a :class:`DatabaseProblem`."""
    module = driver("redis")
    if options.socket is not None:
        where: dict[str, Any] = {"unix_socket_path": str(partition / options.socket)}
    else:
        where = {"host": options.host, "port": options.port or _PORTS["redis"]}
    if options.ca is not None:
        where |= {"ssl": True, "ssl_ca_certs": str(partition / options.ca)}
    client = module.Redis(
        **where,
        username=options.user or None,
        password=options.password.reveal() or None,
        socket_timeout=options.timeout,
        socket_connect_timeout=options.timeout,
        retry=module.retry.Retry(module.backoff.NoBackoff(), 0),
        decode_responses=True,
        protocol=2,  # which every version speaks, and in which a missing password has a plain name
    )
    with _plain_errors(module.RedisError), closing(client):
        yield client


def driver(kind: str) -> Any:
    """Return the module that speaks with such a server."""
    if _drivers[kind] is None:
        raise AllotmentError(f"{_MODULES[kind]} is not installed on this node", "Install allotment.promises[databases]")
    return _drivers[kind]


@contextmanager
def _plain_errors(kind: type[Exception]) -> Iterator[None]:
    try:
        yield
    except (kind, OSError) as error:
        # MariaDB's errors are (number, text).
        text = str(error.args[-1] if len(error.args) > 1 and isinstance(error.args[-1], str) else error)
        raise DatabaseProblem(" ".join(text.split()) or type(error).__name__) from error


def _query_postgresql(options: ServerOptions, partition: Path, database: str, statement: str) -> list[Row]:
    where = {"host": options.host} if options.socket is None else {"host": str(partition / options.socket)}
    if options.ca is not None:
        where |= {"sslmode": "verify-full", "sslrootcert": str(partition / options.ca)}
    connection = driver("postgresql").connect(
        **where,
        port=options.port or _PORTS["postgresql"],
        user=options.user or None,
        password=options.password.reveal() or None,
        dbname=database or None,
        connect_timeout=max(2, math.ceil(options.timeout)),  # of less it would make 2
        tcp_user_timeout=int(options.timeout * 1000),
        application_name="allotment-promise",
    )
    with closing(connection):
        connection.read_only = True
        connection.execute(f"set local statement_timeout = {int(options.timeout * 1000)}")
        cursor = connection.execute(statement)
        return list(cursor.fetchmany(100)) if cursor.description else []


def _query_mariadb(options: ServerOptions, partition: Path, database: str, statement: str) -> list[Row]:
    with _mariadb(options, partition, database) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchmany(100))


@contextmanager
def _mariadb(options: ServerOptions, partition: Path, database: str) -> Iterator[Any]:
    if options.socket is not None:
        where: dict[str, Any] = {"unix_socket": str(partition / options.socket), "ssl_disabled": True}
    else:
        where = {"host": options.host, "port": options.port or _PORTS["mariadb"]}
    if options.ca is not None:
        where |= {"ssl_ca": str(partition / options.ca), "ssl_verify_cert": True, "ssl_verify_identity": True}
    connection = driver("mariadb").connect(
        **where,
        user=options.user or None,
        password=options.password.reveal(),
        database=database or None,
        connect_timeout=options.timeout,
        read_timeout=options.timeout + 1,  # the server ends the statement before
        write_timeout=options.timeout,
        init_command=f"set session tx_read_only = on, session max_statement_time = {options.timeout:f}",
        program_name="allotment-promise",
    )
    with closing(connection):
        yield connection

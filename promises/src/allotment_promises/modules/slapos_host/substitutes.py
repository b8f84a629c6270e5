# SPDX-License-Identifier: Apache-2.0
"""The little that modules use of the rest of SlapOS, for eggs without slapos.core."""

from __future__ import annotations

import contextlib
import http.client
import socket
import sqlite3
import xmlrpc.client
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .finder import Maker


class Database:
    """The tables of SlapOS's collector, in a SQLite file; read only."""

    def __init__(self, directory: str, create: bool = False, timeout: float | None = None) -> None:
        path = Path(directory)  # of the database or of its folder
        path = path if path.name == "collector.db" else path / "collector.db"
        if not path.exists():
            raise OSError(f"there is no collector database {path}")
        self._uri = f"file:{path}?mode=ro"
        self._timeout = 5.0 if timeout is None else timeout
        self._connection: sqlite3.Connection | None = None

    def connect(self) -> None:
        self._connection = sqlite3.connect(self._uri, timeout=self._timeout, uri=True)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def select(
        self,
        table: str,
        date: str | None = None,
        columns: str = "*",
        where: str | None = None,
        order: str | None = None,
        group: str | None = None,
        limit: int = 0,
    ) -> sqlite3.Cursor:
        """Return rows; what is given is SQL of the module's own, run as its own user."""
        if self._connection is None:
            self.connect()
            return self.select(table, date, columns, where, order, group, limit)
        conditions = [text for text in (f"date = '{date}'" if date else "", where) if text]
        parts = [f"SELECT {columns} FROM {table}"]
        parts += [f"WHERE {' AND '.join(conditions)}"] if conditions else []
        parts += [f"GROUP BY {group}"] if group else []
        parts += [f"ORDER BY {order}"] if order else []
        parts += [f"LIMIT {limit}"] if limit else []
        return self._connection.execute(" ".join(parts))


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: object) -> http.client.HTTPConnection:
        return _UnixConnection(self._path)


@contextlib.contextmanager
def getSupervisorRPC(path: str) -> Iterator[Any]:
    """Yield the methods of the supervisord that listens on a socket file."""
    with xmlrpc.client.ServerProxy("http://localhost", _UnixTransport(path)) as server:
        yield server.supervisor


def _getSupervisordSocketPath(instance_root: str, logger: object) -> str:
    names = ("supervisord.socket", "sv.sock")  # the old and the new one
    paths = [Path(instance_root, name) for name in names]
    return str(next((path for path in paths if path.exists()), paths[-1]))


def str2bytes(text: str) -> bytes:
    return text.encode()


def bytes2str(data: bytes) -> str:
    return data.decode()


def _collector() -> Mapping[str, object]:
    return {"Database": Database}


def _supervisor() -> Mapping[str, object]:
    return {"getSupervisorRPC": getSupervisorRPC, "_getSupervisordSocketPath": _getSupervisordSocketPath}


def _util() -> Mapping[str, object]:
    return {"str2bytes": str2bytes, "bytes2str": bytes2str}


SUBSTITUTES: dict[str, Maker | None] = {
    "slapos": None,
    "slapos.collect": None,
    "slapos.collect.db": _collector,
    "slapos.grid": None,
    "slapos.grid.svcbackend": _supervisor,
    "slapos.util": _util,
}

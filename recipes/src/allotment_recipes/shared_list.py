# SPDX-License-Identifier: Apache-2.0
"""The list of shared instances of a partition, in SQLite: what each last wanted, and whether that was accepted.

It is read into memory and written as a whole, through the journal: a run that fails or is killed leaves the list of
the run before it. All in it follows from the instance's input, so that a damaged list is simply made anew.
"""

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass, fields
from typing import Final

_FORMAT: Final = 1  # PRAGMA user_version


@dataclass(frozen=True)
class Row:
    """One shared instance. Parameters are JSON texts, in which a secret is ``{"$secret": "its value"}``."""

    name: str
    digest: str  # of all that the verdict depends on
    parameters: str  # as they were given
    accepted: str  # the last ones that were valid, with defaults; empty when none were yet
    error: str  # why the given ones are not valid; empty when they are


class SharedList:
    """The rows by name; ``data`` is what the file holds."""

    def __init__(self, data: bytes | None) -> None:
        self._connection = sqlite3.connect(":memory:", isolation_level=None)
        try:
            if data:
                self._connection.deserialize(data)
            self.rows: Mapping[str, Row] = self._read() if data else self._begin()
        except sqlite3.DatabaseError:  # damaged, or nothing of ours
            self._connection.close()
            self._connection = sqlite3.connect(":memory:", isolation_level=None)
            self.rows = self._begin()

    def replace(self, rows: Mapping[str, Row]) -> bytes:
        """Return the file's bytes with exactly these rows; only those that differ are written."""
        changed = [row for name, row in rows.items() if self.rows.get(name) != row]
        gone = [name for name in self.rows if name not in rows]
        marks = ", ".join("?" * len(fields(Row)))
        with self._transaction():
            self._connection.executemany(
                f"INSERT OR REPLACE INTO shared_instance VALUES ({marks})", map(astuple, changed)
            )
            self._connection.executemany("DELETE FROM shared_instance WHERE name = ?", ((name,) for name in gone))
        self.rows = rows
        return self._connection.serialize()

    def close(self) -> None:
        """Give the memory back."""
        self._connection.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN")
        yield
        self._connection.execute("COMMIT")

    def _begin(self) -> dict[str, Row]:
        columns = ", ".join(f"{field.name} TEXT NOT NULL" for field in fields(Row)[1:])
        self._connection.execute(f"CREATE TABLE shared_instance (name TEXT PRIMARY KEY, {columns}) WITHOUT ROWID")
        self._connection.execute(f"PRAGMA user_version = {_FORMAT}")
        return {}

    def _read(self) -> dict[str, Row]:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version != _FORMAT:
            raise sqlite3.DatabaseError(f"format {version}")
        names = ", ".join(field.name for field in fields(Row))
        return {row[0]: Row(*map(str, row)) for row in self._connection.execute(f"SELECT {names} FROM shared_instance")}

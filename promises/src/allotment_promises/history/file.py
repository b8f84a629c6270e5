# SPDX-License-Identifier: Apache-2.0
"""The file of a partition's history: SQLite in WAL mode, opened with care, set aside when it is not ours or damaged.

The partition's user owns the file and can write anything into it. So nothing in it is trusted: its schema must be
exactly ours (no triggers, no views), sizes are bounded, and a process of another user never opens it; see ``reader``.
"""

import contextlib
import fcntl
import logging
import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from allotment.errors import AllotmentError

FOLDER: Final = Path(".allotment/promises")
NAME: Final = "history.sqlite3"
FORMAT: Final = 1
_ASIDE: Final = f"{NAME}.set-aside-"  # and the number of its inode
_APPLICATION: Final = 0x616C7068  # what tells the file from another program's
_ROW_LIMIT: Final = 1 << 20  # bytes of a row or a statement
_SIZE_LIMIT: Final = 1 << 30  # bytes of a file that is opened at all
_PATIENCE: Final = 10.0  # seconds that another process may write
_SPACE: Final = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)  # how a full disk may be told
# What a database may raise; but for the first, values of other types than the tables say lead to them.
ERRORS: Final = (sqlite3.Error, TypeError, ValueError, OverflowError)
_log = logging.getLogger(__name__)

# A record is first a row of `records`. When there are enough, the oldest become one row of `chunks` and are counted in
# the `weeks`; see ``packing``. `number` counts a promise's records: their order is that of writing, whatever the clock.
_SCHEMA: Final = (
    """CREATE TABLE promises (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,
    state INTEGER NOT NULL, last INTEGER NOT NULL, period INTEGER NOT NULL,
    count INTEGER NOT NULL, packed INTEGER NOT NULL) STRICT""",
    """CREATE TABLE records (
    promise INTEGER NOT NULL, number INTEGER NOT NULL, time INTEGER NOT NULL, seconds INTEGER NOT NULL,
    state INTEGER NOT NULL, message TEXT NOT NULL, metrics TEXT NOT NULL,
    PRIMARY KEY (promise, number)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE chunks (
    promise INTEGER NOT NULL, number INTEGER NOT NULL, start INTEGER NOT NULL, until INTEGER NOT NULL,
    data BLOB NOT NULL, PRIMARY KEY (promise, number)) STRICT""",
    """CREATE TABLE weeks (
    promise INTEGER NOT NULL, week INTEGER NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (promise, week)) STRICT""",
    """CREATE TABLE streaks (
    id INTEGER PRIMARY KEY, promise INTEGER NOT NULL, start INTEGER NOT NULL, until INTEGER,
    state INTEGER NOT NULL, before INTEGER, message TEXT NOT NULL) STRICT""",
    "CREATE INDEX streaks_of ON streaks (promise, id)",
)


class HistoryError(AllotmentError):
    """The history can't be read or written now; what was written before is not touched."""


class HistoryFile:
    """Opens the file and keeps it open, in one process and one thread."""

    def __init__(self, partition: Path) -> None:
        self._folder = partition.absolute() / FOLDER
        self.path = self._folder / NAME
        self._database: sqlite3.Connection | None = None
        self._pid = 0
        self._is_writable = False
        self._inode: int | None = None

    def open(self, *, create: bool) -> sqlite3.Connection | None:
        """Return the open database; None when there is none and it is not to be made.

        What is there and is not a history is set aside. Raises :class:`HistoryError`.
        """
        if self._database is not None and self._pid == os.getpid() and (self._is_writable or not create):
            return self._database
        self.close()
        for _ in range(2):
            try:
                if not self._is_there(create=create):
                    return None
                self._database, self._pid = self._connect(create=create), os.getpid()
                return self._database
            except ERRORS as error:
                self.failed(error)
            except OSError as error:
                raise HistoryError(f"{error.filename or self.path}: {error.strerror}", _FIX) from error
        raise HistoryError(f"{self.path} is replaced by something else again and again", "Stop what writes it")

    def close(self) -> None:
        """Close; the last process that does so brings everything into the one file."""
        if self._database is not None and self._pid == os.getpid():
            with contextlib.suppress(sqlite3.Error):  # a full disk: the next one who opens it has the same to do
                self._database.close()
        self._database = None

    def failed(self, error: Exception) -> None:
        """Handle one of :data:`ERRORS`: set a damaged file aside, raise :class:`HistoryError` for all else."""
        self.close()
        if not isinstance(error, sqlite3.Error):
            self._set_aside(f"has values that make no sense ({error})")
            return
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if isinstance(error, _ForeignError) or code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            self._set_aside(str(error))
            return
        problem = "no space is left on its disk" if code in _SPACE and self._is_full() else str(error)
        raise HistoryError(f"{self.path}: {problem}", _FIX) from error

    def _is_full(self) -> bool:
        """Whether the disk has less space than SQLite's smallest file."""
        try:
            space = os.statvfs(self._folder)
        except OSError:
            return False
        return space.f_bavail * space.f_frsize < 1 << 16

    def _is_there(self, *, create: bool) -> bool:
        """Look at what is there without opening it; with ``create`` see to it that something is there."""
        if create:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        try:
            found = self.path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        self._inode = found.st_ino
        if not stat.S_ISREG(found.st_mode):
            raise _ForeignError("is not a regular file")
        if found.st_size > _SIZE_LIMIT:
            raise _ForeignError(f"has more than {_SIZE_LIMIT} bytes")
        if found.st_uid != os.geteuid():
            raise HistoryError(f"{self.path} belongs to another user", "Open it as its owner")
        return True

    def _connect(self, *, create: bool) -> sqlite3.Connection | None:
        """Return the database; None when it is empty and stays so."""
        wal = self.path.with_name(f"{NAME}-wal")
        is_all_in_one = not wal.exists() or wal.stat().st_size == 0
        if create or (os.access(self._folder, os.W_OK) and os.access(self.path, os.W_OK)):
            try:
                if create and self.path.stat().st_size == 0:
                    with _locked(self._folder):  # those who begin it at the same time wait for each other here
                        return self._connect_as("mode=rw", create=create)
                return self._connect_as("mode=rw", create=create)
            except sqlite3.OperationalError:
                if create or not is_all_in_one:
                    raise
        # Nothing can be written here, not even the files that SQLite needs beside it while a log is there.
        return self._connect_as("mode=ro&immutable=1" if is_all_in_one else "mode=ro", create=False)

    def _connect_as(self, mode: str, *, create: bool) -> sqlite3.Connection | None:
        database = sqlite3.connect(f"{self.path.as_uri()}?{mode}", uri=True, timeout=_PATIENCE, isolation_level=None)
        try:
            database.text_factory = lambda data: data.decode(errors="replace")
            for category in (sqlite3.SQLITE_LIMIT_LENGTH, sqlite3.SQLITE_LIMIT_SQL_LENGTH):
                database.setlimit(category, _ROW_LIMIT)
            database.execute("PRAGMA trusted_schema = OFF")
            database.execute("PRAGMA cell_size_check = ON")
            # A kill loses nothing; a power cut may lose the last minutes, and never the file.
            database.execute("PRAGMA synchronous = NORMAL")
            if _is_history(database, create=create):
                self._is_writable = mode == "mode=rw"
                return database
            database.close()
            return None
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                database.close()
            raise

    def _set_aside(self, problem: str) -> None:
        """Rename the file, unless another process has done so already; of such files the newest is kept."""
        aside = self.path.with_name(f"{_ASIDE}{self._inode}")
        try:
            with _locked(self._folder):
                if self.path.lstat().st_ino != self._inode:
                    return
                for path in self._folder.glob(f"{_ASIDE}*"):
                    with contextlib.suppress(IsADirectoryError, PermissionError):  # a folder, which is not ours
                        path.unlink()
                # What belongs to it first: a new file must never find it.
                for suffix in ("-wal", "-shm"):
                    with contextlib.suppress(FileNotFoundError):
                        self.path.with_name(NAME + suffix).rename(aside.with_name(aside.name + suffix))
                self.path.rename(aside)
        except FileNotFoundError:
            return
        except OSError as error:
            raise HistoryError(f"{self.path} {problem}, and can't be set aside: {error.strerror}", _FIX) from error
        _log.warning("%s: %s; it is now %s, and a new history begins", self.path, problem, aside.name)


class _ForeignError(sqlite3.DatabaseError):
    """What is there is not a history of this format."""


_FIX: Final = "Give the partition space, and its user its folder"


def _is_history(database: sqlite3.Connection, *, create: bool) -> bool:
    """See that the schema is ours, and nothing else; make it in an empty file, or return False."""
    if database.execute("PRAGMA user_version").fetchone()[0] == 0 and not _schema(database):
        if not create:
            return False
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("BEGIN IMMEDIATE")
        if not _schema(database):  # else another process was faster
            for statement in _SCHEMA:
                database.execute(statement)
            database.execute(f"PRAGMA application_id = {_APPLICATION}")
            database.execute(f"PRAGMA user_version = {FORMAT}")
        database.execute("COMMIT")
    if database.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION:
        raise _ForeignError("is not a history of promises")
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if version != FORMAT:
        raise _ForeignError(f"has format {version}, and this version reads {FORMAT}")
    if _schema(database) != sorted(_SCHEMA):
        raise _ForeignError("has tables of its own")
    return True


def _schema(database: sqlite3.Connection) -> list[str]:
    rows = database.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL LIMIT 100").fetchall()
    return sorted(str(sql) for (sql,) in rows)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)

# SPDX-License-Identifier: Apache-2.0
"""Threads for what would block the reactor: SQL, git, disk, the master."""

from collections.abc import Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar

import sqlalchemy
from twisted.internet.interfaces import IReactorThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from allotment_master.kit.database import Database

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")
DATABASE_THREADS = 3  # leases never queue behind git or a large blob; more threads fight for the interpreter's lock
OTHER_THREADS = 8


class Workers(Protocol):
    """Where blocking calls run."""

    async def read(
        self, call: Callable[Concatenate[sqlalchemy.Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run ``call(connection, ...)`` in a reading transaction."""
        ...

    async def write(
        self, call: Callable[Concatenate[sqlalchemy.Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run ``call(connection, ...)`` in a writing transaction, committed when it returns."""
        ...

    async def prepared_write(
        self,
        prepare: Callable[[], R],
        call: Callable[Concatenate[sqlalchemy.Connection, R, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run ``prepare()``, as :meth:`blocking` does, and at once ``call`` with what it has returned, to write."""
        ...

    async def blocking(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``call(...)``: git, disk, the master."""
        ...


class ThreadWorkers:
    """Two thread pools; what is submitted to either is awaited in the reactor's thread."""

    def __init__(self, reactor: IReactorThreads, database: Database) -> None:
        self._reactor = reactor
        self._database = database
        self._quick = ThreadPool(1, DATABASE_THREADS, "database")
        self._slow = ThreadPool(0, OTHER_THREADS, "blocking")

    def start(self) -> None:
        """Start the threads."""
        self._quick.start()
        self._slow.start()

    def stop(self) -> None:
        """Wait for what is running and end the threads."""
        self._quick.stop()
        self._slow.stop()

    async def read(
        self, call: Callable[Concatenate[sqlalchemy.Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        def transaction() -> T:
            with self._database.read() as connection:
                return call(connection, *args, **kwargs)

        return await deferToThreadPool(self._reactor, self._quick, transaction)

    async def write(
        self, call: Callable[Concatenate[sqlalchemy.Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        def transaction() -> T:
            with self._database.write() as connection:
                return call(connection, *args, **kwargs)

        return await deferToThreadPool(self._reactor, self._quick, transaction)

    async def prepared_write(
        self,
        prepare: Callable[[], R],
        call: Callable[Concatenate[sqlalchemy.Connection, R, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        def transaction() -> T:
            prepared = prepare()  # before the transaction: on SQLite others would wait for its end
            with self._database.write() as connection:
                return call(connection, prepared, *args, **kwargs)

        return await deferToThreadPool(self._reactor, self._slow, transaction)

    async def blocking(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await deferToThreadPool(self._reactor, self._slow, call, *args, **kwargs)

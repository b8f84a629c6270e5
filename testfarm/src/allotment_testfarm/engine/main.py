# SPDX-License-Identifier: Apache-2.0
"""The engine as a program: its parts put together, run until SIGTERM."""

import fcntl
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.python.failure import Failure

from allotment import atomic
from allotment.blobs import BlobStore
from allotment.client import MasterClient
from allotment.errors import AllotmentError
from allotment.plugins import plugins
from allotment.program import FolderLock
from allotment_master.kit.database import Database
from allotment_testfarm import verdicts
from allotment_testfarm.db import projects
from allotment_testfarm.db.projects import Project
from allotment_testfarm.discovery import Discovery, Release
from allotment_testfarm.engine import log_lines
from allotment_testfarm.engine.cache_offer import cache_offer
from allotment_testfarm.engine.cron import Cron
from allotment_testfarm.engine.duties import AllDuties, Duties, SharedDuties
from allotment_testfarm.engine.hints import Hints
from allotment_testfarm.engine.http import Connections, WireSite
from allotment_testfarm.engine.leases import Leases
from allotment_testfarm.engine.logs import LogSink
from allotment_testfarm.engine.naming import own
from allotment_testfarm.engine.nightly_schedule import NightlySchedule
from allotment_testfarm.engine.offers import Offers, to_master
from allotment_testfarm.engine.poll import GitPoll
from allotment_testfarm.engine.results import Results, Signer
from allotment_testfarm.engine.retention import Retention, Sweep
from allotment_testfarm.engine.settings import Settings, node_token
from allotment_testfarm.engine.sources import Sources
from allotment_testfarm.engine.wire_server import Wire
from allotment_testfarm.engine.workers import ThreadWorkers
from allotment_testfarm.git import Mirror
from allotment_testfarm.hints import PIPE

PACKAGE = "allotment_testfarm"  # whose migrations make the database
NAME = "engine"  # of the ready file and the lock
HOST = "127.0.0.1"
STOP = 8.0  # seconds that a stop may take
_log = logging.getLogger(__name__)


def run_engine(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT; ``<folder>/engine.json`` exists while test nodes are heard.

    That and the lock begin with the engine's name where it has one.
    """
    with FolderLock(settings.folder, own(settings.name, f"{NAME}.lock")):
        database = Database(settings.database_url)
        try:
            database.upgrade(PACKAGE)
            _run(settings, database)
        finally:
            database.close()


def _run(settings: Settings, database: Database) -> None:
    from twisted.internet import reactor

    log_lines.begin()
    Engine(reactor, settings, database).run()


class Engine:
    """All services of one project; ``reactor`` is Twisted's."""

    def __init__(self, reactor: Any, settings: Settings, database: Database) -> None:
        self._reactor = reactor
        self._settings = settings
        self._database = database
        self._ready = settings.folder / own(settings.name, f"{NAME}.json")
        self._workers = ThreadWorkers(reactor, database)
        self._logs = LogSink(settings.folder)
        self._blobs = BlobStore(settings.folder / "blobs")
        self._mirror = Mirror(
            settings.folder / "mirrors" / f"{settings.project}.git", settings.repository, settings.branch
        )
        self._rules = verdicts.rules(plugins())
        self._leases = Leases(reactor, self._workers, self._logs, self._rules, settings.terms, settings.name)
        self._shared = None if settings.is_sqlite else SharedDuties(reactor, self._workers, settings.name or NAME)
        self._duties: Duties = self._shared or AllDuties()
        self._client = MasterClient(settings.master, settings.master_token()) if settings.master else None
        self._hints = Hints(reactor, settings.folder / own(settings.name, PIPE), self._leases.hint)
        self._others: list[Service] = []
        self._wire: Wire | None = None
        self._port: IListeningPort | None = None
        self._connections: Connections | None = None
        self._problem: BaseException | None = None
        self._is_ending = False

    def run(self) -> None:
        """Run until a signal; a failed start is raised."""
        self._reactor.callWhenRunning(self._begin)
        self._reactor.addSystemEventTrigger("before", "shutdown", lambda: Deferred.fromCoroutine(self._stop()))
        self._reactor.run()
        if self._problem is not None:
            raise self._problem

    def _begin(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):  # in place of Twisted's, which fail when there are two
            signal.signal(number, lambda *_: self._reactor.callFromThread(self._end))
        self._workers.start()
        Deferred.fromCoroutine(self._start()).addErrback(self._give_up)

    def _give_up(self, failure: Failure) -> None:
        self._problem = failure.value
        self._end()

    def _end(self) -> None:
        if not self._is_ending:
            self._is_ending = True
            self._reactor.stop()

    async def _start(self) -> None:
        settings = self._settings
        signer = await self._workers.blocking(self._prepare)
        now = self._reactor.seconds()
        project = await self._workers.write(projects.ensure, settings.project, self._mirror.shown, settings.branch, now)
        await self._leases.resume()
        offers = self._offers()
        results = Results(
            self._reactor,
            self._workers,
            self._blobs,
            self._logs,
            signer,
            self._rules,
            settings.terms,
            log_of=self._leases.log_of,
            on_end=self._leases.ended,
            on_manifest=offers.wake if offers else lambda: None,
        )
        sources = Sources(settings.folder / "sources" / (settings.name or NAME), self._mirror)
        offered = partial(cache_offer, settings.folder, settings.name)
        self._wire = Wire(self._workers, project.id, self._leases, results, self._logs, self._blobs, sources, offered)
        self._listen(self._wire)
        nightly = await self._nightly(project)
        self._others = [self._poll(project, nightly), self._retention(), *([offers] if offers else [])]
        for service in (self._leases, *self._others):
            service.startService()
        self._hints.start()

    def _prepare(self) -> Signer:
        """Make the key and the folders that have to be there."""
        from allotment_recipes.signing import load_or_create_key

        folder = self._settings.folder
        (folder / "temporary").mkdir(exist_ok=True)
        with (folder / "secrets.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # several engines that start at once make one key
            key = load_or_create_key(folder / "signing.key")
            atomic.write_bytes(folder / "signing.pub", key.public.encode() + b"\n")
        node_token(folder)
        return key

    def _offers(self) -> Offers | None:
        if self._client is None:
            return None
        return Offers(self._reactor, self._workers, to_master(self._client, self._blobs), self._duties)

    def _retention(self) -> Retention:
        settings = self._settings
        sweep = Sweep(self._database, settings.folder, self._logs, settings.keep)
        return Retention(self._reactor, self._workers, sweep, self._duties)

    async def _nightly(self, project: Project) -> NightlySchedule | None:
        """Say when the nightly is, or that there is none."""
        settings = self._settings
        cron = Cron(settings.nightly, settings.time_zone) if settings.nightly else None
        following = cron.after(self._reactor.seconds()) if cron else None
        await self._workers.write(projects.set_nightly, project.id, str(cron or ""), following)
        if cron is None:
            return None
        return NightlySchedule(self._reactor, self._workers, project, cron, self._find(), self._leases.notice)

    def _find(self) -> Callable[[str], tuple[Release, ...]]:
        return Discovery(self._mirror, self._settings.job_timeout, self._settings.releases).find

    def _poll(self, project: Project, nightly: NightlySchedule | None) -> GitPoll:
        return GitPoll(
            self._reactor,
            self._workers,
            project,
            self._mirror,
            self._find(),
            on_jobs=self._leases.notice,
            rules=self._rules,
            duties=self._duties,
            nightly=nightly,
            interval=self._settings.poll,
        )

    def _listen(self, wire: Wire) -> None:
        site = WireSite(wire, node_token(self._settings.folder), self._settings.folder / "temporary")
        self._connections = Connections(site)
        try:
            port = self._reactor.listenTCP(self._settings.port, self._connections, interface=HOST)
        except CannotListenError as error:
            raise AllotmentError(
                f"{HOST}:{self._settings.port} can't be served: {error.socketError}", "Take another --wire-port, or 0"
            ) from error
        self._port = port
        url = f"http://{HOST}:{port.getHost().port}"
        document = {"format": 1, "pid": os.getpid(), "url": url}
        atomic.write_bytes(self._ready, json.dumps(document).encode())
        _log.info("the wire is at %s", url)

    async def _stop(self) -> None:
        """Answer what was asked, let what runs end; a call that does not return must not keep the engine."""
        threading.Thread(target=_exit_at_last, daemon=True).start()
        self._ready.unlink(missing_ok=True)
        self._hints.stop()
        if self._port is not None:
            await maybeDeferred(self._port.stopListening)
        if self._leases.running:
            await maybeDeferred(self._leases.stopService)
        if self._wire is not None:
            await self._wire.finish()
        if self._connections is not None:
            await self._connections.close()
        if self._client is not None:
            self._client.close()
        for service in self._others:
            if service.running:
                await maybeDeferred(service.stopService)
        if self._shared is not None and self._others:
            try:
                await self._shared.release()
            except Exception:  # the database is away
                _log.warning("the duties of this engine fall to another one when their time is over")
        self._workers.stop()
        _log.info("stopped")


def _exit_at_last() -> None:
    """Everything that matters is in the database and on disk; a fetch or a silent master is not waited for."""
    time.sleep(STOP)
    _log.warning("something did not end in %.0f s and is cut off", STOP)
    if os.getpgrp() == os.getpid():  # the group is the engine's own, and the engine itself is past this signal
        os.killpg(0, signal.SIGTERM)
    os._exit(0)

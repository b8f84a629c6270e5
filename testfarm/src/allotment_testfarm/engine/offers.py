# SPDX-License-Identifier: Apache-2.0
"""Offering signed manifests to the master, again and again until it has accepted each, also after a restart."""

from collections.abc import Callable

import sqlalchemy
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from allotment.blobs import BlobStore
from allotment.client import MasterClient
from allotment.errors import AllotmentError
from allotment_testfarm.db import events, manifests
from allotment_testfarm.db.manifests import StoredManifest
from allotment_testfarm.engine.duties import Duties
from allotment_testfarm.engine.repeating import RepeatingService
from allotment_testfarm.engine.workers import Workers

Offer = Callable[[StoredManifest], None]  # blocks; raises AllotmentError or OSError when that is not possible


class Offers(RepeatingService):
    """Offers what has not been accepted, at once after :meth:`wake` and every ``interval`` seconds."""

    _log = Logger()

    def __init__(
        self, clock: IReactorTime, workers: Workers, offer: Offer, duties: Duties, interval: float = 5.0
    ) -> None:
        super().__init__(clock, self._round, interval)
        self._clock = clock
        self._workers = workers
        self._offer = offer
        self._duties = duties
        self._is_running = False
        self._is_wanted = False

    def wake(self) -> None:
        """There is a new manifest."""
        if self.running:
            Deferred.fromCoroutine(self._guarded())

    async def _round(self) -> None:
        """Offer everything that is due; a call while another runs makes that one look again."""
        if self._is_running:
            self._is_wanted = True
            return
        self._is_running = True
        try:
            self._is_wanted = True
            while self._is_wanted and self.running and await self._duties.mine("offers"):
                self._is_wanted = False
                for manifest in await self._workers.read(manifests.to_offer):
                    await self._offer_one(manifest)
        finally:
            self._is_running = False

    async def _offer_one(self, manifest: StoredManifest) -> None:
        try:
            await self._workers.blocking(self._offer, manifest)
            problem = ""
            self._log.info("the master has accepted {name} {sha}", name=manifest.name, sha=manifest.sha256[:12])
        except (AllotmentError, OSError) as error:  # OSError: the closure is gone or can't be read
            problem = str(error)
            if problem != manifest.problem:
                self._log.warn(
                    "{name} not offered, next try in {s} s: {problem}",
                    name=manifest.name,
                    s=self._interval,
                    problem=problem,
                )
        await self._workers.write(_note, manifest, self._clock.seconds(), problem)


def to_master(client: MasterClient, blobs: BlobStore) -> Offer:
    """Return the offer that uploads a manifest and the closure that it names."""

    def offer(manifest: StoredManifest) -> None:
        closure = manifest.signed.manifest.closure.sha256
        client.put_blob(blobs.path(closure), closure)
        client.put_manifest(manifest.signed)

    return offer


def _note(connection: sqlalchemy.Connection, manifest: StoredManifest, now: float, problem: str) -> None:
    if problem == manifest.problem and problem:
        return
    manifests.note_offer(connection, manifest.sha256, now, problem)
    if not problem:
        events.record(connection, now, "manifest.offered", f"manifest/{manifest.sha256}", {"release": manifest.name})

# SPDX-License-Identifier: Apache-2.0
"""Taking results: an attempt ends, its job is judged, and what passed is signed, all in one transaction."""

import hashlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import sqlalchemy
from twisted.internet.interfaces import IReactorTime

from allotment.blobs import BlobStore
from allotment.codec import dumps
from allotment.errors import RefusedError
from allotment.messages.job import Outcome
from allotment.messages.manifest import ReleaseManifest, SignedManifest
from allotment_testfarm.db import events, jobs, leases, manifests
from allotment_testfarm.db.jobs import JobSummary
from allotment_testfarm.db.leases import Ended, LeaseTerms, StaleLeaseError
from allotment_testfarm.engine.judging import judge_jobs
from allotment_testfarm.engine.logs import LogSink
from allotment_testfarm.engine.proving import prove_waiting
from allotment_testfarm.engine.workers import Workers
from allotment_testfarm.verdicts import Colour, Rule
from allotment_testfarm.wire import JobResult

_log = logging.getLogger(__name__)  # Twisted's own makes a new logger for each line


class Signer(Protocol):
    """The farm's key."""

    def sign(self, manifest: ReleaseManifest, /) -> SignedManifest:
        """Return the manifest with the farm's signature."""
        ...


@dataclass(frozen=True)
class Accepted:
    """What a result has led to."""

    ended: Ended
    is_signed: bool  # there is a new manifest to offer


class Results:
    """Records results; ``on_end`` is called with each attempt that has ended, ``on_manifest`` when there is one."""

    def __init__(
        self,
        clock: IReactorTime,
        workers: Workers,
        blobs: BlobStore,
        logs: LogSink,
        signer: Signer,
        rules: Sequence[Rule],
        terms: LeaseTerms,
        log_of: Callable[[int, int], Awaitable[str]],
        on_end: Callable[[Ended], None],
        on_manifest: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._workers = workers
        self._blobs = blobs
        self._logs = logs
        self._signer = signer
        self._rules = rules
        self._terms = terms
        self._log_of = log_of  # path of a live lease's log, by its id and fencing
        self._on_end = on_end
        self._on_manifest = on_manifest

    async def accept(self, lease: int, result: JobResult) -> None:
        """End an attempt; the same result again changes nothing. A stale lease is a StaleLeaseError."""
        try:
            log = await self._log_of(lease, result.fencing)
        except StaleLeaseError:  # or the same result again
            log = await self._workers.read(leases.check_or_ended, lease, result.fencing)
        accepted = await self._workers.prepared_write(lambda: self._prepare(log, result), self._record, lease, result)
        if accepted is None:
            return
        ended = accepted.ended
        _log.info("job %s: %s %s", ended.job, ended.outcome.value, result.reason)
        self._on_end(ended)
        if accepted.is_signed:
            self._on_manifest()

    def _prepare(self, log: str, result: JobResult) -> int:
        """Check what the result refers to, force the log to the disk and return its size."""
        if result.manifest is not None and result.manifest.closure.sha256 not in self._blobs:
            raise RefusedError(
                f"the manifest's closure {result.manifest.closure.sha256} is not here", "Upload the blob first", 422
            )
        return self._logs.seal(log)

    def _record(
        self, connection: sqlalchemy.Connection, log_size: int, lease: int, result: JobResult
    ) -> Accepted | None:
        now = self._clock.seconds()
        ended = leases.finish(
            connection,
            lease,
            result.fencing,
            result.outcome,
            result.reason,
            now,
            self._terms,
            digest=hashlib.sha256(dumps(result)).hexdigest(),
            steps=result.steps,
            cases=result.cases,
            parts=result.parts,
            promises=result.promises,
            log_bytes=log_size,
            is_given_back=result.given_back,
            manifest=None if result.manifest is None else result.manifest.sha256,
        )
        if ended is None:
            return None
        if ended.is_done:
            judge_jobs(connection, (ended.job,), self._rules, now, {ended.job: result.cases})
        is_signed = self._sign(connection, ended, result.manifest, now)
        if ended.is_done:
            prove_waiting(connection, self._rules, now, by=ended.job)
        return Accepted(ended, is_signed)

    def _sign(
        self, connection: sqlalchemy.Connection, ended: Ended, manifest: ReleaseManifest | None, now: float
    ) -> bool:
        """Sign what a green job has built, unless :func:`_objection` says why not."""
        if manifest is None or ended.outcome is not Outcome.PASSED:
            return False
        job = jobs.get(connection, ended.job)
        if job is None or job.verdict is None or job.verdict.colour is not Colour.GREEN:  # a rule has its own opinion
            return False
        subject = f"manifest/{manifest.sha256}"
        if objection := _objection(connection, job, manifest):
            events.record(connection, now, "manifest.refused", subject, {"job": job.id, "reason": objection})
            return False
        if not manifests.add(connection, self._signer.sign(manifest), ended.attempt, now):
            return False
        events.record(connection, now, "manifest.signed", subject, {"job": job.id, "release": manifest.name})
        return True


def _objection(connection: sqlalchemy.Connection, job: JobSummary, manifest: ReleaseManifest) -> str:
    """Return why a green job's manifest is not to be signed; "" when it is.

    For a master the manifest that came last is the release's newest, so one of an older revision must not come late.
    """
    if manifest.name != job.release:
        return f"it is called {manifest.name}, the release {job.release}"
    if newer := jobs.newer_green(connection, job.id):
        return f"job {newer} has proved a newer revision of {job.release} already"
    return ""

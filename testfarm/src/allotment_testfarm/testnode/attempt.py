# SPDX-License-Identifier: Apache-2.0
"""One lease, from the source to the accepted result, over connections that may break and an engine that may restart."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from allotment.blobs import BlobStore
from allotment.errors import AllotmentError, RefusedError, UnreachableError
from allotment.messages.job import Lease, Outcome
from allotment.messages.manifest import ReleaseManifest
from allotment_recipes.revision_files import unpack_revision
from allotment_testfarm.testnode import scratch as scratch_folder
from allotment_testfarm.testnode.guarded import GuardedJob
from allotment_testfarm.testnode.host import HostFigures
from allotment_testfarm.testnode.patience import Patience
from allotment_testfarm.testnode.reporter import Reporter
from allotment_testfarm.testnode.scratch import Scratch
from allotment_testfarm.testnode.sharing import Sharing
from allotment_testfarm.testnode.wire_client import WireClient
from allotment_testfarm.wire import Heartbeat, JobResult

_log = logging.getLogger(__name__)
_FETCH_SECONDS = 60.0  # after which an engine that is away is told, once it is back, that the job could not begin
_BEAT_SECONDS = 1.0  # for which an answer to a heartbeat is waited at least
_LOST = (404, 409, 410)  # statuses that say that the lease is another's now
_KEEPS_PARTS = "release"  # the kind of job whose parts are in the test node's store afterwards
_REFUSED = "the engine refused the result"


class Attempt:
    """Works on one lease; :meth:`run` returns when the engine has accepted or refused the result.

    Three ends come from outside: the lease is *lost* (another test node has it: everything stops, nothing more is
    said), the job is *cancelled*, or this test node gives the job *back* because it stops.
    """

    def __init__(
        self,
        wire: WireClient,
        lease: Lease,
        node: Path,
        heartbeat: float,
        look: Callable[[], tuple[HostFigures, str]],
        memory: int,
        sharing: Sharing | None = None,
    ) -> None:
        """``node`` is the test node's folder; ``look`` tells how the machine is, and why it takes no other job.

        ``memory`` is how many bytes the job may use, ``sharing`` the way to the farm's binary cache.
        """
        self.lease = lease
        self.folder = node / "jobs" / f"{lease.id}-{lease.fencing}"
        self._wire = wire
        self._node = node
        self._look = look
        self._memory = memory
        self._sharing = sharing
        self._proved: ReleaseManifest | None = None  # by a job that has passed, as the engine knows
        self._heartbeat = max(0.05, min(heartbeat, lease.seconds / 3))  # seconds between two
        self._over = threading.Event()  # the result is settled, or will never be
        self._hurry = threading.Event()  # the job is to end at once
        self._verdict: tuple[Outcome, str] | None = None  # why it was ended from outside
        self._is_given_back = False
        self._lost = threading.Event()
        self._job: GuardedJob | None = None
        self._guard = threading.Lock()  # of the four above

    def run(self) -> None:
        """Do the whole attempt. What goes wrong on this machine becomes an ``infrastructure`` result."""
        lease = self.lease
        _log.info("lease %d: %s at %.12s, attempt %d", lease.id, lease.job.release, lease.job.revision, lease.attempt)
        beat = threading.Thread(target=self._beat, name=f"heartbeat-{lease.id}", daemon=True)
        beat.start()
        try:
            outcome = self._work()
        finally:
            self._over.set()
            beat.join()
            scratch_folder.remove(self.folder)
        _log.info("lease %d: %s", lease.id, outcome)
        if self._proved is not None and self._sharing is not None and lease.job.kind == _KEEPS_PARTS:
            self._sharing.give(self._proved)

    def give_back(self, why: str) -> None:
        """End the job at once and tell the engine that it was not the software's fault."""
        self._end(Outcome.INFRASTRUCTURE, why, is_given_back=True)

    def abandon(self) -> None:
        """End the job at once and say nothing more."""
        self._lost.set()
        self._end(Outcome.LOST, "the lease is lost")

    def _end(self, outcome: Outcome, why: str, *, is_given_back: bool = False) -> None:
        with self._guard:
            if self._verdict is None:
                self._verdict = (outcome, why)
                self._is_given_back = is_given_back
                _log.info("lease %d: %s", self.lease.id, why)
            self._hurry.set()
            if self._job is not None:
                self._job.kill()

    def _work(self) -> str:
        try:
            scratch = scratch_folder.create(self.folder)
            self._fetch_source(scratch)
        except (AllotmentError, OSError) as error:
            reason = f"the job could not be prepared: {error}"
            return self._settle(self._judged(JobResult(0, Outcome.INFRASTRUCTURE, reason)), None)
        caches = self._sharing.caches() if self._sharing is not None else ()
        job = GuardedJob(
            self.lease.job, scratch.source, scratch, self._node / "sources", self._memory, caches=caches
        )  # fmt: skip
        reporter = Reporter(self._wire, self.lease, scratch.log, job.progress, self._lost, self.abandon)
        try:
            with self._guard:
                if self._verdict is None:
                    self._job = job
                    job.start()
            ended = job.wait() if self._job is not None else "stopped"
            result = self._judged(job.result(ended))
        except OSError as error:
            result = self._judged(JobResult(0, Outcome.INFRASTRUCTURE, f"the job could not be run: {error}"))
        reporter.finish(self._patience())
        return self._settle(result, job.report.closure)

    def _fetch_source(self, scratch: Scratch) -> None:
        """Download and unpack the revision's files; an engine that starts again is waited for."""
        archive = scratch.folder / "source.tar"
        patience = self._patience()
        deadline = time.monotonic() + _FETCH_SECONDS
        while True:
            try:
                self._wire.source(self.lease.job.revision, archive)
                break
            except UnreachableError:
                if time.monotonic() > deadline or not patience.pause():
                    raise
        unpack_revision(archive, scratch.source, self.lease.job.revision)

    def _judged(self, result: JobResult) -> JobResult:
        """Return the result with what was decided outside of the job, if anything was."""
        result = replace(result, fencing=self.lease.fencing)
        if self._verdict is None:
            return result
        outcome, why = self._verdict
        steps = tuple(replace(step, outcome=outcome) if step.outcome is None else step for step in result.steps)
        judged = replace(result, outcome=outcome, reason=why, steps=steps, cases=(), manifest=None)
        return replace(judged, given_back=self._is_given_back)

    def _settle(self, result: JobResult, closure: Path | None) -> str:
        """Send the result until it is accepted or refused; return what to write to the log."""
        patience = self._patience()
        while not self._lost.is_set():
            try:
                if result.manifest is not None and closure is not None:
                    self._upload(result.manifest.closure.sha256, closure)
                self._wire.result(self.lease.id, result)
                self._proved = result.manifest if result.outcome is Outcome.PASSED else None
                return f"{result.outcome}{f': {result.reason}' if result.reason else ''}"
            except RefusedError as error:
                if error.status in _LOST or result.reason.startswith(_REFUSED):
                    return f"{result.outcome}, which the engine refused: {error}"
                # It is this result that the engine can't take; without a word the job would be run again and again.
                result = JobResult(self.lease.fencing, Outcome.INFRASTRUCTURE, f"{_REFUSED}: {error}")
            except UnreachableError as error:
                _log.warning("lease %d: result not delivered yet: %s", self.lease.id, error)
                if not patience.pause():
                    return f"{result.outcome}, which could not be delivered"
            except (AllotmentError, OSError) as error:  # the closure on this disk, not the engine
                reason = f"the closure can't be read: {error}"
                result = replace(result, outcome=Outcome.INFRASTRUCTURE, reason=reason, manifest=None)
        return "the lease is lost"

    def _upload(self, sha256: str, closure: Path) -> None:
        """Upload the closure after checking that it is what the manifest names."""
        store = BlobStore(self.folder / "upload")
        store.add(closure, sha256)
        self._wire.put_blob(sha256, store.path(sha256))

    def _patience(self) -> Patience:
        """Return a back-off that ends early when the lease is lost or the test node stops."""
        return Patience(self._hurry)

    def _beat(self) -> None:
        """Renew the lease until the attempt is over; learn from the answers that it was lost or cancelled."""
        # A connection may be dead without a word: what waits for it must not outlive the lease.
        patience = max(self._heartbeat, _BEAT_SECONDS)
        while not self._over.wait(self._heartbeat):
            try:
                figures, refuses = self._look()
                heartbeat = Heartbeat(self.lease.fencing, figures.load, figures.memory_free, figures.disk_free, refuses)
                if self._wire.heartbeat(self.lease.id, heartbeat, patience).cancel:
                    self._end(Outcome.CANCELLED, "cancelled")
            except RefusedError as error:
                if error.status in _LOST:
                    self.abandon()
                    return
                _log.warning("lease %d: heartbeat refused: %s", self.lease.id, error)
            except (AllotmentError, OSError) as error:
                _log.warning("lease %d: heartbeat failed: %s", self.lease.id, error)

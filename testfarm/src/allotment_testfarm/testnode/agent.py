# SPDX-License-Identifier: Apache-2.0
"""The test node: one process per folder that dials the engine, takes leases and works on as many as it has slots."""

import json
import logging
import os
import threading
from pathlib import Path

from allotment import __version__
from allotment.atomic import write_bytes
from allotment.errors import AllotmentError, RefusedError, UnreachableError
from allotment.messages.job import Lease
from allotment.plugins import plugins
from allotment.program import FolderLock
from allotment_testfarm.testnode import host, scratch
from allotment_testfarm.testnode.attempt import Attempt
from allotment_testfarm.testnode.environment import environment
from allotment_testfarm.testnode.patience import Patience
from allotment_testfarm.testnode.wire_client import WireClient
from allotment_testfarm.wire import LeaseRequest, NodeHello

_log = logging.getLogger(__name__)
_LEASE_WAIT = 20.0  # seconds of one long poll
_GIVE_BACK_SECONDS = 15.0  # what giving jobs back may take at most


class TestNode:
    """Call :meth:`run` on any thread, and :meth:`stop` from a signal handler or another thread."""

    __test__ = False  # not a class of tests

    def __init__(self, folder: Path, wire: WireClient, name: str, slots: int = 1, grace: float = 5.0) -> None:
        """``grace`` is how many seconds jobs get to end by themselves when the test node is told to stop."""
        self.folder = folder
        self._wire = wire
        self._name = name
        self._slots = slots
        self._grace = grace
        self._stopping = threading.Event()
        self._attempts: set[Attempt] = set()
        self._changed = threading.Condition()
        self._environment: dict[str, str] = {}  # as at the start: what is installed later counts after a restart
        self._heartbeat = 0.0  # seconds, as the engine said; 0 before it has
        self._kinds = tuple(kind.name for kind in plugins().items("allotment_job_kinds"))

    def stop(self) -> None:
        """Take no more leases; :meth:`run` returns once the running jobs have ended or were given back."""
        self._stopping.set()

    def run(self) -> None:
        """Work until :meth:`stop`. A token that the engine refuses at the start is an error; later it is waited for."""
        with FolderLock(self.folder, "lock"):
            for name in scratch.sweep(self.folder / "jobs"):
                _log.info("removed the scratch folder of lease %s, which an earlier process left", name)
            ready = self.folder / "test-node.json"
            ready.unlink(missing_ok=True)
            if not self._introduce():
                return
            self._announce(ready)
            for slot in range(self._slots):
                # Daemons: a slot that waits for a lease has nothing to lose when the process ends.
                threading.Thread(target=self._take_leases, name=f"slot-{slot}", daemon=True).start()
            self._stopping.wait()
            self._drain()
            ready.unlink(missing_ok=True)

    def _introduce(self) -> bool:
        """Say hello until the engine answers; False when told to stop first."""
        patience = Patience(self._stopping)
        while not self._stopping.is_set():
            try:
                self._hello()
                return True
            except UnreachableError as error:
                _log.warning("%s", error)
                patience.pause()
        return False

    def _hello(self) -> None:
        self._environment = self._environment or environment()
        hello = NodeHello(self._name, host.platform(), self._slots, __version__, self._environment)
        self._heartbeat = self._wire.hello(hello).heartbeat
        _log.info("joined %s as %s", self._wire.url, self._name)

    def _announce(self, ready: Path) -> None:
        data = {"format": 1, "pid": os.getpid(), "url": self._wire.url, "name": self._name}
        write_bytes(ready, json.dumps(data).encode())

    def _take_leases(self) -> None:
        """What one slot does until the process ends."""
        patience = Patience(self._stopping)
        greeted = True
        while not self._stopping.is_set():
            try:
                if not greeted:
                    self._hello()
                    greeted = True
                lease = self._wire.lease(LeaseRequest(self._name, _LEASE_WAIT, self._kinds))
                patience.reset()
            except (UnreachableError, RefusedError) as error:  # refused: a new token, an engine that forgot us
                _log.warning("no lease: %s", error)
                greeted = False
                patience.pause()
                continue
            except AllotmentError as error:  # a lease that this version does not understand
                _log.error("no lease: %s", error)
                patience.pause()
                continue
            if lease is not None:
                self._work_on(lease)

    def _work_on(self, lease: Lease) -> None:
        attempt = Attempt(self._wire, lease, self.folder, self._heartbeat)
        with self._changed:
            self._attempts.add(attempt)
            if self._stopping.is_set():
                attempt.give_back(f"test node {self._name} is stopping")
        try:
            attempt.run()
        except Exception:  # the slot must survive; the engine sees the lease expire
            _log.exception("lease %d: a bug in the test node", lease.id)
        finally:
            with self._changed:
                self._attempts.discard(attempt)
                self._changed.notify_all()

    def _drain(self) -> None:
        _log.info("stopping: %d jobs running", len(self._attempts))
        if self._wait_idle(self._grace):
            return
        with self._changed:
            for attempt in self._attempts:
                attempt.give_back(f"test node {self._name} was stopped")
        self._wait_idle(_GIVE_BACK_SECONDS)

    def _wait_idle(self, seconds: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self._attempts, seconds)

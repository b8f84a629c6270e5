# SPDX-License-Identifier: Apache-2.0
"""The test node: one process per folder that dials the engine, takes leases and works on as many as it has slots."""

import json
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

from allotment import __version__
from allotment.atomic import write_bytes
from allotment.errors import AllotmentError, RefusedError, UnreachableError
from allotment.messages.job import Lease
from allotment.program import FolderLock
from allotment_testfarm.testnode import host, scratch
from allotment_testfarm.testnode.attempt import Attempt
from allotment_testfarm.testnode.guarded import most_memory
from allotment_testfarm.testnode.host import HostFigures, Wanted
from allotment_testfarm.testnode.kept_parts import KeptParts
from allotment_testfarm.testnode.patience import Patience
from allotment_testfarm.testnode.sharing import Sharing
from allotment_testfarm.testnode.surroundings import Surroundings
from allotment_testfarm.testnode.wire_client import WireClient
from allotment_testfarm.wire import LeaseRequest, NodeHello

_log = logging.getLogger(__name__)
_LEASE_WAIT = 20.0  # seconds of one long poll
_LOOK_AGAIN = 5.0  # seconds after which a test node that refuses jobs looks whether it still has to
_SAY_SECONDS = 2.0  # what telling the engine of a stop may take at most
_GIVE_BACK_SECONDS = 15.0  # what giving jobs back may take at most
_STOPPING = "is stopping"


class TestNode:
    """Call :meth:`run` on any thread, and :meth:`stop` on another one."""

    __test__ = False  # not a class of tests

    def __init__(
        self,
        folder: Path,
        wire: WireClient,
        name: str,
        slots: int = 1,
        grace: float = 60.0,
        wanted: Wanted | None = None,
        job_memory: int | None = None,
        measure: Callable[[Path], HostFigures] = host.measure,
        surroundings: Surroundings | None = None,
        keep_parts: float = 14.0,
        sharing: Sharing | None = None,
    ) -> None:
        """``grace`` is how many seconds jobs get to end by themselves when the test node is told to stop.

        ``job_memory`` is how many bytes a job may use; by default all share nine tenths of the machine's.
        ``keep_parts`` is for how many days a built part stays that no job asks for; ``sharing`` gives parts to others.
        """
        self.folder = folder
        self._wire = wire
        self._name = name
        self._slots = slots
        self._grace = grace
        self._wanted = wanted or Wanted()
        self._job_memory = job_memory or most_memory(slots)
        self._measure = measure
        self._refused = ""  # why no job was taken when last looked at
        self._stops = 0  # how often told to
        self._stopping = threading.Event()
        self._attempts: set[Attempt] = set()
        self._changed = threading.Condition()  # of attempts and stops
        self._surroundings = surroundings or Surroundings()
        self._greeting = threading.Lock()
        self._greeted = False  # the engine knows this test node, and its environment as it is
        self._parts = KeptParts(folder / "store", keep_parts)
        self._sharing = sharing
        self._heartbeat = 0.0  # seconds, as the engine said; 0 before it has

    def stop(self) -> None:
        """Take no more leases; :meth:`run` returns once the running jobs have ended or were given back.

        Told a second time, they are given back at once. Not for signal handlers: those interrupt the holder of a lock.
        """
        with self._changed:
            self._stops += 1
            self._changed.notify_all()
        self._stopping.set()

    def run(self) -> None:
        """Work until :meth:`stop`. A token that the engine refuses at the start is an error; later it is waited for."""
        jobs = self.folder / "jobs"
        with FolderLock(self.folder, "lock"):
            for name in scratch.sweep(jobs, scratch.names(jobs)):
                _log.info("removed the scratch folder of lease %s, which an earlier process left", name)
            ready = self.folder / "test-node.json"
            ready.unlink(missing_ok=True)
            if not self._introduce():
                return
            self._announce(ready)
            parts = threading.Thread(target=self._parts.keep_small, args=(self._stopping,), name="parts", daemon=True)
            parts.start()
            if self._sharing is not None:
                self._sharing.start()
            for slot in range(self._slots):
                # Daemons: a slot that waits for a lease has nothing to lose when the process ends.
                threading.Thread(target=self._take_leases, name=f"slot-{slot}", daemon=True).start()
            self._stopping.wait()
            self._drain()
            if self._sharing is not None:
                self._sharing.stop()
            ready.unlink(missing_ok=True)

    def _introduce(self) -> bool:
        """Say hello until the engine answers; False when told to stop first."""
        patience = Patience(self._stopping)
        while not self._stopping.is_set():
            try:
                self._greet()
                return True
            except UnreachableError as error:
                _log.warning("%s", error)
                patience.pause()
        return False

    def _greet(self) -> None:
        """Say hello, unless the engine has heard it and nothing has changed since."""
        with self._greeting:
            if self._surroundings.have_changed():
                self._surroundings.measure()
                self._greeted = False
            if not self._greeted:
                environment = self._surroundings.environment
                hello = NodeHello(self._name, host.platform(), self._slots, __version__, environment)
                self._heartbeat = self._wire.hello(hello).heartbeat
                self._greeted = True
                _log.info("joined %s as %s", self._wire.url, self._name)

    def _announce(self, ready: Path) -> None:
        data = {"format": 1, "pid": os.getpid(), "url": self._wire.url, "name": self._name}
        write_bytes(ready, json.dumps(data).encode())

    def _take_leases(self) -> None:
        """What one slot does until the process ends."""
        patience = Patience(self._stopping)
        while not self._stopping.is_set():
            try:
                self._greet()
                lease = self._ask()
                patience.reset()
            except (UnreachableError, RefusedError) as error:  # refused: a new token, an engine that forgot us
                _log.warning("no lease: %s", error)
                self._greeted = False
                patience.pause()
                continue
            except (AllotmentError, OSError) as error:  # a lease not understood, software that is being installed
                _log.error("no lease: %s", error)
                patience.pause()
                continue
            if lease is not None:
                self._work_on(lease)

    def _ask(self) -> Lease | None:
        """Wait for a lease, or say why there is to be none now and return after a while."""
        figures, refuses = self._look()
        if refuses and self._clean():
            figures, refuses = self._look()
        if bool(refuses) != bool(self._refused):
            _log.warning("takes no jobs: it %s", refuses) if refuses else _log.info("takes jobs again")
        self._refused = refuses
        lease = self._wire.lease(self._request(figures, refuses))
        if refuses:
            self._stopping.wait(_LOOK_AGAIN)
        return lease

    def _request(self, figures: HostFigures, refuses: str) -> LeaseRequest:
        wait = 0.0 if refuses else _LEASE_WAIT
        return LeaseRequest(
            self._name, wait, self._surroundings.kinds, figures.load, figures.memory_free, figures.disk_free, refuses
        )

    def _look(self) -> tuple[HostFigures, str]:
        """Return how the machine is, and why no other job can be taken now ("": it can)."""
        figures = self._measure(self.folder)
        return figures, _STOPPING if self._stopping.is_set() else self._wanted.lacking(figures)

    def _clean(self) -> bool:
        """Remove what earlier jobs could not, and the built parts that none needs now; True when there was anything."""
        jobs = self.folder / "jobs"
        names = scratch.names(jobs)  # before looking at what runs: what begins from now on is not among them
        with self._changed:
            running = {attempt.folder.name for attempt in self._attempts}
        removed = scratch.sweep(jobs, [name for name in names if name not in running])
        return bool(removed) or self._parts.collect(0.0) > 0

    def _work_on(self, lease: Lease) -> None:
        attempt = Attempt(self._wire, lease, self.folder, self._heartbeat, self._look, self._job_memory, self._sharing)
        with self._changed:
            self._attempts.add(attempt)
            if self._stopping.is_set():
                attempt.give_back(f"test node {self._name} is stopping")
        try:
            if self._surroundings.have_changed():  # while the lease was waited for: it is for another environment
                attempt.give_back(f"other software was installed on test node {self._name}")
            attempt.run()
        except Exception:  # the slot must survive; the engine sees the lease expire
            _log.exception("lease %d: a bug in the test node", lease.id)
        finally:
            with self._changed:
                self._attempts.discard(attempt)
                self._changed.notify_all()

    def _drain(self) -> None:
        """Let the running jobs end; give them back after the grace time, or when told to stop once more."""
        self._say_stopping()
        with self._changed:
            if self._attempts:
                _log.info(
                    "stopping: %d jobs have %g s to end; stop again to give them back at once",
                    len(self._attempts),
                    self._grace,
                )
            self._changed.wait_for(lambda: not self._attempts or self._stops > 1, self._grace)
            for attempt in self._attempts:
                attempt.give_back(f"test node {self._name} was stopped")
            self._changed.wait_for(lambda: not self._attempts, _GIVE_BACK_SECONDS)

    def _say_stopping(self) -> None:
        """Tell the engine, which then answers none of the slots that wait; without it heartbeats tell."""

        def say() -> None:
            try:
                self._wire.lease(self._request(*self._look()))
            except (AllotmentError, OSError) as error:
                _log.warning("the farm was not told of the stop: %s", error)

        saying = threading.Thread(target=say, name="stopping", daemon=True)
        saying.start()
        saying.join(_SAY_SECONDS)

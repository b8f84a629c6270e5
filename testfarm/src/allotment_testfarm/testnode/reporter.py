# SPDX-License-Identifier: Apache-2.0
"""Sends a running job's log and steps to the engine, each byte once, whatever happens to the connection."""

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from allotment.errors import AllotmentError, RefusedError, UnreachableError
from allotment.messages.job import Lease
from allotment_testfarm.testnode.patience import Patience
from allotment_testfarm.testnode.wire_client import WireClient
from allotment_testfarm.wire import StepReport

_log = logging.getLogger(__name__)
_INTERVAL = 0.05  # seconds between two looks at the log file
_MAX_STALLS = 100  # answers that acknowledge nothing new
_CHUNK = 1 << 20  # bytes of log in one call


class Reporter:
    """Works on a thread of its own from its making until :meth:`finish`.

    The engine's acknowledged byte is the only truth: after every answer the log goes on from there, so a lost
    connection or an engine that lost the end of its file repeats nothing and leaves no gap.
    """

    def __init__(
        self,
        wire: WireClient,
        lease: Lease,
        log: Path,
        progress: Callable[[], StepReport],
        lost: threading.Event,
        on_lost: Callable[[], None],
    ) -> None:
        self._wire = wire
        self._lease = lease
        self._path = log
        self._progress = progress
        self._lost = lost
        self._on_lost = on_lost
        self._acknowledged = 0
        self._stalls = 0
        self._told = StepReport(lease.fencing)
        self._ended = threading.Event()  # of the job: what is in the files now is all
        self._gave_up = threading.Event()
        self._patience = Patience(self._gave_up)
        self._thread = threading.Thread(target=self._work, name=f"reporter-{lease.id}", daemon=True)
        self._thread.start()

    def finish(self, patience: Patience) -> None:
        """Wait until all is sent, or the lease is lost, or ``patience`` is at its end."""
        self._ended.set()
        while self._thread.is_alive() and not patience.is_exhausted():
            self._thread.join(0.1)
        self._gave_up.set()

    def _work(self) -> None:
        while not self._lost.is_set() and not self._gave_up.is_set():
            ended = self._ended.is_set()
            try:
                done = self._send_log()
                self._send_steps()
            except UnreachableError as error:
                _log.warning("lease %d: log not sent yet: %s", self._lease.id, error)
                self._patience.pause()
                continue
            except RefusedError as error:
                if error.status in (404, 409, 410):
                    self._on_lost()
                    return
                _log.error("lease %d: the engine refuses the log: %s", self._lease.id, error)
                return
            except (AllotmentError, OSError):  # an answer that is none, a disk that fails: the result still goes out
                _log.exception("lease %d: the log can't be sent", self._lease.id)
                return
            self._patience.reset()
            if ended and done:
                return
            if done:
                self._ended.wait(_INTERVAL)

    def _send_log(self) -> bool:
        """Send the next piece; True when the engine has all that is in the file."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._acknowledged)
                data = file.read(_CHUNK)
                size = file.seek(0, 2)
        except FileNotFoundError:
            return True
        if data:
            acknowledged = self._wire.log(self._lease.id, self._lease.fencing, self._acknowledged, data)
            if acknowledged <= self._acknowledged:
                self._check_stall(acknowledged)
            self._acknowledged = min(acknowledged, size)
        return self._acknowledged >= size

    def _check_stall(self, acknowledged: int) -> None:
        """Slow down when the engine does not take what it is sent; after many times it is an error."""
        self._stalls += 1
        if self._stalls > _MAX_STALLS:
            raise AllotmentError(f"the engine stays at byte {acknowledged} of the log")
        self._gave_up.wait(_INTERVAL)

    def _send_steps(self) -> None:
        report = replace(self._progress(), fencing=self._lease.fencing)
        if report != self._told:
            self._wire.steps(self._lease.id, report)
            self._told = report

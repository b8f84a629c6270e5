# SPDX-License-Identifier: Apache-2.0
"""The masters that a node follows: asked for desired state, told what was observed, and often away."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol, TypeVar

from allotment.blobs import BlobStore
from allotment.codec import dumps
from allotment.errors import AllotmentError, RefusedError, UnreachableError
from allotment.messages.desired_state import InstanceStatus, NodeDesiredState, ObservedState
from allotment.messages.manifest import SignedManifest
from allotment.secret import Secret
from allotment_node.backoff import Backoff
from allotment_node.documents import Changes, Documents
from allotment_node.observations import Observations

T = TypeVar("T")
_LARGEST: Final = 1 << 20  # bytes of one report, unless a single observation is larger; masters take four times that
_UNREADABLE: Final = (400, 413, 422)  # answers to a report that will never be accepted as it is
_log = logging.getLogger(__name__)


class Master(Protocol):
    """What the node uses of :class:`allotment.client.MasterClient`."""

    def desired(self, node: str, since: int, wait: float) -> NodeDesiredState | None: ...
    def report(self, node: str, observed: ObservedState) -> None: ...
    def get_manifest(self, sha256: str) -> SignedManifest: ...
    def get_blob(self, sha256: str, store: BlobStore) -> None: ...
    def close(self) -> None: ...


class Masters:
    """Several masters of one database as one: asked is the one that answered last, then the next."""

    def __init__(self, masters: Sequence[Master]) -> None:
        self._masters = tuple(masters)
        self._current = 0

    def call(self, ask: Callable[[Master], T]) -> T:
        """Return the first answer; when no master is well enough to answer, the last one's error."""
        first = self._current
        for step in range(len(self._masters)):
            index = (first + step) % len(self._masters)
            try:
                answer = ask(self._masters[index])
            except (UnreachableError, RefusedError) as error:
                if isinstance(error, RefusedError) and error.status < 500:
                    raise  # all of them would say the same
                last: AllotmentError = error
            else:
                self._current = index
                return answer
        raise last

    def close(self) -> None:
        """Close all connections."""
        for master in self._masters:
            master.close()


def connect(urls: Sequence[str], token_file: Path) -> Masters:
    """Return the masters at ``urls``; nothing is sent yet."""
    from allotment.client import MasterClient

    try:
        token = Secret(token_file.read_text().strip())
    except OSError as error:
        raise AllotmentError(f"{token_file} can't be read: {error.strerror}", "Register this node again") from error
    return Masters([MasterClient(url, token) for url in urls])


class Poller:
    """Asks for desired state for as long as the agent runs: a long poll, answered as soon as something changes."""

    def __init__(
        self,
        masters: Masters,
        node: str,
        documents: Documents,
        changed: Callable[[Changes], None],
        backoff: Backoff,
        wait: float = 20.0,
    ) -> None:
        self._masters = masters
        self._node = node
        self._documents = documents
        self._changed = changed
        self._backoff = backoff
        self._wait = wait  # seconds that a master may take to answer that nothing has changed
        self._since = 0  # 0: everything, so that nothing is missed that a lost disk or a copy has hidden

    def once(self, wait: float) -> None:
        """Ask once and store what came; raises UnreachableError, RefusedError, MessageError or OSError."""
        desired = self._masters.call(lambda master: master.desired(self._node, self._since, wait))
        if desired is not None:
            self._changed(self._documents.apply(desired))
            self._since = desired.sequence  # last: what could not be stored is asked for again

    def run(self, stop: threading.Event) -> None:
        """Poll until ``stop``; a master that is away or refuses is asked again after a growing delay."""
        while not stop.is_set():
            try:
                self.once(self._wait)
            except Exception as error:  # without this thread the node would follow no master any more
                stop.wait(_delay(self._backoff, error, stop))
            else:
                _recovered(self._backoff, "desired state")


class Reporter:
    """Tells the masters what was observed, again and again until one has accepted it."""

    def __init__(self, masters: Masters, node: str, observations: Observations, backoff: Backoff) -> None:
        self._masters = masters
        self._node = node
        self._observations = observations
        self._backoff = backoff

    def once(self, wait: float) -> None:
        """Wait for something to tell, up to ``wait`` seconds, and tell it; raises as :meth:`Poller.once`."""
        state = self._observations.wait(wait)
        for report in _reports(state) if state is not None else ():
            self._tell(report)

    def _tell(self, report: ObservedState) -> None:
        """Tell; what one instance has written must keep no other's observation from the masters."""
        try:
            self._masters.call(lambda master: master.report(self._node, report))
        except RefusedError as error:
            if error.status not in _UNREADABLE:
                raise
            if len(report.software) + len(report.instances) > 1:
                for single in _singles(report):
                    self._tell(single)
                return
            _log.warning("a report is refused: %s", error)
            bare = _bare(report, f"its report was refused: {error}")
            self._masters.call(lambda master: master.report(self._node, bare))
        self._observations.accepted(report)

    def run(self, stop: threading.Event) -> None:
        """Report until ``stop``."""
        while not stop.is_set():
            try:
                self.once(60.0)
            except Exception as error:  # without this thread no master would hear of the node any more
                stop.wait(_delay(self._backoff, error, stop))
            else:
                _recovered(self._backoff, "reports")


def _singles(state: ObservedState) -> Iterator[ObservedState]:
    for software in state.software:
        yield ObservedState(software=(software,))
    for instance in state.instances:
        yield ObservedState(instances=(instance,))


def _reports(state: ObservedState) -> Iterator[ObservedState]:
    """Yield ``state`` in reports that are no larger than masters accept."""
    report, size = ObservedState(), 0
    for single in _singles(state):
        more = len(dumps(single))
        if size and size + more > _LARGEST:
            yield report
            report, size = ObservedState(), 0
        report, size = (
            ObservedState(report.software + single.software, report.instances + single.instances),
            size + more,
        )
    yield report


def _bare(single: ObservedState, error: str) -> ObservedState:
    """Return an observation without what programs have written, as a failure for this reason."""
    return ObservedState(
        tuple(replace(item, error=error) for item in single.software),
        tuple(
            replace(item, status=InstanceStatus.FAILED, error=error, requests=None, published=None, promises=())
            for item in single.instances
        ),
    )


def _delay(backoff: Backoff, error: Exception, stop: threading.Event) -> float:
    """Log a failure, the first of a row loudly; return the seconds until the next try."""
    delay = backoff.failed()
    if not stop.is_set():
        level = logging.WARNING if backoff.failures == 1 else logging.INFO
        bug = None if isinstance(error, AllotmentError | OSError) else error  # OSError: the disk is full, for example
        _log.log(level, "%s Next try in %.1f s; the node works on from what it has", error, delay, exc_info=bug)
    return delay


def _recovered(backoff: Backoff, what: str) -> None:
    if backoff.failures:
        _log.warning("%s: a master answers again", what)
        backoff.succeeded()

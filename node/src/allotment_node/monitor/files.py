# SPDX-License-Identifier: Apache-2.0
"""Writes the state files: ``promises.json``, ``promises.prom`` and ``changes.rss``, whole and only when changed."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from allotment import atomic
from allotment.codec import dumps, loads
from allotment.errors import AllotmentError
from allotment.messages.desired_state import ObservedInstance
from allotment.messages.promise_states import MetricState, PromiseChange, PromiseState, PromiseStates
from allotment.messages.silences import Silence
from allotment_node.clock import elapsed
from allotment_node.monitor import feeds, prometheus
from allotment_node.promises import Result
from allotment_node.silences import silence_of

JSON: Final = "promises.json"
PROMETHEUS: Final = "promises.prom"
RSS: Final = "changes.rss"
_CHANGES: Final = 200
_PAUSE: Final = 15.0  # seconds between two writings of numbers; a change of a status is written at the next look
_SHARE: Final = 100  # times as long as writing took, so that ten thousand promises take one percent of a core
_log = logging.getLogger(__name__)


class Monitor:
    """Collects what promises measured, and writes the files when :meth:`look` finds that something has changed.

    ``observed`` returns the started instances as the node sees them, ``silences`` those that hold. Threads may call
    :meth:`ran` at any time; one thread looks, every few seconds.
    """

    def __init__(
        self,
        folder: Path,
        node: str,
        link: str,
        observed: Callable[[], Sequence[ObservedInstance]],
        silences: Callable[[], Sequence[Silence]],
        clock: Callable[[], float] = elapsed,
    ) -> None:
        self.folder = folder
        self._node = node
        self._link = link  # of the feed: a page for people
        self._observed = observed
        self._silences = silences
        self._clock = clock
        self._lock = threading.Lock()
        self._runs: dict[str, dict[str, Result]] = {}  # partition -> promise -> newest run
        self._new: set[tuple[str, str]] = set()  # (partition, promise) of runs since the last writing
        self._next = float("-inf")  # when numbers may be written again
        self._seen: object = None
        self._states = self._load()

    def ran(self, partition: str, results: Sequence[Result]) -> None:
        """Remember results; called after each batch."""
        with self._lock:
            self._runs.setdefault(partition, {}).update({item.name: item for item in results})
            self._new.update((partition, item.name) for item in results)

    def look(self) -> None:
        """Write the files if a status, a silence, or for some time a number has changed; a full disk is only logged."""
        instances = self._observed()
        silences = self._silenced(instances)
        now = self._clock()
        seen = (instances, silences)
        if seen == self._seen and not (self._new and now >= self._next):
            return
        with self._lock:
            self._runs = {item.partition: self._known(item) for item in instances}
            runs = {name: dict(found) for name, found in self._runs.items()}
            self._new.clear()
        promises = tuple(_states(instances, runs, silences))
        changes = tuple(_changes(self._states.promises, promises))
        kept = (*sorted(changes, key=lambda item: -item.time), *self._states.changes)[:_CHANGES]
        newest = max([item.time for item in promises] + [item.time for item in kept], default=0.0)
        self._states = PromiseStates(self._node, newest, promises, kept)
        self._seen = seen
        self._write()
        self._next = now + max(_PAUSE, _SHARE * (self._clock() - now))

    def _known(self, instance: ObservedInstance) -> dict[str, Result]:
        """Return the runs of promises that are observed, or soon will be: partitions change their promises."""
        names = {item.name for item in instance.promises}
        found = self._runs.get(instance.partition, {})
        return {key: run for key, run in found.items() if key in names or (instance.partition, key) in self._new}

    def _silenced(self, instances: Sequence[ObservedInstance]) -> dict[tuple[str, str], Silence]:
        known = self._silences()
        if not known:
            return {}
        names = ((item.partition, promise.name) for item in instances for promise in item.promises)
        return {key: found for key in names if (found := silence_of(known, *key)) is not None}

    def _write(self) -> None:
        try:
            self.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            # The feed first: from promises.json it is known after a start which changes are in it.
            self._put(RSS, feeds.rss(self._states, self._link))
            self._put(PROMETHEUS, prometheus.text(self._states).encode(errors="replace"))
            self._put(JSON, dumps(self._states) + b"\n")
        except OSError as error:
            self._seen = None  # tried again at the next look
            _log.warning("%s: the states of promises can't be written: %s", self.folder, error)

    def _put(self, name: str, data: bytes) -> None:
        atomic.write_bytes(self.folder / name, data, 0o644, sync=False)

    def _load(self) -> PromiseStates:
        """Return the states of before; what can't be read is made anew."""
        path = self.folder / JSON
        try:
            return loads(PromiseStates, path.read_bytes(), str(path))
        except FileNotFoundError:
            pass
        except (AllotmentError, OSError) as error:
            _log.warning("%s It is made anew.", error)
        return PromiseStates(self._node, 0.0)


def _states(
    instances: Sequence[ObservedInstance],
    runs: Mapping[str, Mapping[str, Result]],
    silences: Mapping[tuple[str, str], Silence],
) -> Iterator[PromiseState]:
    """Yield the state of each promise; one that has not run since the agent's start has no numbers."""
    for instance in instances:
        for promise in sorted(instance.promises, key=lambda item: item.name):
            run = runs.get(instance.partition, {}).get(promise.name)
            metrics = run.metrics if run is not None else {}
            yield PromiseState(
                instance.partition,
                instance.instance,
                promise.name,
                promise.status,
                promise.time,
                run.message if run is not None else promise.message,
                run.started if run is not None else promise.time,
                run.seconds if run is not None else 0.0,
                {name: MetricState(item.value, item.unit) for name, item in metrics.items()},
                silences.get((instance.partition, promise.name)),
            )


def _changes(before: Sequence[PromiseState], after: Sequence[PromiseState]) -> Iterator[PromiseChange]:
    known = {(item.partition, item.instance, item.name): item.status for item in before}
    for item in after:
        status = known.get((item.partition, item.instance, item.name), "")
        if item.status != (status or "passed"):
            yield PromiseChange(item.partition, item.instance, item.name, item.since, item.status, status, item.message)

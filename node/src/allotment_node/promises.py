# SPDX-License-Identifier: Apache-2.0
"""Watching promises: all of them after a deployment, each by its period later, reported when one changes its mind."""

import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

from allotment.errors import AllotmentError
from allotment.messages.desired_state import InstanceStatus, ObservedInstance, ObservedPromise
from allotment_node.observations import Observations

Mode = Literal["test", "anomaly"]
_log = logging.getLogger(__name__)


class Result(Protocol):
    """A promise's result, as the launcher returns it."""

    @property
    def name(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def started(self) -> float: ...


@dataclasses.dataclass(frozen=True)
class ObservedResult:
    """A result that is not of the launcher."""

    name: str
    status: str
    message: str
    started: float


class Launch(Protocol):
    """How promises are run; see :meth:`allotment_promises.launcher.Launcher.run`."""

    def __call__(self, partition: Path, mode: Mode, names: Iterable[str] | None) -> Sequence[Result]: ...


@dataclasses.dataclass
class _Watch:
    """A partition's promises: when each is due, and what it last said."""

    instance: str
    periods: Mapping[str, float]
    due: dict[str, float]
    settled: float  # until then promises may be broken without the instance being called red
    tries: int = 0
    judges: bool = True  # False while recipes change what the promises look at


class PromiseWatch:
    """Runs promises and keeps an instance's status by them. One thread at a time for a partition.

    ``catalogue`` returns the names and periods of a partition's promises without starting anything. Right after a
    deployment broken promises are tested again at short intervals: a service needs a moment to start.
    """

    def __init__(
        self,
        folder: Callable[[str], Path],
        launch: Launch,
        catalogue: Callable[[Path], Mapping[str, float]],
        observations: Observations,
        settle: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._launch = launch
        self._catalogue = catalogue
        self._observations = observations
        self._settle = settle  # seconds
        self._clock = clock
        self._watches: dict[str, _Watch] = {}
        self._lock = threading.Lock()

    def deployed(self, name: str, instance: str) -> None:
        """A partition was processed: the next :meth:`check` tests all of its promises."""
        with self._lock:
            self._watches[name] = self._new(name, instance, self._clock() + self._settle)

    def adopted(self, name: str, instance: str) -> None:
        """A partition is as it was when the agent last looked: its promises are watched on, all due now."""
        with self._lock:
            if name not in self._watches or self._watches[name].instance != instance:
                self._watches[name] = self._new(name, instance, float("-inf"))
            self._watches[name].judges = True

    def changing(self, name: str) -> None:
        """A partition is about to be processed: until it is, kept promises of before do not make it green."""
        with self._lock:
            if name in self._watches:
                self._watches[name].judges = False

    def forget(self, name: str) -> None:
        """A partition is stopped or gone."""
        with self._lock:
            self._watches.pop(name, None)

    def check(self, name: str) -> float | None:
        """Run what is due; return the seconds until the next check, None when there is nothing to watch."""
        with self._lock:
            watch = self._watches.get(name)
        if watch is None:
            return None
        now = self._clock()
        settling = now < watch.settled
        due = sorted(item for item, when in watch.due.items() if when <= now + 0.2)
        results = self._run(name, "test" if settling else "anomaly", due) if due else ()
        with self._lock:
            if self._watches.get(name) is not watch:
                return 0.0  # it was processed meanwhile: these results are of what was before
            self._plan(watch, due, results, settling)
            self._report(name, watch, results)
            return max(0.0, min(watch.due.values(), default=self._clock() + 3600.0) - self._clock())

    def _run(self, name: str, mode: Mode, due: Sequence[str]) -> Sequence[Result]:
        """Run promises; when the launcher itself fails, each of them is an error until it works again."""
        try:
            return self._launch(self._folder(name), mode, due)
        except AllotmentError as error:
            _log.warning("%s: promises can't be run: %s", name, error)
            return [ObservedResult(item, "error", f"can't be run: {error}", time.time()) for item in due]

    def services(self, name: str, failed: Mapping[str, str]) -> None:
        """Count services that keep failing as broken promises called ``service <name>``; they vanish when they run."""
        with self._lock:
            watch = self._watches.get(name)
            seen = self._observations.instance(name)
            if watch is None or seen is None or seen.instance != watch.instance:
                return
            known = {item.name.removeprefix("service "): item for item in seen.promises if _is_service(item)}
            if {key: item.message for key, item in known.items()} == dict(failed):
                return
            others = tuple(item for item in seen.promises if not _is_service(item))
            now = time.time()
            broken = tuple(
                ObservedPromise(f"service {key}", "failed", text, now) for key, text in sorted(failed.items())
            )
            self._note(name, watch, others + broken)

    def _new(self, name: str, instance: str, settled: float) -> _Watch:
        periods = self._catalogue(self._folder(name))
        return _Watch(instance, periods, dict.fromkeys(periods, self._clock()), settled)

    def _plan(self, watch: _Watch, due: Iterable[str], results: Sequence[Result], settling: bool) -> None:
        now = self._clock()
        broken = {item.name for item in results if item.status != "passed"}
        again = min(0.2 * 2.0 ** min(watch.tries, 8), 3.0)
        watch.tries += 1
        for name in due:
            period = watch.periods[name]
            if name in broken and settling:
                watch.due[name] = min(now + min(again, period), max(watch.settled, now))
            else:
                watch.due[name] = now + period

    def _report(self, name: str, watch: _Watch, results: Sequence[Result]) -> None:
        """Note results when a promise is new, gone or has flipped, or when the instance's status is another."""
        seen = self._observations.instance(name)
        if seen is None or seen.instance != watch.instance:
            return
        latest = {item.name: item for item in seen.promises if item.name in watch.periods or _is_service(item)}
        for result in results:
            known = latest.get(result.name)
            if known is None or known.status != result.status:
                latest[result.name] = ObservedPromise(result.name, str(result.status), result.message, result.started)
        self._note(name, watch, tuple(latest[key] for key in sorted(latest)))

    def _note(self, name: str, watch: _Watch, promises: tuple[ObservedPromise, ...]) -> None:
        """Note promises, and the status that they make, on whatever processing has noted meanwhile."""

        def change(seen: ObservedInstance) -> ObservedInstance:
            if seen.instance != watch.instance:
                return seen
            if not watch.judges:
                return dataclasses.replace(seen, promises=promises)
            judged = _judged(seen, promises, self._clock() < watch.settled)
            if judged.status != seen.status:
                _log.info("%s is %s", name, judged.status)
            return judged

        self._observations.change_instance(name, change)


def _judged(seen: ObservedInstance, promises: tuple[ObservedPromise, ...], settling: bool) -> ObservedInstance:
    """Return an observation with the status that its promises make; only a started and processed one has that."""
    status = seen.status
    if status in (InstanceStatus.PROCESSING, InstanceStatus.GREEN, InstanceStatus.RED):
        if all(item.status == "passed" for item in promises):
            status = InstanceStatus.GREEN
        elif not settling or status is InstanceStatus.RED:
            status = InstanceStatus.RED
    return dataclasses.replace(seen, promises=promises, status=status)


def _is_service(item: ObservedPromise) -> bool:
    return item.name.startswith("service ")

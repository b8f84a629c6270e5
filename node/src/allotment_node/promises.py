# SPDX-License-Identifier: Apache-2.0
"""Watching promises: all of them after a deployment, each by its period later, reported when one changes its mind."""

import dataclasses
import itertools
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from allotment.errors import AllotmentError
from allotment.messages.desired_state import InstanceStatus, ObservedInstance, ObservedPromise
from allotment_node.clock import elapsed
from allotment_node.observations import Observations
from allotment_node.schedule import NEVER, Mode, Pace, Schedule, Timing

_MOST_SECONDS: Final = 3600.0  # between two looks at a partition
_FEWEST: Final = 100.0  # promises that may begin in a second, however few there are
_HANGING: Final = 10  # batches of a partition that are awaited at a time, each by a thread ...
_FULL: Final = 1.0  # ... and seconds until it is seen whether another one may begin
_NO_TIMINGS: Final = 30.0  # seconds until promises that can't be read are read again
_log = logging.getLogger(__name__)


class Metric(Protocol):
    """A number that a promise measured."""

    @property
    def value(self) -> float: ...
    @property
    def unit(self) -> str: ...


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
    @property
    def seconds(self) -> float: ...
    @property
    def metrics(self) -> Mapping[str, Metric]: ...


@dataclasses.dataclass(frozen=True)
class ObservedResult:
    """A result that is not of the launcher."""

    name: str
    status: str
    message: str
    started: float
    seconds: float = 0.0
    metrics: Mapping[str, Metric] = dataclasses.field(default_factory=dict)


class Launch(Protocol):
    """How promises are run; see :meth:`allotment_promises.launcher.Launcher.groups`."""

    def __call__(self, partition: Path, mode: Mode, names: Iterable[str] | None) -> Iterable[Sequence[Result]]: ...


@dataclasses.dataclass
class _Watch:
    """A partition's promises: when each is due, and how it is judged."""

    instance: str
    settled: float  # until then promises may be broken without the instance being called red
    schedule: Schedule | None = None  # None: not read yet
    rate: float = 0.0  # runs in a second
    hanging: int = 0  # batches that are awaited by threads of their own
    has_place: bool = False  # it has waited for its place among those that begin
    judges: bool = True  # False while recipes change what the promises look at
    unheard: set[str] | None = None  # what must say that it is kept before the instance is green; None: not read yet


class PromiseWatch:
    """Runs promises and keeps an instance's status by them. One thread at a time checks a partition.

    ``timings`` returns when a partition's promises run. What is due together runs together; promises of all
    partitions begin no faster than twice as fast as they need to on average. What hangs is waited for by a thread
    of its own, and delays nothing, unless a partition has many of them. ``bang`` is told of promises that break in
    operation: they ask for their instance to be processed again. A promise for which ``silence`` (partition, name)
    tells something runs as ever, but makes no instance red and bangs never.
    """

    def __init__(
        self,
        folder: Callable[[str], Path],
        launch: Launch,
        timings: Callable[[Path], Sequence[Timing]],
        observations: Observations,
        settle: float,
        bang: Callable[[str, Sequence[str]], None] = lambda name, broken: None,
        clock: Callable[[], float] = elapsed,
        silence: Callable[[str, str], str] = lambda name, promise: "",
    ) -> None:
        self._folder = folder
        self._launch = launch
        self._timings = timings
        self._observations = observations
        self._settle = settle  # seconds
        self._bang = bang
        self._clock = clock
        self._silence = silence
        self._pace = Pace(clock)
        self._watches: dict[str, _Watch] = {}
        self._lock = threading.Lock()

    def deployed(self, name: str, instance: str) -> None:
        """A partition was processed: the next :meth:`check` tests all of its promises."""
        with self._lock:
            self._watches[name] = _Watch(instance, self._clock() + self._settle)

    def adopted(self, name: str, instance: str) -> None:
        """A partition is as it was when the agent last looked: its promises are watched on, all due now."""
        with self._lock:
            if name not in self._watches or self._watches[name].instance != instance:
                self._watches[name] = _Watch(instance, -NEVER, unheard=set())
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

    def close(self) -> None:
        """Forget all: what is broken off from now on says nothing of its partition."""
        with self._lock:
            self._watches.clear()

    def check(self, name: str) -> float | None:
        """Run what is due; return the seconds until the next check, None when there is nothing to watch."""
        with self._lock:
            watch = self._watches.get(name)
        if watch is None:
            return None
        schedule = watch.schedule or self._read(name, watch)
        if schedule is None:
            return _NO_TIMINGS
        if watch.hanging >= _HANGING:
            return _FULL
        due = schedule.due(self._clock())
        if due and (wait := self._place(watch, sum(map(len, due.values())))):
            schedule.postpone(wait)
            return wait
        if not due:
            self._take(name, watch, "anomaly", ())  # one without promises is green
        for mode, names in due.items():
            self._run(name, watch, mode, names)
        with self._lock:
            if self._watches.get(name) is not watch:
                return 0.0  # it was processed meanwhile
            return min(max(0.0, schedule.next() - self._clock()), _MOST_SECONDS)

    def _run(self, name: str, watch: _Watch, mode: Mode, names: Sequence[str]) -> None:
        """Run promises, and wait for all but those that take longer than the others."""
        assert watch.schedule is not None
        with self._lock:
            watch.schedule.begun(names, self._clock())
        left = set(names)
        groups = self._groups(name, mode, left)
        self._await(name, watch, mode, itertools.islice(groups, 1), left)
        if left:
            with self._lock:
                watch.hanging += 1
            arguments = (name, watch, mode, groups, left, True)
            threading.Thread(target=self._await, args=arguments, name=f"{name}-hangs", daemon=True).start()

    def _await(
        self,
        name: str,
        watch: _Watch,
        mode: Mode,
        groups: Iterable[Sequence[Result]],
        left: set[str],
        is_end: bool = False,
    ) -> None:
        """Take in results as they come; what is left at the end has none, because its file is gone for example."""
        for results in groups:
            self._take(name, watch, mode, results)
            left.difference_update(item.name for item in results)
        if is_end and watch.schedule is not None:
            with self._lock:
                watch.hanging -= 1
                watch.schedule.done(left, (), self._clock())
                self._heard(watch, left)
            self._take(name, watch, mode, ())

    def _take(self, name: str, watch: _Watch, mode: Mode, results: Sequence[Result]) -> None:
        """Take in results, unless they are of what was before the partition was processed."""
        with self._lock:
            if self._watches.get(name) is not watch or watch.schedule is None:
                return
            schedule = watch.schedule
            broken = {item.name for item in results if item.status != "passed"}
            schedule.done((item.name for item in results if item.name in schedule.timings), broken, self._clock())
            self._heard(watch, {item.name for item in results})
            self._report(name, watch, results)
            asking = [item.name for item in results if _bangs(item, schedule)] if mode == "anomaly" else []
            bangs = [item for item in asking if watch.judges and not self._silence(name, item)]
        if bangs:
            self._bang(name, bangs)

    @staticmethod
    def _heard(watch: _Watch, names: Collection[str]) -> None:
        if watch.unheard:
            watch.unheard.difference_update(names)

    def _read(self, name: str, watch: _Watch) -> Schedule | None:
        """Read when the promises of a partition run; where that can't be done this is noted as a broken promise."""
        try:
            timings = self._timings(self._folder(name))
        except AllotmentError as error:
            _log.warning("%s: promises can't be read: %s", name, error)
            self._report(name, watch, [ObservedResult("promises", "error", f"can't be read: {error}", time.time())])
            return None
        if watch.unheard is None:
            watch.unheard = {item.name for item in timings if item.only != "anomaly"}
        watch.schedule = Schedule(timings, self._clock(), watch.settled)
        watch.rate = sum(1 / item.period for item in timings)
        return watch.schedule

    def _place(self, watch: _Watch, count: int) -> float:
        """Return the seconds to wait until so many promises may begin; after a deployment they begin at once."""
        if watch.has_place or self._clock() < watch.settled:
            watch.has_place = False
            return 0.0
        with self._lock:
            rate = max(_FEWEST, 2 * sum(item.rate for item in self._watches.values()))
            wait = self._pace.reserve(count, rate)
        watch.has_place = wait > 0
        return wait

    def _groups(self, name: str, mode: Mode, left: set[str]) -> Iterator[Sequence[Result]]:
        """Yield results as they come; when the launcher fails, each that is ``left`` by then is an error."""
        try:
            yield from self._launch(self._folder(name), mode, sorted(left))
        except AllotmentError as error:
            _log.warning("%s: promises can't be run: %s", name, error)
            yield [ObservedResult(item, "error", f"can't be run: {error}", time.time()) for item in sorted(left)]

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

    def hurry(self, name: str, promises: Iterable[str]) -> None:
        """Have promises of a partition run at the next :meth:`check`."""
        with self._lock:
            watch = self._watches.get(name)
            if watch is not None and watch.schedule is not None:
                watch.schedule.hurry(promises, self._clock())

    def judge_again(self) -> None:
        """Judge what is known: silences have changed. What is being processed is judged when its promises have run."""
        with self._lock:
            for name, watch in self._watches.items():
                seen = self._observations.instance(name)
                is_judged = seen is not None and seen.status in (InstanceStatus.GREEN, InstanceStatus.RED)
                if seen is not None and is_judged and seen.instance == watch.instance:
                    self._note(name, watch, seen.promises)

    def _report(self, name: str, watch: _Watch, results: Sequence[Result]) -> None:
        """Note results when a promise is new, gone or has flipped, or when the instance's status is another."""
        seen = self._observations.instance(name)
        if seen is None or seen.instance != watch.instance:
            return
        timings = watch.schedule.timings if watch.schedule else {item.name for item in seen.promises}
        latest = {item.name: item for item in seen.promises if item.name in timings or _is_service(item)}
        for result in results:
            known = latest.get(result.name)
            if known is None or known.status != result.status:
                latest[result.name] = ObservedPromise(result.name, str(result.status), result.message, result.started)
        self._note(name, watch, tuple(latest[key] for key in sorted(latest)))

    def _note(self, name: str, watch: _Watch, promises: tuple[ObservedPromise, ...]) -> None:
        """Note promises, and the status that they make, on whatever processing has noted meanwhile."""
        told = tuple(dataclasses.replace(item, silence=self._silence(name, item.name)) for item in promises)

        def change(seen: ObservedInstance) -> ObservedInstance:
            if seen.instance != watch.instance:
                return seen
            if not watch.judges:
                return dataclasses.replace(seen, promises=told)
            heard = [item for item in told if item.status == "passed" or not item.silence]
            status = _status(seen.status, heard, self._clock() < watch.settled)
            if status is InstanceStatus.GREEN and (watch.unheard is None or watch.unheard):
                status = seen.status
            judged = dataclasses.replace(seen, promises=told, status=status)
            if judged.status != seen.status:
                _log.info("%s is %s", name, judged.status)
            return judged

        self._observations.change_instance(name, change)


def _status(status: InstanceStatus, promises: Iterable[ObservedPromise], settling: bool) -> InstanceStatus:
    """Return the status that promises make; only a started and processed instance has that."""
    if status not in (InstanceStatus.PROCESSING, InstanceStatus.GREEN, InstanceStatus.RED):
        return status
    if all(item.status == "passed" for item in promises):
        return InstanceStatus.GREEN
    return status if settling and status is not InstanceStatus.RED else InstanceStatus.RED


def _is_service(item: ObservedPromise) -> bool:
    return item.name.startswith("service ")


def _bangs(result: Result, schedule: Schedule) -> bool:
    """Whether a result of a promise in operation asks for its instance to be processed again."""
    return result.status == "failed" and result.name in schedule.timings and schedule.timings[result.name].bang

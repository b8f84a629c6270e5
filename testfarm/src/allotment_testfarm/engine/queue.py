# SPDX-License-Identifier: Apache-2.0
"""The ready queue: which waiting job a test node gets next, told from memory, however many wait.

The database stays the truth: who has been picked is claimed there, and one that waits no longer is dropped.
"""

import heapq
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Final, NamedTuple

from allotment_testfarm.db.nodes import Asker
from allotment_testfarm.db.waiting import WaitingJob


class Lane(NamedTuple):
    """Jobs among which the order alone decides, because they suit the same test nodes."""

    kind: str
    platform: str
    shut: frozenset[str]  # test nodes and environments that get none of them


class Picked(NamedTuple):
    """A job that was taken out of the queue, to be claimed."""

    job: WaitingJob
    shut: frozenset[str]  # as its lane's


_NOWHERE: Final = Lane("", "", frozenset())  # where a job stands before it is ready


class ReadyQueue:
    """Gives the highest priority first, and of equal ones the oldest; the cost does not depend on how many wait."""

    def __init__(self, longest: float) -> None:
        self._longest = longest  # seconds: when more is said that a job is to wait, the clock was ahead
        self.endings = 0  # of attempts, as far as :meth:`ended` was told
        self._jobs: dict[int, WaitingJob] = {}
        self._places: dict[int, Lane] = {}
        # Entries of jobs that have left their lane stay in its heap until they come to the front.
        self._lanes: defaultdict[Lane, list[tuple[int, int]]] = defaultdict(list)  # (-priority, id)
        self._later: list[tuple[float, int]] = []  # when to look at a job again: its back-off, or a shut lane, ends
        self._held: defaultdict[int, list[int]] = defaultdict(list)  # running job -> jobs that wait for its end

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, job: WaitingJob, now: float) -> None:
        """Let a job wait for its turn; one that is here already takes its new place."""
        latest = now + self._longest
        if max(job.ready, job.avoid_until) > latest:
            job = replace(job, ready=min(job.ready, latest), avoid_until=min(job.avoid_until, latest))
        self._jobs[job.id] = job
        if job.ready > now:
            self._places[job.id] = _NOWHERE
            heapq.heappush(self._later, (job.ready, job.id))
        elif job.avoid and job.avoid_until > now:
            self._enter(job, frozenset({_node(job.avoid)}))
            heapq.heappush(self._later, (job.avoid_until, job.id))
        else:
            self._enter(job, frozenset())

    def advance(self, now: float) -> bool:
        """Let those in whose time has come; False when there are none."""
        came = False
        while self._later and not now < self._later[0][0] <= now + self._longest:
            _, number = heapq.heappop(self._later)
            if (job := self._jobs.get(number)) is not None:
                self.add(job, now)
                came = True
        return came

    def pick(self, asker: Asker, kinds: Collection[str]) -> Picked | None:
        """Take out the job that a test node gets next."""
        own = {_node(asker.name), _environment(asker.environment)}
        best: tuple[tuple[int, int], Lane] | None = None
        for lane in list(self._lanes):
            if lane.kind not in kinds or lane.platform not in ("any", asker.platform) or not own.isdisjoint(lane.shut):
                continue
            first = self._first(lane)
            if first is not None and (best is None or first < best[0]):
                best = first, lane
        if best is None:
            return None
        _, lane = best
        number = heapq.heappop(self._lanes[lane])[1]
        del self._places[number]
        return Picked(self._jobs.pop(number), lane.shut)

    def hold(self, picked: Picked, by: int, environment: str) -> None:
        """Keep a picked job from test nodes of an environment, too, until the running job ``by`` ends."""
        job = picked.job
        self._jobs[job.id] = job
        self._enter(job, picked.shut | {_environment(environment)})
        self._held[by].append(job.id)

    def ended(self, job: int, now: float) -> bool:
        """An attempt at a job has ended: those that were held for it go on; False when there are none."""
        self.endings += 1
        return self._release(self._held.pop(job, ()), now)

    def match(self, waiting: Collection[int]) -> set[int]:
        """Drop the jobs that are not ``waiting``, and return those that are missing."""
        for number in self._jobs.keys() - waiting:
            del self._jobs[number], self._places[number]
        return set(waiting) - self._jobs.keys()

    def let_go(self, now: float) -> bool:
        """Let all go on that are held, in case nobody told of an end; False when there are none."""
        found = self._release([number for numbers in self._held.values() for number in numbers], now)
        self._held.clear()
        self._clean_shut_lanes()
        return found

    def _release(self, numbers: Iterable[int], now: float) -> bool:
        found = [self._jobs[number] for number in numbers if number in self._jobs]
        for job in found:
            self.add(job, now)
        return bool(found)

    def _enter(self, job: WaitingJob, shut: frozenset[str]) -> None:
        lane = Lane(job.kind, job.platform, shut)
        self._places[job.id] = lane
        heapq.heappush(self._lanes[lane], (-job.priority, job.id))

    def _clean_shut_lanes(self) -> None:
        """Forget the entries of jobs that have left: where only those ask who are shut out, none comes to the front."""
        for lane in [lane for lane in self._lanes if lane.shut]:
            heap = sorted({entry for entry in self._lanes[lane] if self._places.get(entry[1]) == lane})
            if heap:
                self._lanes[lane] = heap  # what is sorted is a heap
            else:
                del self._lanes[lane]

    def _first(self, lane: Lane) -> tuple[int, int] | None:
        """Return the front of a lane; an empty one is removed."""
        heap = self._lanes[lane]
        while heap and self._places.get(heap[0][1]) != lane:
            heapq.heappop(heap)
        if heap:
            return heap[0]
        del self._lanes[lane]
        return None


def _node(name: str) -> str:
    return f"node {name}"


def _environment(sha256: str) -> str:
    return f"environment {sha256}"

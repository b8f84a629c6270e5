# SPDX-License-Identifier: Apache-2.0
"""Leases: test nodes wait here for jobs; those that fall silent lose theirs."""

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy
from sqlalchemy.exc import DBAPIError
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from allotment.errors import RefusedError
from allotment.messages.job import Lease
from allotment_testfarm.db import claims, leases, nodes, verdicts
from allotment_testfarm.db.claims import Held
from allotment_testfarm.db.leases import Ended, LeaseTerms
from allotment_testfarm.db.nodes import Asker
from allotment_testfarm.engine.feed import Feed
from allotment_testfarm.engine.judging import judge_jobs
from allotment_testfarm.engine.logs import LogSink
from allotment_testfarm.engine.proving import Proved, prove_first, prove_rest
from allotment_testfarm.engine.queue import ReadyQueue
from allotment_testfarm.engine.repeating import RepeatingService
from allotment_testfarm.engine.space import lack_of_space
from allotment_testfarm.engine.workers import Workers
from allotment_testfarm.verdicts import Rule
from allotment_testfarm.wire import Heartbeat, HeartbeatAnswer, LeaseRequest, NodeHello, NodeWelcome, StepReport

LONGEST_WAIT = 60.0  # seconds that a lease request may ask to wait
# Seconds between two sweeps in which nobody could renew: the machine slept, or its clock was set. Half a short lease.
JUMP = 10.0
SWEEP = 1.0  # seconds between two looks for expired leases and for jobs that another process has added
LIVE = 1.0  # seconds for which a lease that was given or checked counts as live: its log comes ten times a second
HEARD = 5.0  # seconds for which it is not noted again that a test node was heard
_log = logging.getLogger(__name__)  # of what each job says: Twisted's own makes a new logger for each line


class Caller:
    """The other end of a lease request; the server says here when it has hung up."""

    def __init__(self) -> None:
        self.is_gone = False
        self.on_gone: Callable[[], None] = lambda: None

    def hang_up(self) -> None:
        """The connection is lost: whoever waits for this caller need not go on."""
        self.is_gone = True
        self.on_gone()


@dataclass(frozen=True)
class _Heard:
    """What is remembered of a test node that asks for jobs."""

    asker: Asker
    refuses: str
    noted: float  # when that was written


@dataclass(frozen=True)
class _Live:
    """A lease that was given, or found live, a moment ago."""

    fencing: int
    log: str
    checked: float


class Leases(RepeatingService):
    """Gives leases and takes them back; long polls are answered as soon as there is a job for them."""

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        workers: Workers,
        logs: LogSink,
        rules: Sequence[Rule],
        terms: LeaseTerms,
        engine: str = "",
    ) -> None:
        super().__init__(clock, self._sweep, SWEEP, at_once=False)
        self._clock = clock
        self._workers = workers
        self._logs = logs
        self._rules = rules
        self._terms = terms
        self._engine = engine  # its name where there are several
        self._queue = ReadyQueue(terms.longest)
        self._feed = Feed(clock, workers, self._queue, self._wake)
        self._heard: dict[str, _Heard] = {}
        self._live: dict[int, _Live] = {}  # by lease
        self._rested = clock.seconds()  # when the last sweep ended
        self._is_behind = False  # leases have run out and could not be ended
        self._unjudgeable: set[int] = set()  # jobs of which it was told
        self._notices = 0
        self._waiting: set[Deferred[None]] = set()

    async def resume(self) -> None:
        """Read what waits, and let the leases that this engine gave go on; before the first test node is heard."""
        await self._extend(leases.extend_own)
        await self._feed.look()

    def stopService(self) -> Deferred[None]:
        """Answer those who wait, end the sweep; fires when both are done."""
        stopped = super().stopService()
        self._wake()  # those who wait are answered that there is nothing
        return stopped

    def notice(self, jobs: Collection[int]) -> None:
        """These jobs are new, or wait again."""
        adding = Deferred.fromCoroutine(self._feed.add(jobs))
        adding.addErrback(lambda failure: self._log.failure("the next look finds what waits", failure))

    def hint(self) -> None:
        """Another process may have let jobs wait: this is seen at once, and not after the rest of a second."""
        looking = Deferred.fromCoroutine(self._feed.look())
        looking.addErrback(lambda failure: self._log.failure("the next look finds what waits", failure))

    def ended(self, ended: Ended) -> None:
        """An attempt has ended: its job may wait again, and others may have waited for its end."""
        self._live.pop(ended.attempt, None)
        if self._queue.ended(ended.job, self._clock.seconds()):
            self._wake()
        if not ended.is_done:
            self.notice((ended.job,))

    async def hello(self, hello: NodeHello) -> NodeWelcome:
        """Make a test node known."""
        now = self._clock.seconds()
        is_new, proved = await self._workers.write(self._greet, hello, now)
        await prove_rest(self._workers, self._rules, now, proved)
        self._heard.pop(hello.name, None)
        self._log.info("test node {name} {how}", name=hello.name, how="is new" if is_new else "is back")
        return NodeWelcome(heartbeat=self._terms.seconds / 4)

    async def take(self, request: LeaseRequest, caller: Caller) -> Lease | None:
        """Return a lease as soon as there is a job; None when there was none in the time asked for."""
        asker = await self._hear(request)
        end = self._clock.seconds() + min(max(request.wait, 0.0), LONGEST_WAIT)
        while True:
            noticed = self._notices
            lease = None if self._refuses(request) else await self._claim(asker, request.kinds)
            if lease is not None:
                return await self._hand_over(lease, caller)
            left = end - self._clock.seconds()
            if left <= 0 or caller.is_gone or not self.running:
                return None
            if noticed == self._notices or request.refuses:
                await self._wait(left, caller)

    async def give_back(self, lease: Lease) -> None:
        """Undo a lease whose answer did not reach the test node."""
        self._log.info("test node {node} hung up: job {job} waits again", node=lease.node, job=lease.job.id)
        await self._workers.write(leases.give_back, lease.id, self._clock.seconds())
        self.notice((lease.job.id,))

    async def renew(self, lease: int, heartbeat: Heartbeat) -> HeartbeatAnswer:
        """Renew a lease and note how its test node is."""
        expires, cancelled = await self._workers.write(
            _renew, lease, heartbeat, self._clock.seconds(), self._terms.seconds
        )
        return HeartbeatAnswer(expires=expires, cancel=cancelled)

    async def log_of(self, lease: int, fencing: int) -> str:
        """Return the path of a live lease's log; a stale one is a StaleLeaseError, a second later at the latest."""
        now = self._clock.seconds()
        known = self._live.get(lease)
        if known is None or known.fencing != fencing or not 0 <= now - known.checked < LIVE:
            known = _Live(fencing, await self._workers.read(leases.check, lease, fencing), now)
            self._live[lease] = known
        return known.log

    async def set_steps(self, lease: int, report: StepReport) -> None:
        """Show how far an attempt is."""
        await self._workers.write(leases.set_steps, lease, report.fencing, report.steps, report.parts)

    async def _hear(self, request: LeaseRequest) -> Asker:
        """Note that a test node is there, not each time that it asks, and return what a job must suit."""
        now = self._clock.seconds()
        known = self._heard.get(request.node)
        if known is None or known.refuses != request.refuses or not 0 <= now - known.noted < HEARD:
            known = _Heard(await self._workers.write(_note, request, now), request.refuses, now)
            self._heard[request.node] = known
        return known.asker

    def _refuses(self, request: LeaseRequest) -> bool:
        """Whether a test node takes no job by its newest word, which another of its slots may have said."""
        known = self._heard.get(request.node)
        return bool(request.refuses or (known is not None and known.refuses))

    async def _claim(self, asker: Asker, kinds: Collection[str]) -> Lease | None:
        """Lease the first job of the queue that is still to be had."""
        while (picked := self._queue.pick(asker, kinds)) is not None:
            endings = self._queue.endings
            now = self._clock.seconds()
            try:
                found = await self._workers.write(claims.claim, picked.job, asker, now, self._terms, self._engine)
            except BaseException:
                self._queue.add(picked.job, now)
                raise
            if isinstance(found, Lease):
                self._live[found.id] = _Live(found.fencing, claims.log_path(found.job.id, found.attempt), now)
                return found
            if isinstance(found, Held) and self._queue.endings == endings:
                self._queue.hold(picked, found.by, asker.environment)
                self._wake()  # a test node of another environment may have it
            elif isinstance(found, Held):  # what it was held for may have ended by now
                self._queue.add(picked.job, now)
        return None

    async def _hand_over(self, lease: Lease, caller: Caller) -> Lease | None:
        if caller.is_gone:
            await self.give_back(lease)
            return None
        job = lease.job
        _log.info("job %s (%s) is leased to %s, attempt %s", job.id, job.release, lease.node, lease.attempt)
        return lease

    async def _wait(self, seconds: float, caller: Caller) -> None:
        """Wait for a notice, for the time to be over or for the caller to be gone."""
        noticed: Deferred[None] = Deferred()
        self._waiting.add(noticed)

        def wake() -> None:
            if noticed in self._waiting:
                self._waiting.discard(noticed)
                noticed.callback(None)

        timer = self._clock.callLater(seconds, wake)
        caller.on_gone = wake
        await noticed
        caller.on_gone = lambda: None
        if timer.active():
            timer.cancel()

    def _wake(self) -> None:
        """There may be a job: everyone who waits looks again."""
        self._notices += 1
        waiting, self._waiting = self._waiting, set()
        for deferred in waiting:
            deferred.callback(None)

    async def _sweep(self) -> None:
        slept = self._clock.seconds() - self._rested - SWEEP
        if abs(slept) > min(JUMP, self._terms.seconds / 2) or self._is_behind:
            self._log.warn("nobody could renew for {s} s: no lease ends of that", s=round(slept))
            await self._extend(leases.extend_all, slept)
        await self._end_silent()
        self._rested = self._clock.seconds()  # not after an error: a database that was away is a jump, too
        self._live = {lease: live for lease, live in self._live.items() if 0 <= self._rested - live.checked < LIVE}
        await self._feed.look()

    async def _extend(self, extend: Callable[..., int], *slept: float) -> None:
        """Give leases their time again."""
        now = self._clock.seconds()
        extended = await self._workers.write(extend, now, self._terms.seconds, self._engine, *slept)
        self._rested, self._is_behind = now, False
        if extended:
            self._log.info("{count} leases go on", count=extended)

    async def _end_silent(self) -> None:
        now = self._clock.seconds()
        due = await self._workers.read(leases.due, now)
        if due.expired:
            for attempt in await self._expire(now):
                self._log.warn("job {job}: attempt is {how}", job=attempt.job, how=attempt.outcome.value)
                self.ended(attempt)
                size = await self._workers.blocking(self._logs.seal, attempt.log)
                await self._workers.write(leases.note_log_size, attempt.attempt, size)
        if due.is_anything:
            await self._judge_done(now)

    async def _expire(self, now: float) -> tuple[Ended, ...]:
        try:
            return await self._workers.write(leases.expire, now, self._terms)
        except (OSError, DBAPIError) as error:  # a disk that is full refuses heartbeats as well
            self._is_behind = isinstance(error, DBAPIError) or bool(lack_of_space(error))
            raise

    async def _judge_done(self, now: float) -> None:
        """Judge each job by itself: one that can't be judged keeps no other from its verdict, and no lease alive."""
        unjudged = await self._workers.read(verdicts.unjudged)
        self._unjudgeable.intersection_update(unjudged)
        for job in unjudged:
            try:
                await self._workers.write(judge_jobs, (job,), self._rules, now)
            except Exception:  # a row that can't be read: told once, tried again each second
                if job not in self._unjudgeable:
                    self._log.failure("job {job} can't be judged", job=job)
                    self._unjudgeable.add(job)

    def _greet(self, connection: sqlalchemy.Connection, hello: NodeHello, now: float) -> tuple[bool, Proved]:
        is_new = nodes.hello(connection, hello.name, hello.platform, hello.slots, hello.version, now, hello.environment)
        return is_new, prove_first(connection, self._rules, now)  # by what ran in an environment like this one


def _note(connection: sqlalchemy.Connection, request: LeaseRequest, now: float) -> Asker:
    asker = nodes.seen(connection, request.node, now, **_figures(request))
    if asker is None:
        raise RefusedError(f"test node '{request.node}' is not known", "Say hello first", status=404)
    return asker


def _renew(
    connection: sqlalchemy.Connection, lease: int, heartbeat: Heartbeat, now: float, seconds: float
) -> tuple[float, bool]:
    node, expires, cancelled = leases.renew(connection, lease, heartbeat.fencing, now, seconds)
    nodes.seen(connection, node, now, **_figures(heartbeat))
    return expires, cancelled


def _figures(said: LeaseRequest | Heartbeat) -> dict[str, Any]:
    """Return what a test node says of itself; one without any memory free has not measured."""
    figures: dict[str, Any] = {"refuses": said.refuses}
    if said.memory_free:
        figures |= {"load": said.load, "memory_free": said.memory_free, "disk_free": said.disk_free}
    return figures

# SPDX-License-Identifier: Apache-2.0
"""The wire's server side: each call of :mod:`allotment_testfarm.wire` as one method, by a table of routes."""

import re
from collections.abc import Awaitable, Callable
from typing import IO, Any, TypeVar

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from twisted.web.static import NoRangeStaticProducer

from allotment.blobs import BlobStore
from allotment.codec import dumps, loads
from allotment.errors import AllotmentError, RefusedError
from allotment_testfarm.db import revisions
from allotment_testfarm.engine.http import Answer, WireRequest, refusal
from allotment_testfarm.engine.leases import Caller, Leases
from allotment_testfarm.engine.logs import LogSink
from allotment_testfarm.engine.results import Results
from allotment_testfarm.engine.sources import Sources
from allotment_testfarm.engine.space import lack_of_space
from allotment_testfarm.engine.workers import Workers
from allotment_testfarm.wire import CacheOffer, Heartbeat, JobResult, LeaseRequest, LogAnswer, NodeHello, StepReport

T = TypeVar("T")
MESSAGE = 64 << 10  # bytes of a small message
STEPS = 1 << 20  # bytes of a step report
RESULT = 32 << 20  # bytes of a result: all test cases with their messages
LOG_CHUNK = 8 << 20  # bytes of log in one call
_LEASE = r"leases/(\d{1,15})"
Handler = Callable[[WireRequest, str, Caller], Awaitable[Answer]]  # the request, what its path names, who asks


class Wire(Resource):
    """Everything below the root of the test nodes' port."""

    isLeaf = True
    _log = Logger()

    def __init__(
        self,
        workers: Workers,
        project: int,
        leases: Leases,
        results: Results,
        logs: LogSink,
        blobs: BlobStore,
        sources: Sources,
        cache: Callable[[], CacheOffer],
    ) -> None:
        super().__init__()
        self._workers = workers
        self._project = project
        self._leases = leases
        self._results = results
        self._logs = logs
        self._blobs = blobs
        self._sources = sources
        self._cache = cache  # what is offered now; reads files
        self._running: set[Deferred[None]] = set()
        self._routes: tuple[tuple[str, re.Pattern[str], Handler], ...] = (
            ("POST", re.compile("nodes"), self._hello),
            ("POST", re.compile("lease"), self._lease),
            ("POST", re.compile(f"{_LEASE}/heartbeat"), self._heartbeat),
            ("POST", re.compile(f"{_LEASE}/log"), self._append),
            ("POST", re.compile(f"{_LEASE}/steps"), self._steps),
            ("POST", re.compile(f"{_LEASE}/result"), self._result),
            ("PUT", re.compile("blobs/([0-9a-f]{64})"), self._blob),
            ("GET", re.compile("source/([0-9a-f]{40,64})"), self._source),
            ("GET", re.compile("cache"), self._offer_cache),
        )

    def render(self, request: Any) -> int:
        """Answer a request, later."""
        running = Deferred.fromCoroutine(self._respond(request))
        self._running.add(running)
        running.addErrback(self._broken, request)
        running.addBoth(lambda _: self._running.discard(running))
        return NOT_DONE_YET

    async def finish(self) -> None:
        """Wait until every request that was accepted is answered."""
        await DeferredList(list(self._running))

    def _broken(self, failure: Failure, request: WireRequest) -> None:
        """A bug: log it and cut the connection, so that the test node tries again."""
        self._log.failure("{method} {uri} could not be answered", failure, method=request.method, uri=request.uri)
        request.loseConnection()

    async def _respond(self, request: WireRequest) -> None:
        caller = Caller()
        request.notifyFinish().addErrback(lambda _: caller.hang_up())
        answer = await self._answer(request, caller)
        if caller.is_gone:
            if answer.file is not None:
                answer.file.close()
            return
        request.setResponseCode(answer.status)
        if answer.status == 204:
            request.finish()
            return
        request.setHeader(b"content-type", answer.kind.encode())
        if answer.file is not None:
            NoRangeStaticProducer(request, answer.file).start()
            return
        request.setHeader(b"content-length", str(len(answer.body)).encode())
        request.write(answer.body)
        request.finish()

    async def _answer(self, request: WireRequest, caller: Caller) -> Answer:
        if not request.is_known:
            return refusal(401, AllotmentError("the token is not this farm's", "Use the farm's node.token"))
        if request.is_too_large:
            return refusal(413, AllotmentError("the body is too large", "Send less at a time"))
        try:
            return await self._route(request, caller)
        except RefusedError as error:
            return refusal(error.status, error)
        except AllotmentError as error:  # a document that is not what its format says, a wrong checksum
            return refusal(400, error)
        except Exception as error:  # a bug, or the database is away: the test node hears that trying again may help
            if said := lack_of_space(error):
                self._log.error("{uri}: the disk is full: {said}", uri=request.path.decode(), said=said)
                return refusal(507, AllotmentError("the farm's disk is full", "Make room there; then this goes on"))
            self._log.failure("{method} {uri} failed", method=request.method, uri=request.uri)
            return refusal(500, AllotmentError("the engine could not do it", "Its log says why; try again"))

    async def _route(self, request: WireRequest, caller: Caller) -> Answer:
        path = request.path.decode("ascii", "replace")
        prefix, _, rest = path.partition("/wire/v1/")
        found = [(method, match, call) for method, route, call in self._routes if (match := route.fullmatch(rest))]
        if prefix or not found:
            raise RefusedError(f"there is no {path}", "See the wire's documentation", 404)
        wanted = request.method.decode("ascii", "replace")
        for method, match, call in found:
            if method == wanted:
                return await call(request, match[1] if match.lastindex else "", caller)
        raise RefusedError(f"{path} is not called by {wanted}", f"Use {found[0][0]}", 405)

    async def _hello(self, request: WireRequest, _: str, caller: Caller) -> Answer:
        return _json(await self._leases.hello(_message(NodeHello, request)))

    async def _lease(self, request: WireRequest, _: str, caller: Caller) -> Answer:
        lease = await self._leases.take(_message(LeaseRequest, request), caller)
        return Answer(204) if lease is None else _json(lease)

    async def _heartbeat(self, request: WireRequest, lease: str, caller: Caller) -> Answer:
        return _json(await self._leases.renew(int(lease), _message(Heartbeat, request)))

    async def _append(self, request: WireRequest, lease: str, caller: Caller) -> Answer:
        fencing, offset = request.number("fencing"), request.number("offset")
        data = request.body(LOG_CHUNK)
        log = await self._leases.log_of(int(lease), fencing)
        appended = await self._workers.blocking(self._logs.append, log, offset, data)
        return _json(LogAnswer(appended.acknowledged), 416 if appended.is_gap else 200)

    async def _steps(self, request: WireRequest, lease: str, caller: Caller) -> Answer:
        await self._leases.set_steps(int(lease), _message(StepReport, request, STEPS))
        return Answer(204)

    async def _result(self, request: WireRequest, lease: str, caller: Caller) -> Answer:
        if request.size <= MESSAGE:
            result = _message(JobResult, request)
        else:  # thousands of test cases take a while to read
            result = await self._workers.blocking(_message, JobResult, request, RESULT)
        await self._results.accept(int(lease), result)
        return Answer(204)

    async def _blob(self, request: WireRequest, sha256: str, caller: Caller) -> Answer:
        await self._workers.blocking(self._store, sha256, request.stream())
        return Answer(201, b"{}")

    def _store(self, sha256: str, content: IO[bytes]) -> None:
        if sha256 in self._blobs:
            self._blobs.path(sha256).touch()  # retention leaves young ones: a manifest that needs it comes next
            return
        self._blobs.write(iter(lambda: content.read(1 << 20), b""), expected=sha256)

    async def _source(self, request: WireRequest, commit: str, caller: Caller) -> Answer:
        if await self._workers.read(revisions.get, self._project, commit) is None:
            raise RefusedError(f"revision {commit} is not known", "Ask for one that a lease names", 404)
        return await self._workers.blocking(self._open, commit)

    async def _offer_cache(self, request: WireRequest, _: str, caller: Caller) -> Answer:
        return _json(await self._workers.blocking(self._cache))

    def _open(self, commit: str) -> Answer:
        return Answer(200, kind="application/x-tar", file=self._sources.archive(commit).open("rb"))


def _message(kind: type[T], request: WireRequest, limit: int = MESSAGE) -> T:
    return loads(kind, request.body(limit), "request")


def _json(value: object, status: int = 200) -> Answer:
    return Answer(status, dumps(value))

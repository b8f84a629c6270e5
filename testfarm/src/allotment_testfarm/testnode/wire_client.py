# SPDX-License-Identifier: Apache-2.0
"""The calls of ``wire.py`` as Python functions, for threads."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self, TypeVar

import httpx2

from allotment.client import check_url, refusal
from allotment.codec import dumps, loads
from allotment.errors import AllotmentError, UnreachableError
from allotment.messages.job import Lease
from allotment.secret import Secret
from allotment_testfarm.wire import (
    CacheOffer,
    Heartbeat,
    HeartbeatAnswer,
    JobResult,
    LeaseRequest,
    LogAnswer,
    NodeHello,
    NodeWelcome,
    StepReport,
)

T = TypeVar("T")
_CHUNK = 1 << 20  # bytes
_MAX_ARCHIVE = 4 << 30  # bytes of a revision's tar


class WireClient:
    """The engines of one farm, spoken to by all threads of a test node: to one at a time.

    When that gives no usable answer, the next call goes to the next one; all of them know every lease.

    Every call raises UnreachableError when no usable answer came, server errors included: trying again may help; and
    RefusedError when the engine says no: a status of 409 means that the lease is lost.
    """

    def __init__(self, url: str, token: Secret, timeout: float = 20.0, others: Sequence[str] = ()) -> None:
        """``others`` are the URLs of more engines over the same database."""
        self._urls = [each.rstrip("/") for each in (url, *others)]
        for each in self._urls:
            check_url(each)
        self._moving = threading.Lock()
        self.timeout = timeout  # seconds
        # Environment proxies are left out: a token must not travel through one that nobody named here.
        self._http = httpx2.Client(
            headers={"Authorization": f"Bearer {token.reveal()}"},
            timeout=timeout,
            trust_env=False,
        )

    @property
    def url(self) -> str:
        """Of the engine that is spoken to now."""
        return self._urls[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; calls under way in other threads end with UnreachableError."""
        self._http.close()

    def hello(self, hello: NodeHello) -> NodeWelcome:
        """Make the test node known."""
        return self._decode(NodeWelcome, self._send("POST", "nodes", dumps(hello)))

    def lease(self, request: LeaseRequest) -> Lease | None:
        """Ask for a job; None when there was none within ``request.wait`` seconds."""
        answer = self._send("POST", "lease", dumps(request), timeout=request.wait + self.timeout)
        return None if answer.status_code == 204 else self._decode(Lease, answer)

    def heartbeat(self, lease: int, heartbeat: Heartbeat, timeout: float) -> HeartbeatAnswer:
        """Renew a lease; wait no longer than ``timeout`` seconds, after which a new connection may do better."""
        answer = self._send("POST", f"leases/{lease}/heartbeat", dumps(heartbeat), timeout=timeout)
        return self._decode(HeartbeatAnswer, answer)

    def log(self, lease: int, fencing: int, offset: int, data: bytes) -> int:
        """Send bytes of the log; return how many the engine now has, from where to go on, also after a gap."""
        query = {"fencing": fencing, "offset": offset}
        answer = self._send("POST", f"leases/{lease}/log", data, query=query, also=(416,))
        return self._decode(LogAnswer, answer).acknowledged

    def steps(self, lease: int, report: StepReport) -> None:
        """Tell all steps so far."""
        self._send("POST", f"leases/{lease}/steps", dumps(report))

    def result(self, lease: int, result: JobResult) -> None:
        """End an attempt; the same result twice is accepted twice."""
        self._send("POST", f"leases/{lease}/result", dumps(result))

    def put_blob(self, sha256: str, path: Path) -> None:
        """Upload a file under its hash."""
        with path.open("rb") as file:
            length = {"Content-Length": str(path.stat().st_size)}
            self._send("PUT", f"blobs/{sha256}", _chunks(file), headers=length, timeout=300.0)

    def cache(self) -> CacheOffer:
        """Return what the farm says of its binary cache."""
        return self._decode(CacheOffer, self._send("GET", "cache", b""))

    def source(self, revision: str, target: Path) -> None:
        """Download a revision's files as a tar."""
        size, url = 0, self.url
        try:
            with self._http.stream("GET", f"{url}/wire/v1/source/{revision}", timeout=300.0) as answer:
                if not answer.is_success:
                    answer.read()
                    raise self._refusal(url, answer)
                with target.open("wb") as file:
                    for chunk in answer.iter_bytes(_CHUNK):
                        size += len(chunk)
                        if size > _MAX_ARCHIVE:
                            raise AllotmentError(f"revision {revision} is larger than {_MAX_ARCHIVE} bytes")
                        file.write(chunk)
        except (httpx2.HTTPError, RuntimeError) as error:  # RuntimeError: the client was closed
            raise self._unreachable(url, error) from error

    def _send(
        self,
        method: str,
        path: str,
        body: bytes | Iterator[bytes],
        *,
        query: dict[str, int] | None = None,
        headers: dict[str, str] | None = None,
        timeout: float | None = None,
        also: tuple[int, ...] = (),
    ) -> httpx2.Response:
        """Return the answer when it is a yes, or its status is in ``also``."""
        url = self.url
        try:
            answer = self._http.request(
                method,
                f"{url}/wire/v1/{path}",
                content=body,
                params=query,
                headers=headers,
                timeout=self.timeout if timeout is None else timeout,
            )
        except (httpx2.HTTPError, RuntimeError) as error:  # RuntimeError: the client was closed
            raise self._unreachable(url, error) from error
        if answer.is_success or answer.status_code in also:
            return answer
        raise self._refusal(url, answer)

    def _decode(self, kind: type[T], answer: httpx2.Response) -> T:
        return loads(kind, answer.content, self.url)

    def _refusal(self, url: str, answer: httpx2.Response) -> AllotmentError:
        if answer.status_code >= 500 or answer.status_code == 429:
            return self._unreachable(url, f"HTTP {answer.status_code}, {refusal(answer, url, '').what}")
        return refusal(answer, url, "Check that the URL is the farm's wire")

    def _unreachable(self, url: str, reason: object) -> UnreachableError:
        """Return the error of an engine that gave no usable answer, and go on with the next one."""
        with self._moving:
            if url == self.url:  # else another thread was here first
                self._urls = [*self._urls[1:], url]
        text = str(reason).rstrip(".") or type(reason).__name__
        return UnreachableError(f"the farm at {url} did not answer: {text}", "Check that it runs, then retry")


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK):
        yield chunk

# SPDX-License-Identifier: Apache-2.0
"""The master's HTTP API as Python calls; needs the extra ``allotment[client]``."""

import hashlib
import ipaddress
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx2

from allotment.blobs import BlobStore
from allotment.codec import Json, canonical, decode, encode
from allotment.errors import AllotmentError, RefusedError, UnreachableError
from allotment.messages.desired_state import NodeDesiredState, ObservedState, SupplyState
from allotment.messages.event import Event
from allotment.messages.instance import InstanceState
from allotment.messages.manifest import DEFAULT_TYPE, SignedManifest
from allotment.messages.service import (
    InstanceInfo,
    NodeCredentials,
    NodeInfo,
    NodeRegistration,
    ReleaseInfo,
    ServiceRequest,
    StateRequest,
    SupplyInfo,
    SupplyRequest,
    TokenAnswer,
    TokenRequest,
)
from allotment.secret import Secret

T = TypeVar("T")
_CHUNK = 1 << 20  # bytes
_LARGEST_BLOB = 1 << 30  # bytes; masters take no larger ones
# Asked again once when a kept connection turned out to be closed: the same call twice has the same effect.
_REPEATABLE = frozenset({"GET", "HEAD", "PUT", "PATCH", "DELETE"})


class MasterClient:
    """One master, spoken to by any number of threads; a context manager, or call :meth:`close`.

    Every call raises UnreachableError when no answer came and RefusedError when the answer is no. ``transport`` is
    for programs that reach the master by other means than a socket.
    """

    def __init__(
        self,
        url: str,
        token: Secret | None = None,
        timeout: float = 30.0,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        check_url(url)
        self.url = url.rstrip("/")
        self.timeout = timeout  # seconds
        headers = {"Authorization": f"Bearer {token.reveal()}"} if token else {}
        # Environment proxies are left out: a token must not travel through one that nobody named here.
        self._http = httpx2.Client(
            base_url=self.url, headers=headers, timeout=timeout, transport=transport, trust_env=False
        )

    def __enter__(self) -> "MasterClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    # nodes

    def register_node(
        self, name: str, partitions: int, platform: str, labels: Mapping[str, str] | None = None
    ) -> Secret:
        """Make a node known and return its token; needs an admin's or an enrolment token."""
        body = NodeRegistration(name, partitions, platform, labels or {})
        return self._ask(NodeCredentials, "POST", "/nodes", body).token

    def nodes(self) -> list[NodeInfo]:
        """Return all nodes, by name."""
        return list(self._all(NodeInfo, "/nodes"))

    def desired(self, node: str, since: int, wait: float) -> NodeDesiredState | None:
        """Return what is wanted of a node once it differs from ``since``; None when nothing changed in ``wait`` s."""
        path = f"/nodes/{_quote(node)}/desired"
        answer = self._send("GET", path, params={"since": since, "wait": wait}, timeout=wait + self.timeout)
        return None if answer.status_code == 304 else self._decode(NodeDesiredState, answer)

    def report(self, node: str, observed: ObservedState) -> None:
        """Tell the master what a node has observed."""
        self._send("POST", f"/nodes/{_quote(node)}/observed", content=canonical(encode(observed)))

    def create_token(self, scope: str) -> Secret:
        """Return a new token of a scope; needs an admin's token."""
        return self._ask(TokenAnswer, "POST", "/tokens", TokenRequest(scope)).token

    # releases

    def put_blob(self, path: Path, sha256: str | None = None) -> str:
        """Upload a file, unless the master has its bytes, and return their sha256.

        Who knows that gives it: the file is then read only if the master has not.
        """
        if sha256 is None:
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        if self._send("HEAD", f"/blobs/{sha256}", missing=True).status_code == 404:
            size = path.stat().st_size
            # A body that is read while it is sent can't be sent twice, so this call is never repeated by itself.
            with path.open("rb") as file:
                self._send("PUT", f"/blobs/{sha256}", stream=file, headers={"Content-Length": str(size)})
        return sha256

    def get_blob(self, sha256: str, store: BlobStore, limit: int = _LARGEST_BLOB) -> None:
        """Download a blob into ``store``, unless it is there; other bytes than its name says are refused.

        So are more than ``limit`` bytes: a master that sends without end must not fill the disk.
        """
        if sha256 in store:
            return
        try:
            with self._http.stream("GET", f"/api/v1/blobs/{_quote(sha256)}") as answer:
                if answer.status_code != 200:
                    answer.read()
                    raise refusal(answer, self.url, "Check that the URL is a master's")
                store.write(answer.iter_bytes(_CHUNK), expected=sha256, limit=limit)
        except httpx2.RequestError as error:
            raise self._unreachable(error) from error

    def put_manifest(self, signed: SignedManifest) -> str:
        """Give the master a release, whose closure it must have as a blob, and return the manifest's sha256."""
        sha256 = signed.manifest.sha256
        self._send("PUT", f"/manifests/{sha256}", content=canonical(encode(signed)))
        return sha256

    def get_manifest(self, sha256: str) -> SignedManifest:
        """Return a release's manifest with its signatures."""
        return self._ask(SignedManifest, "GET", f"/manifests/{_quote(sha256)}")

    def releases(self) -> list[ReleaseInfo]:
        """Return all releases, the newest first."""
        return list(self._all(ReleaseInfo, "/releases"))

    def supply(
        self, node: str, release: str, state: SupplyState | str = SupplyState.AVAILABLE, development: bool = False
    ) -> SupplyInfo:
        """Offer a release on a node, or take it away."""
        body = SupplyRequest(node, release, SupplyState(state), development)
        return self._ask(SupplyInfo, "PUT", "/supplies", body)

    def supplies(self) -> list[SupplyInfo]:
        """Return what is offered where, by node and release."""
        return list(self._all(SupplyInfo, "/supplies"))

    # instances

    def request(
        self,
        name: str,
        release: str,
        software_type: str = DEFAULT_TYPE,
        parameters: Mapping[str, Json] | None = None,
        state: InstanceState | str = InstanceState.STARTED,
        sla: Mapping[str, str] | None = None,
    ) -> InstanceInfo:
        """Ask for an instance; asking again changes what differs and is otherwise without effect."""
        body = ServiceRequest(release, software_type, parameters or {}, InstanceState(state), sla or {})
        return self._ask(InstanceInfo, "PUT", f"/instances/{_quote(name)}", body)

    def set_state(self, name: str, state: InstanceState | str) -> InstanceInfo:
        """Start, stop or destroy an instance that exists, all else unchanged."""
        return self._ask(InstanceInfo, "PATCH", f"/instances/{_quote(name)}", StateRequest(InstanceState(state)))

    def destroy(self, name: str) -> InstanceInfo:
        """Ask for an instance and its children to be destroyed; their data goes with them."""
        return self._ask(InstanceInfo, "DELETE", f"/instances/{_quote(name)}")

    def instance(self, name: str) -> InstanceInfo:
        """Return an instance by its name; the last one of that name when all are destroyed."""
        return self._ask(InstanceInfo, "GET", f"/instances/{_quote(name)}")

    def instances(self) -> list[InstanceInfo]:
        """Return all instances that are not destroyed, the oldest first."""
        return list(self._all(InstanceInfo, "/instances"))

    def events(self, since: int = 0, wait: float = 0.0) -> list[Event]:
        """Return the events after ``since``, oldest first, at most a page of them; wait for one up to ``wait`` s."""
        answer = self._send("GET", "/events", params={"since": since, "wait": wait}, timeout=wait + self.timeout)
        return [decode(Event, item, self.url) for item in self._json(answer)["items"]]

    def last_event(self) -> int:
        """Return the number of the newest event: ask for events since then to hear of all that comes."""
        return int(self._json(self._send("GET", "/events", params={"since": 2**53}))["last"])

    # transport

    def _ask(self, kind: type[T], method: str, path: str, body: Any = None) -> T:
        content = None if body is None else canonical(encode(body))
        return self._decode(kind, self._send(method, path, content=content))

    def _all(self, kind: type[T], path: str) -> Iterator[T]:
        """Walk through all pages of a list."""
        after = ""
        while True:
            page = self._json(self._send("GET", path, params={"after": after} if after else {}))
            for item in page["items"]:
                yield decode(kind, item, self.url)
            after = page["next"]
            if not after:
                return

    def _send(
        self,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        stream: Any = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        missing: bool = False,
    ) -> httpx2.Response:
        """Return the answer when it is a yes, 304, or 404 with ``missing``; each other answer is an error."""
        head = {**(headers or {}), **({"Content-Type": "application/json"} if content is not None else {})}
        body = stream if stream is not None else content
        for attempt in (1, 2):
            try:
                answer = self._http.request(
                    method,
                    f"/api/v1{path}",
                    content=body,
                    params=params,
                    headers=head,
                    timeout=self.timeout if timeout is None else timeout,
                )
                break
            except httpx2.RemoteProtocolError as error:
                if attempt == 2 or stream is not None or method not in _REPEATABLE:
                    raise self._unreachable(error) from error
            except httpx2.RequestError as error:
                raise self._unreachable(error) from error
        if answer.is_success or answer.status_code == 304 or (missing and answer.status_code == 404):
            return answer
        raise refusal(answer, self.url, "Check that the URL is a master's")

    def _json(self, answer: httpx2.Response) -> Any:
        try:
            return json.loads(answer.content)
        except ValueError as error:
            raise RefusedError(
                f"{self.url} did not answer in JSON", "Check that the URL is a master's", answer.status_code
            ) from error

    def _decode(self, kind: type[T], answer: httpx2.Response) -> T:
        return decode(kind, self._json(answer), self.url)

    def _unreachable(self, error: Exception) -> UnreachableError:
        reason = str(error) or type(error).__name__
        return UnreachableError(f"the master at {self.url} did not answer: {reason}", "Check that it runs, then retry")


def refusal(answer: httpx2.Response, url: str, fix: str) -> RefusedError:
    """Return what a server's no says; ``fix`` is for an answer that is none of ours."""
    try:
        data = json.loads(answer.content)
        return RefusedError(str(data["error"]), str(data.get("fix", "")), answer.status_code)
    except (ValueError, TypeError, KeyError):
        return RefusedError(f"{url} answered {answer.status_code}", fix, answer.status_code)


def check_url(url: str) -> None:
    """Refuse a URL over which a token would travel readable: only https, or http to this machine."""
    try:
        parsed = httpx2.URL(url)
        valid = parsed.scheme in ("http", "https") and bool(parsed.host)
    except httpx2.InvalidURL:
        valid = False
    if not valid:
        raise AllotmentError(f"{url!r} is not a master's URL", "Write it like http://127.0.0.1:8000")
    if parsed.scheme == "https":
        return
    try:
        loopback = parsed.host == "localhost" or ipaddress.ip_address(parsed.host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise AllotmentError(f"{url} would send tokens unencrypted", "Use https, or http on this machine's loopback")


def _quote(name: str) -> str:
    return quote(name, safe="/")

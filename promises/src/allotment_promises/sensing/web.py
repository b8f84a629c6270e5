# SPDX-License-Identifier: Apache-2.0
"""Fetch a page over HTTP: what the promise types that do so have in common, and their options."""

import base64
import functools
import http.client
import re
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from allotment.options import OptionProblem, check_given_together
from allotment.secret import Secret
from allotment_promises.measurement import Metric
from allotment_promises.sensing.limits import check_above_zero

BODY_LIMIT = 1 << 20  # bytes of a page that are looked at


@dataclass(frozen=True, kw_only=True)
class WebOptions:
    """Options of a promise type that fetches ``url``."""

    url: str  # http or https
    timeout: float = 5.0  # seconds to connect, and for each wait for the server
    verify: bool = True  # check the server's certificate
    ca: Path | None = None  # file of certificates to trust instead of the system's, relative to the partition
    cert_file: Path | None = None  # certificate that tells the server who asks, relative to the partition
    key_file: Path | None = None  # its private key, when it is in a file of its own
    username: str = ""  # user, sent with the password to this server only
    password: Secret = Secret("")  # its password
    allow_redirects: bool = True  # judge the page that redirections lead to

    def __post_init__(self) -> None:
        check_url(self.url)
        check_above_zero(timeout=self.timeout)
        if self.ca is not None and not self.verify:
            raise OptionProblem("ca, verify", "ca is of no use with verify = false", "Remove one of the two")
        if self.key_file is not None and self.cert_file is None:
            raise OptionProblem("key-file", "there is no cert-file that it belongs to", "Give both")
        if ":" in self.username:
            raise OptionProblem("username", f"{self.username!r} holds a colon, which ends it", "Give another user")
        check_given_together(username=self.username, password=self.password.reveal())


@dataclass(frozen=True)
class Answer:
    """What a server said."""

    code: int
    headers: Mapping[str, str]
    body: bytes  # cut after the limit
    seconds: float  # until the body's end, or the limit

    def metrics(self) -> dict[str, Metric]:
        """Return what every promise about a page measures."""
        return {"seconds": Metric(self.seconds, "s"), "code": Metric(self.code)}


class NoAnswer(Exception):
    """Nothing that is HTTP came back; the text says why."""


def check_url(url: str, schemes: tuple[str, ...] = ("http", "https")) -> None:
    """Raise unless ``url`` is one of a server, without a password: for ``__post_init__``."""
    example = f"Write it like {schemes[-1]}://host/path"
    if re.match(r"[^/?#]*//[^/?#]*@", url):  # before anything that shows it
        raise OptionProblem("url", "holds a user or password, which would be shown", "Leave it out")
    try:
        parts = urllib.parse.urlsplit(url)
        has_place = bool(parts.hostname) and parts.port != 0  # asking for the port checks it
    except ValueError:
        raise OptionProblem("url", f"{url!r} is no such address", example) from None
    if parts.scheme not in schemes or not has_place or re.search(r"[\x00-\x20\x7f]", url):
        raise OptionProblem("url", f"{url!r} is no such address", example)


def place(url: str) -> str:
    """Return ``host:port`` of a URL."""
    parts = urllib.parse.urlsplit(url)
    return f"{parts.hostname}:{parts.port or (443 if parts.scheme in ('https', 'wss') else 80)}"


def fetch(options: WebOptions, partition: Path, limit: int = 0, headers: Mapping[str, str] | None = None) -> Answer:
    """Return the answer for ``url`` with at most ``limit`` bytes of its body; raises :class:`NoAnswer`."""
    started = time.monotonic()
    try:
        request = urllib.request.Request(options.url, headers={"User-Agent": "allotment-promise", **(headers or {})})
        if options.username:
            pair = f"{options.username}:{options.password.reveal()}".encode()
            request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(pair).decode()}")
        try:
            found = _opener(options, partition).open(request, timeout=options.timeout)
        except urllib.error.HTTPError as error:
            found = error  # an answer all the same
        with found:
            body = found.read(limit) if limit else b""
            code, received = int(found.status), dict(found.headers.items())
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: no certificate or key in a file
        raise NoAnswer(str(getattr(error, "reason", None) or error)) from error
    return Answer(code, {name.lower(): value for name, value in received.items()}, body, time.monotonic() - started)


def tls_context(verify: bool, ca: Path | None) -> ssl.SSLContext:
    """Return how to check a server's certificate, not to be changed; an unreadable ``ca`` is an OSError."""
    return _system_context() if verify and ca is None else _new_context(verify, ca)


@functools.cache  # reading the system's certificates takes 25 ms; a process of promises ends long before they change
def _system_context() -> ssl.SSLContext:
    return ssl.create_default_context()


def _new_context(verify: bool, ca: Path | None) -> ssl.SSLContext:
    if verify:
        return ssl.create_default_context(cafile=None if ca is None else str(ca))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _opener(options: WebOptions, partition: Path) -> urllib.request.OpenerDirector:
    opener = urllib.request.OpenerDirector()  # an empty one: no proxy, no file: or ftp: URL, no error handling
    opener.add_handler(urllib.request.HTTPHandler())
    opener.add_handler(urllib.request.HTTPSHandler(context=_context(options, partition)))
    if options.allow_redirects:
        opener.add_handler(urllib.request.HTTPErrorProcessor())
        opener.add_handler(_Redirections())
        opener.add_handler(urllib.request.HTTPDefaultErrorHandler())
        opener.add_handler(urllib.request.UnknownHandler())
    return opener


def _context(options: WebOptions, partition: Path) -> ssl.SSLContext | None:
    """Return how to verify; None is urllib's own way, which reads the system's certificates once they are needed."""
    ca = None if options.ca is None else partition / options.ca
    if options.cert_file is not None:
        context = _new_context(options.verify, ca)
        key = None if options.key_file is None else partition / options.key_file
        # An empty password: a key that has one must not make openssl ask for it at a terminal.
        context.load_cert_chain(partition / options.cert_file, key, password="")
        return context
    if options.verify and ca is None and not options.url.startswith("https:"):
        return None
    return tls_context(options.verify, ca)


class _Redirections(urllib.request.HTTPRedirectHandler):
    """Passes a password on to the same server only."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        new = super().redirect_request(req, fp, code, msg, headers, newurl)
        is_same = urllib.parse.urlsplit(newurl)[:2] == urllib.parse.urlsplit(req.full_url)[:2]
        if new is not None and is_same and "Authorization" in req.unredirected_hdrs:
            new.add_unredirected_header("Authorization", req.unredirected_hdrs["Authorization"])
        return new

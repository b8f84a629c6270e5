# SPDX-License-Identifier: Apache-2.0
"""Promise: a URL answers with the expected status code."""

import http.client
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from allotment.options import OptionProblem
from allotment_promises.generic import GenericPromise
from allotment_promises.measurement import Measurement, Metric


@dataclass(frozen=True)
class Options:
    url: str  # http or https
    http_code: int = 200  # expected status code; 0 accepts any answer
    timeout: float = 5.0  # seconds to connect, and for each wait for the server
    verify: bool = True  # check the server's certificate
    ca: Path | None = None  # file of certificates to trust instead of the system's, relative to the partition
    allow_redirects: bool = True  # judge the page that redirections lead to

    def __post_init__(self) -> None:
        parts = urllib.parse.urlsplit(self.url)
        if parts.username is not None:
            raise OptionProblem("url", "holds a user or password, which would be shown", "Leave it out")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise OptionProblem("url", f"{self.url!r} is no such address", "Write it like https://host/path")
        if self.ca is not None and not self.verify:
            raise OptionProblem("ca, verify", "ca is of no use with verify = false", "Remove one of the two")


class CheckUrlAvailable(GenericPromise[Options]):
    """Passes when ``url`` answers with ``http-code`` within ``timeout``."""

    def target(self) -> str:
        parts = urllib.parse.urlsplit(self.options.url)
        return f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"

    def sense(self) -> Measurement:
        started = time.monotonic()
        try:
            code = self._fetch()
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            reason = getattr(error, "reason", None) or error
            return Measurement.failed(f"{self.options.url}: {reason}")
        seconds = time.monotonic() - started
        if self.options.http_code not in (0, code):
            return Measurement.failed(
                f"{self.options.url} answers {code}, expected {self.options.http_code}", seconds=Metric(seconds, "s")
            )
        return Measurement.passed(f"{self.options.url} answers {code}", seconds=Metric(seconds, "s"))

    def _fetch(self) -> int:
        """Return the status code of the answer; its body is not read."""
        opener = urllib.request.OpenerDirector()  # an empty one: no proxy, no file: or ftp: URL, no error handling
        opener.add_handler(urllib.request.HTTPHandler())
        opener.add_handler(urllib.request.HTTPSHandler(context=self._context()))
        if self.options.allow_redirects:
            opener.add_handler(urllib.request.HTTPErrorProcessor())
            opener.add_handler(urllib.request.HTTPRedirectHandler())
            opener.add_handler(urllib.request.HTTPDefaultErrorHandler())
            opener.add_handler(urllib.request.UnknownHandler())
        opener.addheaders = [("User-Agent", "allotment-promise")]
        try:
            with opener.open(self.options.url, timeout=self.options.timeout) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    def _context(self) -> ssl.SSLContext | None:
        """Return how to verify; None is urllib's own way, which reads the system's certificates only for https."""
        if self.options.ca is not None:
            return ssl.create_default_context(cafile=str(self.partition / self.options.ca))
        if self.options.verify:
            return None
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context

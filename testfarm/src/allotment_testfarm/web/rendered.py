# SPDX-License-Identifier: Apache-2.0
"""Pages as bytes: compressed once, sent as 304 when known, and the costly ones kept for a moment."""

import gzip
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from fastapi import Request
from fastapi.responses import Response

from allotment_master.kit.listing import tagged

_WORTH_COMPRESSING = 1400  # bytes: less fits one packet anyway
_MEDIA_TYPE = "text/html; charset=utf-8"


@dataclass(frozen=True)
class Rendered:
    """A page's HTML and, where it is worth it, the same compressed."""

    html: bytes
    compressed: bytes | None

    @classmethod
    def of(cls, text: str) -> "Rendered":
        """Encode and compress a page."""
        html = text.encode()
        # mtime 0: equal pages are equal bytes. Level 1 is most of the gain for a fifth of the time.
        return cls(html, gzip.compress(html, 1, mtime=0) if len(html) > _WORTH_COMPRESSING else None)

    def answer(self, request: Request) -> Response:
        """Return the page, or 304, as this request wants it."""
        answer = tagged(request, self.html, _MEDIA_TYPE)
        answer.headers["Vary"] = "Accept-Encoding"
        if answer.status_code == 200 and self.compressed is not None and _accepts_gzip(request):
            answer.body = self.compressed
            answer.headers["Content-Encoding"] = "gzip"
            answer.headers["Content-Length"] = str(len(self.compressed))
        return answer


class Kept:
    """Keeps pages while their version stays the same, ``seconds`` at most.

    The version is the newest event's id. On PostgreSQL a transaction may commit after another that took a later id, so
    an equal version does not prove that nothing changed: the time limit ends what it can hide.
    """

    def __init__(self, clock: Callable[[], float], seconds: float = 2.0, number: int = 64) -> None:
        self._clock = clock
        self._seconds = seconds
        self._number = number
        self._pages: OrderedDict[Hashable, tuple[int, float, Rendered]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, version: int) -> Rendered | None:
        """Return the page kept for ``key`` if it is of this version and still young."""
        with self._lock:
            kept_version, until, page = self._pages.get(key, (-1, 0.0, None))
        return page if kept_version == version and self._clock() < until else None

    def put(self, key: Hashable, version: int, page: Rendered) -> Rendered:
        """Keep a page; the one kept first goes when there are too many."""
        with self._lock:
            self._pages[key] = version, self._clock() + self._seconds, page
            self._pages.move_to_end(key)
            if len(self._pages) > self._number:
                self._pages.popitem(last=False)
        return page


def _accepts_gzip(request: Request) -> bool:
    for item in request.headers.get("accept-encoding", "").split(","):
        coding, _, quality = item.partition(";")
        if coding.strip().lower() == "gzip":
            return quality.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False

# SPDX-License-Identifier: Apache-2.0
"""The JSON API of a farm's web tier, as the commands read it."""

import json
from types import TracebackType
from typing import Any, Self

import httpx2

from allotment.client import refusal
from allotment.errors import AllotmentError, UnreachableError

_WAIT = 30.0  # seconds for an answer


class FarmClient:
    """One farm, by the URL of its pages; a context manager."""

    def __init__(self, url: str) -> None:
        try:
            is_valid = httpx2.URL(url).scheme in ("http", "https") and bool(httpx2.URL(url).host)
        except httpx2.InvalidURL:
            is_valid = False
        if not is_valid:
            raise AllotmentError(f"{url!r} is not a farm's URL", "Write it like http://127.0.0.1:8080")
        self.url = url.rstrip("/")
        self._http = httpx2.Client(timeout=_WAIT, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, path: str, **query: str | int) -> Any:
        """Return what is at ``/api/v1/<path>``; no answer is an UnreachableError, a no is a RefusedError."""
        try:
            answer = self._http.get(f"{self.url}/api/v1/{path}", params=query)
        except httpx2.HTTPError as error:
            reason = str(error).rstrip(".") or type(error).__name__
            raise UnreachableError(
                f"the farm at {self.url} did not answer: {reason}", "Check that it runs, then retry"
            ) from error
        fix = "Give the URL of the farm's pages, which farm.json calls url"
        if not answer.is_success:
            raise refusal(answer, self.url, fix)
        try:
            return json.loads(answer.content)
        except ValueError as error:
            raise AllotmentError(f"{self.url} did not answer in JSON", fix) from error

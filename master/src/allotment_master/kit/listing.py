# SPDX-License-Identifier: Apache-2.0
"""Answers: messages as JSON, lists in pages, and 304 for what the caller has already."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

from fastapi import Query, Request
from fastapi.responses import Response

from allotment.codec import canonical, dumps, encode

T = TypeVar("T")
Limit = Annotated[int, Query(ge=1, le=1000, description="How many items at most.")]
After = Annotated[str, Query(max_length=512, pattern=r"^[^\x00]*$", description="`next` of the page before.")]


def answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a message, or any data that messages are made of, as an answer; secrets in it are sent."""
    return Response(dumps(value), status, {"Cache-Control": "no-store", **(headers or {})}, "application/json")


def page_of(request: Request, items: Sequence[T], limit: int, key: Callable[[T], object]) -> Response:
    """Return ``{"items", "next"}`` of one item more than ``limit`` if there are more; 304 when nothing changed.

    Ask the database for ``limit + 1`` items after ``after``; ``key`` of the last shown becomes ``next``.
    """
    shown = items[:limit]
    following = str(key(shown[-1])) if len(items) > limit else ""
    return tagged(request, canonical({"items": encode(list(shown)), "next": following}), "application/json")


def tagged(request: Request, body: bytes, media_type: str) -> Response:
    """Return ``body`` with an ETag, or 304 when the caller's If-None-Match says that it has these bytes."""
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    known = [item.strip().removeprefix("W/") for item in request.headers.get("if-none-match", "").split(",")]
    if tag in known or known == ["*"]:
        return Response(status_code=304, headers=headers)
    return Response(body, 200, headers, media_type)

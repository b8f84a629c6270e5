# SPDX-License-Identifier: Apache-2.0
"""A keeper's answer, taken with care: it is its partition's user, whose other processes may speak in its place."""

import json
import socket
import time
from collections.abc import Container, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from allotment.codec import decode
from allotment.errors import AllotmentError
from allotment_promises.catalogue import NAME_LIMIT, Timing, is_time
from allotment_promises.measurement import Metric
from allotment_promises.result import MESSAGE_LIMIT, METRICS_LIMIT, TARGET_LIMIT, PromiseResult, clean

_SIZE_LIMIT = 1 << 24  # bytes of an answer
_TIME_LIMIT = 1e11  # seconds: some three thousand years, as a UTC epoch too
_AFTER_LIMIT = 50  # names
_T = TypeVar("_T")


class NonsenseError(Exception):
    """What came is no answer of a keeper."""


def lines(connection: socket.socket, deadline: float) -> Iterator[Mapping[str, Any]]:
    """Yield the lines of an answer until the other side closes, or has said too much."""
    rest = bytearray()
    size = 0
    while size <= _SIZE_LIMIT:
        connection.settimeout(max(0.01, deadline - time.monotonic()))
        chunk = connection.recv(1 << 16)
        if not chunk:
            return
        size += len(chunk)
        first, *others = chunk.split(b"\n")
        rest += first
        for other in others:
            yield _parse(rest)
            rest = bytearray(other)
    raise NonsenseError(f"more than {_SIZE_LIMIT >> 20} MiB")


def results(answer: Mapping[str, Any], wanted: Container[str] | None) -> list[PromiseResult]:
    """Return the results of a line; each is of a promise that was ``wanted``, and within all limits."""
    return [_result(item, wanted) for item in _found(answer)]


def timings(answer: Mapping[str, Any]) -> list[Timing]:
    """Return the timings of a line."""
    found = [_decoded(Timing, item) for item in _found(answer)]
    for item in found:
        _check_name(item.name)
        if not is_time(item.period, item.jitter):
            raise NonsenseError("a period that is none")
    return found


def text(answer: Mapping[str, Any], key: str) -> str:
    """Return a text of a line as it may be shown; empty when there is none."""
    return clean(str(answer.get(key, ""))[: 2 * MESSAGE_LIMIT])


def _parse(line: bytearray) -> Mapping[str, Any]:
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise NonsenseError("what is no JSON") from error
    if not isinstance(answer, dict):
        raise NonsenseError("JSON that is no object")
    return answer


def _found(answer: Mapping[str, Any]) -> list[Any]:
    found = answer.get("found")
    if not isinstance(found, list):
        raise NonsenseError("an object without results")
    return found


def _result(item: Any, wanted: Container[str] | None) -> PromiseResult:
    found = _decoded(PromiseResult, item)
    _check_name(found.name)
    if wanted is not None and found.name not in wanted:
        raise NonsenseError("a result of a promise that was not run")
    if not (abs(found.started) <= _TIME_LIMIT and 0 <= found.seconds <= _TIME_LIMIT):
        raise NonsenseError("a time that is none")
    metrics = {
        _line(name, 100): Metric(metric.value, _line(metric.unit, 20))
        for name, metric in list(found.metrics.items())[:METRICS_LIMIT]
    }
    return replace(
        found,
        message=found.message if _is_line(found.message, MESSAGE_LIMIT) else clean(found.message),
        metrics=metrics,
        target=_line(found.target, TARGET_LIMIT),
        after=tuple(_line(name, NAME_LIMIT) for name in found.after[:_AFTER_LIMIT]),
    )


def _decoded(kind: type[_T], item: Any) -> _T:
    try:
        return decode(kind, item)
    except AllotmentError as error:
        raise NonsenseError(error.what) from error


def _check_name(name: str) -> None:
    if not name or not _is_line(name, NAME_LIMIT):
        raise NonsenseError("a name that is none")


def _line(value: str, limit: int) -> str:
    return value if _is_line(value, limit) else clean(value[:limit]).replace("\n", " ")


def _is_line(value: str, limit: int) -> bool:
    return len(value) <= limit and value.isprintable()

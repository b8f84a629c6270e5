# SPDX-License-Identifier: Apache-2.0
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from allotment.options import OptionProblem
from allotment_promises import GenericPromise, Measurement

Measure = Callable[..., Measurement]
Serve = Callable[..., str]


class Cache:
    """A cache in front of a server: keeps what it fetched, and says so in its own way."""

    def __init__(self, origin: str, on_hit: Callable[[float], dict[str, str]], on_miss: dict[str, str]) -> None:
        self._origin = origin
        self._on_hit = on_hit
        self._on_miss = on_miss
        self._kept: dict[str, tuple[float, bytes]] = {}

    def __call__(self, request: Any) -> tuple[int, dict[str, str], bytes]:
        if request.path in self._kept:
            since, body = self._kept[request.path]
            return 200, self._on_hit(time.time() - since), body
        with urllib.request.urlopen(self._origin + request.path, timeout=10) as answer:
            self._kept[request.path] = (time.time(), answer.read())
        return 200, self._on_miss, self._kept[request.path][1]


@pytest.mark.parametrize(
    ("hit", "miss"),
    [
        ({"Age": "0"}, {}),
        ({"Cache-Status": "edge; fwd=stale, ours; hit"}, {"Cache-Status": 'ours; fwd=miss; detail="no; hit"'}),
        ({"X-Cache": "HIT from edge"}, {"X-Cache": "MISS from edge"}),
        ({"X-Cache-Status": "HIT"}, {"X-Cache-Status": "MISS"}),
    ],
    ids=lambda headers: "-".join(headers),
)
def test_the_second_request_is_answered_from_the_cache(
    measure: Measure, serve: Serve, hit: dict[str, str], miss: dict[str, str]
) -> None:
    origin = serve({"/page": (200, {}, b"text")})
    url = serve({"/page": Cache(origin, lambda age: hit, miss)}) + "/page"
    measured = measure("check_cache_available", url=url)
    assert (measured.is_passed, measured.message) == (True, f"{url} is answered from a cache at request 2")
    assert measured.metrics["tries"].value == 2
    assert measure("check_cache_available", url=url, tries=1).is_passed, "it is kept now"


def test_a_server_without_cache_fails(measure: Measure, serve: Serve) -> None:
    url = serve({"/": (200, {"X-Cache": "white"}, b"")})
    measured = measure("check_cache_available", url=url)
    assert (measured.is_passed, measured.message) == (
        False,
        f"{url} is not answered from a cache in 2 requests: no Age, Cache-Status or X-Cache tells so",
    )


def test_the_header_may_be_another(measure: Measure, serve: Serve) -> None:
    url = serve({"/": (200, {"X-Edge": "tcp_hit", "Age": "3"}, b"")})
    assert measure("check_cache_available", url=url, hit_header="x-edge").is_passed
    other = measure("check_cache_available", url=url, hit_header="X-Other")
    assert other.message.endswith(": no X-Other tells so")


def test_an_error_fails_even_from_the_cache(measure: Measure, serve: Serve, free_port: int) -> None:
    url = serve({"/": (502, {"Age": "3"}, b"")})
    assert measure("check_cache_available", url=url).message == f"{url} answers 502, expected 200"
    away = f"http://127.0.0.1:{free_port}/"
    assert measure("check_cache_available", url=away).message == f"{away}: [Errno 111] Connection refused"


def test_options_are_checked_early(make_promise: Callable[..., GenericPromise[Any]]) -> None:
    with pytest.raises(OptionProblem, match="tries: 0 is not above zero"):
        make_promise("check_cache_available", url="http://h/", tries=0)

# SPDX-License-Identifier: Apache-2.0
import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from allotment.options import OptionProblem
from allotment_promises import GenericPromise, Measurement

Measure = Callable[..., Measurement]


@pytest.fixture
def members() -> Iterator[list[socket.socket]]:
    """Three members; closing one ends it."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]


def name(member: socket.socket) -> str:
    return f"127.0.0.1:{member.getsockname()[1]}"


def test_more_than_half_must_answer(measure: Measure, members: list[socket.socket]) -> None:
    names = [name(member) for member in members]
    measured = measure("check_cluster_health", members=names)
    assert (measured.is_passed, measured.message) == (True, "3 of 3 members answer")
    assert (measured.metrics["well"].value, measured.metrics["members"].value) == (3, 3)
    members[0].close()
    one_away = measure("check_cluster_health", members=names)
    assert one_away.message == f"2 of 3 members answer: {names[0]}: [Errno 111] Connection refused"
    assert one_away.is_passed
    all_wanted = measure("check_cluster_health", members=names, minimum=3)
    assert all_wanted.message.startswith("2 of 3 members answer, expected at least 3: ")
    members[1].close()
    two_away = measure("check_cluster_health", members=" ".join(names))
    assert not two_away.is_passed
    assert two_away.message.startswith("1 of 3 members answer, expected at least 2: ")
    assert measure("check_cluster_health", members=names, minimum=1).is_passed


def test_pages_must_answer_200(measure: Measure, serve: Callable[..., str], members: list[socket.socket]) -> None:
    url = serve({"/well": (200, {}, b""), "/ill": (503, {}, b"")})
    measured = measure("check_cluster_health", members=[f"{url}/well", f"{url}/ill", name(members[0])])
    assert (measured.is_passed, measured.message) == (True, f"2 of 3 members answer: {url}/ill answers 503")


def test_their_certificates_are_verified(
    measure: Measure, serve: Callable[..., str], server_context: ssl.SSLContext, ca_file: Path
) -> None:
    url = serve({"/": (200, {}, b"")}, server_context)
    assert measure("check_cluster_health", members=[url], ca=ca_file.name).is_passed
    assert not measure("check_cluster_health", members=[url]).is_passed


def test_silent_members_are_waited_for_side_by_side(measure: Measure) -> None:
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(10)]
        urls = [f"http://{name(member)}/" for member in silent]
        started = time.monotonic()
        assert not measure("check_cluster_health", members=urls, timeout=1).is_passed
        assert time.monotonic() - started < 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"members": ""}, "members: is empty. Write them like db1:5432 db2:5432 db3:5432."),
        ({"members": "db1"}, "members: 'db1' is neither host:port nor a URL. Write it like db1:5432."),
        ({"members": "db1:5432/x"}, "members: 'db1:5432/x' is neither host:port nor a URL. Write it like db1:5432."),
        ({"members": "db1:99999"}, "members: 'db1:99999' is neither host:port nor a URL. Write it like db1:5432."),
        (
            {"members": "db1:1 me:planted@db2:1"},
            "members: one holds a user or password, which would be shown. Leave it out.",
        ),
        ({"members": "db1:0"}, "members: 'db1:0' is neither host:port nor a URL."),
        ({"members": "[::1]:80 ftp://x/"}, "members: 'ftp://x/' is no such address. Write it like https://host/path."),
        ({"members": "a:1 b:1", "minimum": 3}, "minimum: 3 of 2 members can't be well. Write a number from 1 to 2."),
        ({"members": "a:1", "timeout": 0}, "timeout: 0 is not above zero. Write it like 5."),
    ],
)
def test_options_are_checked_early(
    make_promise: Callable[..., GenericPromise[Any]], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionProblem) as caught:
        make_promise("check_cluster_health", **options)
    assert str(caught.value).startswith(message)

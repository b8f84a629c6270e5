# SPDX-License-Identifier: Apache-2.0
"""The kit's small parts: waits, host names, addresses, times, and bodies that stop half-way."""

import asyncio
import threading
from typing import Any

import pytest
from starlette.types import Message

from allotment.errors import AllotmentError
from allotment_master.home import addresses
from allotment_master.kit import limits
from allotment_master.kit.limits import Limits, is_local_name
from allotment_master.kit.pages import when
from allotment_master.kit.serving import Tls, check_address
from allotment_master.kit.wakeup import Wakeup


def test_touch_from_another_thread_wakes_the_topic_at_once() -> None:
    wakeup = Wakeup(poll=30.0)
    found: list[str] = []

    async def wait() -> str | None:
        first_check = asyncio.Event()
        loop = asyncio.get_running_loop()

        def check() -> str | None:
            loop.call_soon_threadsafe(first_check.set)
            return found[0] if found else None

        waiting = asyncio.ensure_future(wakeup.wait("a", check, 20.0))
        await first_check.wait()

        def touch() -> None:
            wakeup.touch(["b"])
            found.append("it")
            wakeup.touch(["a"])

        threading.Thread(target=touch).start()
        return await asyncio.wait_for(waiting, 10.0)

    assert asyncio.run(wait()) == "it"


def test_wait_that_finds_nothing_ends_in_time_and_leaves_nothing() -> None:
    wakeup = Wakeup()
    assert asyncio.run(wakeup.wait("a", lambda: None, 0.05)) is None
    assert wakeup._waiters == {}


def test_close_ends_all_waits() -> None:
    wakeup = Wakeup(poll=30.0)

    async def wait() -> object:
        waiting = asyncio.ensure_future(wakeup.wait("a", lambda: None, 60.0))
        await asyncio.sleep(0)
        wakeup.close()
        return await asyncio.wait_for(waiting, 10.0)

    assert asyncio.run(wait()) is None


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        ("127.0.0.1:80", True),
        ("127.3.2.1", True),
        ("localhost:8", True),
        ("[::1]:80", True),
        ("[::1]", True),
        ("", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example:80", False),
        ("10.0.0.1:80", False),
        ("localhost.evil.example", False),
    ],
)
def test_only_loopback_names_are_local(host: str, is_local: bool) -> None:
    assert is_local_name(host) is is_local


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1"])
def test_loopback_needs_no_tls(host: str) -> None:
    check_address(host, None)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_everything_else_needs_tls(host: str, tmp_path: Any) -> None:
    with pytest.raises(AllotmentError, match="can be reached from other machines, and there is no TLS"):
        check_address(host, None)
    check_address(host, Tls(tmp_path / "certificate", tmp_path / "key"))


def test_body_that_stops_half_way_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SILENCE", 0.05)
    sent: list[Message] = []

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError("nothing comes")

    async def send(message: Message) -> None:
        sent.append(message)

    async def reader(scope: Any, receive: Any, send: Any) -> None:
        await receive()

    scope = {"type": "http", "path": "/", "headers": [(b"content-length", b"10")]}
    with pytest.raises(limits.SlowBodyError):
        asyncio.run(asyncio.wait_for(Limits(reader)(scope, receive, send), 10.0))


def test_only_addresses_without_secrets_are_shown_as_links() -> None:
    published = {
        "url": "https://127.0.0.2:443/path",
        "password": "https://user:word@127.0.0.2/",
        "token": "https://127.0.0.2/?token=x",
        "script": "javascript:alert(1)",
        "bad": "http://[",
        "number": 7,
    }
    assert addresses(published) == [("url", "https://127.0.0.2:443/path")]


def test_times_are_shown_in_utc() -> None:
    assert when(1_800_000_000.0) == "2027-01-15 08:00:00 UTC"
    assert when(None) == "never"

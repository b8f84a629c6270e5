# SPDX-License-Identifier: Apache-2.0
"""The test node's side of the wire, and which of several engines it speaks to."""

import socket
import sys
from typing import Any

import pytest

from allotment.errors import AllotmentError, RefusedError, UnreachableError
from allotment.messages.job import Outcome
from allotment.secret import Secret
from allotment_testfarm.testnode.wire_client import WireClient
from allotment_testfarm.wire import LeaseRequest, NodeHello

TOKEN = "wire-token-0123456789"
HELLO = NodeHello("t1", "linux-x86_64")


@pytest.fixture
def dead() -> str:
    """The URL of an engine that is not there."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def test_the_next_engine_is_asked_when_one_stays_away(engine: Any, dead: str) -> None:
    with WireClient(dead, Secret(TOKEN), others=[f"{engine.url}/", dead]) as wire:
        with pytest.raises(UnreachableError, match=f"the farm at {dead} did not answer"):
            wire.hello(HELLO)
        assert wire.url == engine.url
        assert wire.hello(HELLO).heartbeat > 0
        assert wire.lease(LeaseRequest("t1", wait=0.0)) is None
        assert wire.url == engine.url  # as long as it answers
        engine.refuse_all = True
        for gone in (engine.url, dead, dead):  # it goes round
            with pytest.raises(UnreachableError, match=gone):
                wire.hello(HELLO)
        engine.refuse_all = False
        assert wire.hello(HELLO).heartbeat > 0


def test_an_engine_that_refuses_has_answered(engine: Any) -> None:
    with WireClient(engine.url, Secret("wrong"), others=["http://127.0.0.1:9"]) as wire:
        with pytest.raises(RefusedError, match="wrong token"):
            wire.hello(HELLO)
        assert wire.url == engine.url


def test_each_url_is_checked_at_once() -> None:
    with pytest.raises(AllotmentError, match="ftp://farm"):
        WireClient("http://127.0.0.1:9", Secret(TOKEN), others=["ftp://farm"])


def test_a_test_node_whose_first_engine_dies_works_for_the_second(engine: Any, node: Any) -> None:
    other = type(engine)()
    other.start()
    try:
        node.start("--farm", other.url)
        engine.wait_for(lambda: engine.requests)
        engine.refuse_all = True
        other.submit([sys.executable, "-c", "print('done')"])
        assert other.result().outcome == Outcome.PASSED
        assert b"done" in other.log
    finally:
        other.close()

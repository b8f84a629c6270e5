# SPDX-License-Identifier: Apache-2.0
import contextlib
import socket
from collections.abc import Callable

from allotment_promises import Measurement

Measure = Callable[..., Measurement]


def test_a_port_that_refuses_passes(measure: Measure, free_port: int) -> None:
    measured = measure("check_port_closed", host="127.0.0.1", port=free_port)
    assert measured == Measurement.passed(f"127.0.0.1:{free_port} accepts no connection: Connection refused")


def test_a_port_that_listens_fails(measure: Measure) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        measured = measure("check_port_closed", host="127.0.0.1", port=port)
    assert measured == Measurement.failed(f"127.0.0.1:{port} accepts connections, expected to be closed")


def test_silence_passes(measure: Measure) -> None:
    """A full queue of connections drops new ones, as a packet filter does."""
    with contextlib.ExitStack() as open_ones:
        server = open_ones.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):
            client = open_ones.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        measured = measure("check_port_closed", host="127.0.0.1", port=server.getsockname()[1], timeout=0.2)
    assert measured.is_passed
    assert measured.message.endswith(" accepts no connection: timed out")


def test_a_host_without_address_fails(measure: Measure) -> None:
    measured = measure("check_port_closed", host="x" * 300, port=80)
    assert not measured.is_passed
    assert ": its host can't be found: " in measured.message

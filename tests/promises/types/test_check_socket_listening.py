# SPDX-License-Identifier: Apache-2.0
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from allotment.options import OptionProblem
from allotment_promises import GenericPromise, Measurement

Measure = Callable[..., Measurement]


def test_a_listening_port_passes_with_the_time(measure: Measure) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        measured = measure("check_socket_listening", host="127.0.0.1", port=port)
    assert (measured.is_passed, measured.message) == (True, f"127.0.0.1:{port} accepts connections")
    assert 0 < measured.metrics["seconds"].value < 5


def test_a_closed_port_fails(measure: Measure, free_port: int) -> None:
    measured = measure("check_socket_listening", host="127.0.0.1", port=str(free_port))
    assert measured == Measurement.failed(f"127.0.0.1:{free_port}: [Errno 111] Connection refused")


def test_an_impossible_host_fails(measure: Measure) -> None:
    assert not measure("check_socket_listening", host="x" * 300, port=80).is_passed


@pytest.mark.parametrize("folder", ["run", "/".join(["long" * 10] * 5)])
def test_a_unix_socket_of_any_length(measure: Measure, tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir(parents=True)
    name = f"{folder}/socket"
    missing = measure("check_socket_listening", pathname=name)
    assert missing == Measurement.failed(f"{name}: [Errno 2] No such file or directory")
    handle = os.open(tmp_path / folder, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"/proc/self/fd/{handle}/socket")
        assert measure("check_socket_listening", pathname=name) == Measurement.failed(
            f"{name}: [Errno 111] Connection refused"
        )
        server.listen()
        assert measure("check_socket_listening", pathname=name).message == f"{name} accepts connections"
    os.close(handle)


def test_an_abstract_socket(measure: Measure) -> None:
    name = f"allotment-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"\0{name}")
        server.listen()
        measured = measure("check_socket_listening", pathname=name, abstract="true")
    assert (measured.is_passed, measured.message) == (True, f"@{name} accepts connections")
    assert not measure("check_socket_listening", pathname=name, abstract="true").is_passed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "host, pathname: none of them is given. Give one of them."),
        ({"host": "h"}, "host, port: port is missing. Give all of them, or none."),
        ({"host": "h", "port": 0}, "port: 0 is no TCP port. Write one between 1 and 65535."),
        ({"host": "h", "port": 1, "pathname": "x"}, "host, pathname: host and pathname can't go together. Give one"),
        ({"pathname": "x", "port": 1}, "pathname, port: a unix socket has no port. Remove one of the two."),
        ({"host": "h", "port": 1, "abstract": 1}, "abstract: only a unix socket can be abstract. Give pathname"),
    ],
)
def test_options_are_checked_early(
    make_promise: Callable[..., GenericPromise[Any]], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionProblem) as caught:
        make_promise("check_socket_listening", **options)
    assert str(caught.value).startswith(message)

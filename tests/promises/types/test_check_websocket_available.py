# SPDX-License-Identifier: Apache-2.0
import base64
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from allotment.options import OptionProblem
from allotment.secret import Secret
from allotment_promises import GenericPromise, Measurement

Measure = Callable[..., Measurement]
PAIR = base64.b64encode(b"me:planted").decode()


def answer(connection: ServerConnection) -> None:
    for message in connection:
        connection.send(message[::-1])


def admit(connection: ServerConnection, request: Request) -> Response | None:
    if request.path == "/private" and request.headers.get("Authorization") != f"Basic {PAIR}":
        return connection.respond(HTTPStatus.UNAUTHORIZED, "who are you?")
    return None


def running(context: ssl.SSLContext | None = None) -> Iterator[str]:
    with serve(answer, "127.0.0.1", 0, ssl=context, process_request=admit) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"{'wss' if context else 'ws'}://127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()
        thread.join(10)


@pytest.fixture
def url() -> Iterator[str]:
    yield from running()


@pytest.fixture
def secure_url(server_context: ssl.SSLContext) -> Iterator[str]:
    yield from running(server_context)


def found(measured: Measurement) -> tuple[bool, str]:
    return measured.is_passed, measured.message


def test_it_opens(measure: Measure, url: str) -> None:
    measured = measure("check_websocket_available", url=url)
    assert found(measured) == (True, f"{url} opens")
    assert 0 < measured.metrics["seconds"].value < 5


@pytest.mark.parametrize("binary", [False, True])
def test_it_answers(measure: Measure, url: str, binary: bool) -> None:
    options = {"url": url, "content_to_send": "ping", "binary": binary}
    assert found(measure("check_websocket_available", **options, content_to_receive="gnip")) == (
        True,
        f"{url} opens and answers as expected",
    )
    other = measure("check_websocket_available", **options, content_to_receive="ping")
    prefix = "b" if binary else ""
    assert found(other) == (False, f"{url} answers {prefix}'gnip', expected {prefix}'ping'")


def test_silence_and_refusal_fail(measure: Measure, url: str, free_port: int) -> None:
    silent = measure("check_websocket_available", url=url, content_to_receive="hello", timeout=0.2)
    assert found(silent) == (False, f"{url} does not answer within 0.2 s")
    away = f"ws://127.0.0.1:{free_port}/"
    assert found(measure("check_websocket_available", url=away)) == (False, f"{away}: [Errno 111] Connection refused")
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"ws://127.0.0.1:{mute.getsockname()[1]}"
        assert found(measure("check_websocket_available", url=url, timeout=0.2)) == (
            False,
            f"{url} does not answer within 0.2 s",
        )


def test_a_server_of_pages_fails(measure: Measure, serve: Callable[..., str]) -> None:
    url = serve({"/": (200, {}, b"")}).replace("http", "ws")
    assert "valid HTTP response" in measure("check_websocket_available", url=url).message


def test_it_logs_in(measure: Measure, url: str) -> None:
    options = {"url": f"{url}/private", "username": "me"}
    assert measure("check_websocket_available", **options, password=Secret("planted")).is_passed
    assert "HTTP 401" in measure("check_websocket_available", **options, password="other").message


def test_the_certificate_is_verified(measure: Measure, secure_url: str, ca_file: Path) -> None:
    assert "certificate verify failed" in measure("check_websocket_available", url=secure_url).message
    assert measure("check_websocket_available", url=secure_url, ca=ca_file.name).is_passed
    assert measure("check_websocket_available", url=secure_url, verify="false").is_passed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "http://h/"}, "url: 'http://h/' is no such address. Write it like wss://host/path."),
        ({"url": "ws://h/", "timeout": -1}, "timeout: -1 is not above zero. Write it like 5."),
        ({"url": "ws://h/", "password": "p"}, "username, password: username is missing. Give all of them, or none."),
        ({"url": "wss://h/", "ca": "x", "verify": "no"}, "ca, verify: ca is of no use with verify = false. Remove"),
    ],
)
def test_options_are_checked_early(
    make_promise: Callable[..., GenericPromise[Any]], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionProblem) as caught:
        make_promise("check_websocket_available", **options)
    assert str(caught.value).startswith(message)

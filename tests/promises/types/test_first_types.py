# SPDX-License-Identifier: Apache-2.0
import http.server
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from allotment.options import OptionProblem, parse_options
from allotment.plugins import plugins
from allotment_promises import Measurement
from allotment_promises.registry import PromiseTypes
from allotment_promises.types import (
    check_command_execute,
    check_file_state,
    check_socket_listening,
    check_url_available,
)


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        code = {"/": 200, "/moved": 302, "/loop": 302, "/away": 302, "/file": 302, "/broken": 500}.get(self.path, 404)
        self.send_response(code)
        if code == 302:
            targets = {"/moved": "/", "/loop": "/loop", "/away": "/broken", "/file": "file:///etc/passwd"}
            self.send_header("Location", targets[self.path])
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


def _serve(context: ssl.SSLContext | None = None) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"{'https' if context else 'http'}://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


@pytest.fixture
def url() -> Iterator[str]:
    yield from _serve()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate of 127.0.0.1 with its key, in one file."""
    path = tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test"
    result = subprocess.run(
        [*command.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "-", "-out", "-"],
        check=True,
        capture_output=True,
        timeout=30,
    )
    path.write_bytes(result.stdout)
    return path


@pytest.fixture
def https_url(certificate: Path) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    yield from _serve(context)


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture
def sense(tmp_path: Path) -> Callable[..., Measurement]:
    """Parse options and measure once, in the folder of the test."""

    def run(module: Any, cls: Any, **options: Any) -> Measurement:
        raw = {name.replace("_", "-"): value for name, value in options.items()}
        measured = cls(parse_options(module.Options, raw), tmp_path, "name").sense()
        assert isinstance(measured, Measurement)
        return measured

    return run


Sense = Callable[..., Measurement]


def _url(sense: Sense, **options: Any) -> tuple[bool, str]:
    measured = sense(check_url_available, check_url_available.CheckUrlAvailable, **options)
    return measured.is_passed, measured.message


def _state(sense: Sense, **options: Any) -> tuple[bool, str]:
    measured = sense(check_file_state, check_file_state.CheckFileState, **options)
    return measured.is_passed, measured.message


def _command(sense: Sense, **options: Any) -> tuple[bool, str]:
    measured = sense(check_command_execute, check_command_execute.CheckCommandExecute, **options)
    return measured.is_passed, measured.message


def test_all_types_are_registered() -> None:
    names = {item.name for item in plugins().items("allotment_promise_types")}
    assert {"check_command_execute", "check_file_state", "check_socket_listening", "check_url_available"} <= names
    assert not PromiseTypes(plugins())._problems


def test_listening_socket_passes(sense: Sense) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        cls = check_socket_listening.CheckSocketListening
        measured = sense(check_socket_listening, cls, host="127.0.0.1", port=port)
    assert measured == Measurement.passed(f"127.0.0.1:{port} accepts connections")


def test_closed_socket_fails(sense: Sense, free_port: int) -> None:
    cls = check_socket_listening.CheckSocketListening
    measured = sense(check_socket_listening, cls, host="127.0.0.1", port=str(free_port))
    assert measured == Measurement.failed(f"127.0.0.1:{free_port}: [Errno 111] Connection refused")


def test_impossible_host_fails(sense: Sense) -> None:
    cls = check_socket_listening.CheckSocketListening
    assert not sense(check_socket_listening, cls, host="x" * 300, port=80).is_passed


def test_url_that_answers_passes_with_its_time(sense: Sense, url: str) -> None:
    measured = sense(check_url_available, check_url_available.CheckUrlAvailable, url=url)
    assert (measured.is_passed, measured.message) == (True, f"{url} answers 200")
    assert 0 < measured.metrics["seconds"].value < 5


def test_unexpected_code_fails(sense: Sense, url: str) -> None:
    assert _url(sense, url=f"{url}/broken") == (False, f"{url}/broken answers 500, expected 200")
    assert _url(sense, url=f"{url}/nothing", http_code=404) == (True, f"{url}/nothing answers 404")
    assert _url(sense, url=f"{url}/broken", http_code=0) == (True, f"{url}/broken answers 500")


def test_redirections_are_followed_unless_told_otherwise(sense: Sense, url: str) -> None:
    assert _url(sense, url=f"{url}/moved") == (True, f"{url}/moved answers 200")
    assert _url(sense, url=f"{url}/away") == (False, f"{url}/away answers 500, expected 200")
    assert _url(sense, url=f"{url}/moved", http_code=302, allow_redirects=False)[0]
    assert not _url(sense, url=f"{url}/moved", allow_redirects=False)[0]
    assert not _url(sense, url=f"{url}/loop")[0]
    assert not _url(sense, url=f"{url}/file")[0]


def test_server_that_is_away_or_silent_fails(sense: Sense, free_port: int) -> None:
    url = f"http://127.0.0.1:{free_port}/"
    assert _url(sense, url=url) == (False, f"{url}: [Errno 111] Connection refused")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        assert _url(sense, url=url, timeout=0.2) == (False, f"{url}: timed out")


def test_certificate_is_verified(sense: Sense, https_url: str, certificate: Path) -> None:
    is_passed, message = _url(sense, url=https_url)
    assert not is_passed
    assert "certificate verify failed" in message
    assert _url(sense, url=https_url, ca=certificate.name)[0]
    assert _url(sense, url=https_url, verify=False)[0]
    assert not _url(sense, url=https_url, ca="missing.pem")[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "ftp://host/"}, "url: 'ftp://host/' is no such address. Write it like https://host/path."),
        ({"url": "http:///path"}, "url: 'http:///path' is no such address. Write it like https://host/path."),
        ({"url": "http://me:word@host/"}, "url: holds a user or password, which would be shown. Leave it out."),
        ({"url": "ftp://me:word@host/"}, "url: holds a user or password, which would be shown. Leave it out."),
        (
            {"url": "https://host/", "ca": "x.pem", "verify": "false"},
            "ca, verify: ca is of no use with verify = false. Remove one of the two.",
        ),
    ],
)
def test_url_options_are_checked_early(options: dict[str, str], message: str) -> None:
    with pytest.raises(OptionProblem) as caught:
        parse_options(check_url_available.Options, options)
    assert str(caught.value) == message


def test_file_states(sense: Sense, tmp_path: Path) -> None:
    (tmp_path / "full").write_text("x")
    (tmp_path / "empty").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling").symlink_to("nowhere")
    assert _state(sense, filename="full") == (True, "full is not-empty")
    assert _state(sense, filename="full", state="empty") == (False, "full is not-empty, expected empty")
    assert _state(sense, filename="empty", state="empty") == (True, "empty is empty")
    assert _state(sense, filename="empty", state="not-empty") == (False, "empty is empty, expected not-empty")
    assert _state(sense, filename="folder", state="empty") == (True, "folder is empty")
    assert _state(sense, filename="gone", state="absent") == (True, "gone is absent")
    assert _state(sense, filename="gone/under", state="present") == (False, "gone/under is absent, expected present")
    assert _state(sense, filename="dangling") == (False, "dangling is absent, expected present")
    assert _state(sense, filename=str(tmp_path / "full"), state="absent")[0] is False


def test_unknown_state_suggests_the_nearest() -> None:
    with pytest.raises(OptionProblem) as caught:
        parse_options(check_file_state.Options, {"filename": "x", "state": "presnt"})
    assert str(caught.value) == (
        "state: 'presnt' is not one of its values. Did you mean 'present'? Valid: absent, empty, not-empty, present."
    )


def test_command_is_run_without_a_shell_in_the_partition(sense: Sense, tmp_path: Path) -> None:
    assert _command(sense, command="pwd") == (True, f"pwd ended with exit code 0: {tmp_path}")
    assert _command(sense, command="echo 'a  b' $HOME;")[1] == "echo ended with exit code 0: a  b $HOME;"
    assert _command(sense, command=["test", "", "=", ""])[0]
    assert _command(sense, command=["sh", "-c", "echo no; exit 3"]) == (False, "sh ended with exit code 3: no")


def test_command_that_can_not_run_or_end_fails(sense: Sense) -> None:
    assert _command(sense, command="no-such-program") == (
        False,
        "no-such-program can't be started: No such file or directory",
    )
    assert _command(sense, command="sleep 300", timeout=0.1) == (False, "sleep did not end within 0.1 s")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("", "command: is empty. Write a program and its arguments."),
        ("echo 'a", 'command: No closing quotation in "echo \'a". Close the quotation.'),
        ([], "command: is empty. Write a program and its arguments."),
    ],
)
def test_wrong_command_is_refused(command: Any, message: str) -> None:
    with pytest.raises(OptionProblem) as caught:
        parse_options(check_command_execute.Options, {"command": command})
    assert str(caught.value) == message

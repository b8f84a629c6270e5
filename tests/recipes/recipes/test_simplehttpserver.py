# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 (bad input and its message stand side by side, as a table)
"""The recipe ``simplehttpserver`` and its server, with real clients on real sockets."""

import contextlib
import http.client
import os
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.recipes.patience import until

from allotment.errors import AllotmentError
from allotment_recipes.programs.simplehttpserver import Refused, steps_of
from allotment_recipes.recipes import simplehttpserver

Make = Callable[..., Any]
Start = Callable[..., "Running"]


class Running:
    """A server, started by the script that the recipe writes."""

    def __init__(self, script: Path, connect: Callable[[], socket.socket]) -> None:
        self.connect = connect
        self.process = subprocess.Popen([script], stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 60.0
        while True:
            try:
                connect().close()
                return
            except OSError:
                assert time.monotonic() < deadline
                assert self.process.poll() is None, self.process.communicate()
                time.sleep(0.02)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        client = http.client.HTTPConnection("server")
        client.sock = self.connect()
        with contextlib.closing(client):
            client.putrequest(method, path, skip_host=True)
            client.putheader("Host", "server")
            if body is not None:
                client.putheader("Content-Length", str(len(body)))
            for name, value in headers.items():
                client.putheader(name.replace("_", "-"), value)
            client.endheaders(body)
            answer = client.getresponse()
            self.headers = answer.headers
            return answer.status, answer.read()

    def end(self) -> int:
        self.process.terminate()
        code = self.process.wait(60)
        if self.process.stderr:
            self.process.stderr.close()
        return code


@pytest.fixture
def start(make_recipe: Make, tmp_path: Path) -> Iterator[Start]:
    started: list[Running] = []
    folder = tmp_path / "www"
    folder.mkdir()

    def start(connect: Callable[[], socket.socket] | None = None, **options: str) -> Running:
        given = {"base-path": "www", **{name.replace("_", "-"): value for name, value in options.items()}}
        if connect is None:
            given["abstract"] = f"-allotment-test-{os.getpid()}-{id(given)}"
            connect = unix(f"\0{given['abstract']}")
        (script,) = make_recipe(simplehttpserver.Recipe, given).install()
        started.append(Running(script, connect))
        return started[-1]

    yield start
    for running in started:
        running.end()


def unix(address: str) -> Callable[[], socket.socket]:
    def connect() -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(60.0)
        try:
            client.connect(address)
        except OSError:
            client.close()
            raise
        return client

    return connect


def test_files_folders_and_indexes_are_served(start: Start, tmp_path: Path) -> None:
    www = tmp_path / "www"
    (www / "a b").mkdir()
    (www / "a b/x<y.txt").write_text("text")
    (www / "archive.tar.gz").write_bytes(b"\x1f")
    (www / "empty").touch()
    running = start()
    assert running.ask("GET", "/a%20b/x%3Cy.txt") == (200, b"text")
    assert running.headers["Content-Type"] == "text/plain"
    assert running.headers["X-Content-Type-Options"] == "nosniff"
    assert running.ask("GET", "/archive.tar.gz")[1] == b"\x1f"
    assert running.headers["Content-Type"] == "application/octet-stream"
    assert running.ask("GET", "/empty?query=1") == (200, b"")
    assert running.ask("HEAD", "/a%20b/x%3Cy.txt") == (200, b"")
    assert running.headers["Content-Length"] == "4"
    assert running.ask("GET", "/a%20b") == (301, b"")
    assert running.headers["Location"] == "a%20b/"
    status, page = running.ask("GET", "/a%20b/")
    assert (status, b'<a href="./x%3Cy.txt">x&lt;y.txt</a>' in page) == (200, True)
    (www / "a b/index.html").write_text("front")
    assert running.ask("GET", "/a%20b/") == (200, b"front")
    assert running.ask("GET", "/nothing")[0] == 404
    assert running.ask("GET", "/empty/x")[0] == 404
    assert running.ask("GET", "/" + "x" * 300)[0] == 404
    assert running.ask("DELETE", "/empty")[0] == 501
    assert running.ask("PUT", "/new", b"x")[0] == 405
    assert not (www / "new").exists()


def test_nothing_outside_the_folder_is_reached(start: Start, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").write_text("secret")
    www = tmp_path / "www"
    (www / "link").symlink_to("../secret")
    (www / "folder").symlink_to("../outside")
    (www / "inside").mkdir()
    os.mkfifo(www / "pipe")
    running = start(allow_write="true")
    paths = [
        "/link",
        "/folder/file",
        "/folder/",
        "/../secret",
        "/%2e%2e/secret",
        "/inside/../../secret",
        "/..%2fsecret",
    ]
    for path in [*paths, "/inside/%2e%2e/%2e%2e/secret", "//../secret", "/pipe", "/.upload-0"]:
        assert running.ask("GET", path)[0] == 404, path
    for path in ["/folder/new", "/../new", "/%2e%2e%2fnew"]:
        assert running.ask("PUT", path, b"x")[0] == 404, path
    assert running.ask("PUT", "/link", b"changed")[0] == 200, "the link itself is replaced"
    assert (tmp_path / "secret").read_text() == "secret"
    assert not (tmp_path / "outside/new").exists()
    assert running.ask("GET", "http://server/..%00")[0] == 400


@given(st.text(max_size=30))
def test_no_path_leaves_the_folder(text: str) -> None:
    try:
        steps = steps_of(f"/{text}")
    except (Refused, ValueError):
        return
    assert not {"", ".", ".."} & set(steps)
    assert not any("/" in step or "\0" in step for step in steps)


def test_put_writes_a_file_whole_or_not_at_all(start: Start, tmp_path: Path) -> None:
    running = start(allow_write="true")
    www = tmp_path / "www"
    large = os.urandom(1 << 20)
    assert running.ask("PUT", "/a/b/c", large)[0] == 201
    assert (www / "a/b/c").read_bytes() == large
    assert running.ask("GET", "/a/b/c") == (200, large)
    assert running.ask("PUT", "/a/b/c", b"")[0] == 200
    assert running.ask("PUT", "/a/b", b"x")[0] == 409
    assert running.ask("PUT", "/a/", b"x")[0] == 409
    assert running.ask("PUT", "/n")[0] == 411
    assert running.ask("PUT", "/n", Content_Length="-1")[0] == 411
    assert running.ask("PUT", "/n", Content_Length="99999999999999")[0] == 413
    with running.connect() as client:
        client.sendall(b"PUT /half HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
    assert sorted(path.name for path in www.rglob("*")) == ["a", "b", "c"]


def test_what_comes_with_a_request_is_not_taken_for_another_one(start: Start, tmp_path: Path) -> None:
    (tmp_path / "www/x").write_text("x")
    running = start(allow_write="true")
    inner = b"PUT /smuggled HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    for head in (f"Content-Length: {len(inner)}", "Transfer-Encoding: chunked"):
        with running.connect() as client:
            client.sendall(f"GET /x HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n".encode() + inner)
            received = b""
            with contextlib.suppress(ConnectionError):
                while piece := client.recv(1 << 16):
                    received += piece
        assert received.count(b"HTTP/1.1 ") <= 1
    assert running.ask("PUT", "/new", b"x", Transfer_Encoding="chunked")[0] == 411
    assert sorted(path.name for path in (tmp_path / "www").iterdir()) == ["x"]


def test_more_connections_than_allowed_wait(start: Start, tmp_path: Path) -> None:
    (tmp_path / "www/x").write_text("x")
    running = start(max_connections="2")
    silent = [running.connect() for _ in range(2)]
    answers: list[int] = []
    thread = threading.Thread(target=lambda: answers.append(running.ask("GET", "/x")[0]))
    thread.start()
    thread.join(0.3)
    assert not answers
    for client in silent:
        client.close()
    thread.join(60)
    assert answers == [200]


GET_LARGE = b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n"
PUT_HALF = b"PUT /half HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nh"


def test_a_slow_client_is_cut_off(start: Start, tmp_path: Path) -> None:
    """However slowly it sends or takes, as long as that is slower than allowed."""
    (tmp_path / "www/large").write_bytes(bytes(8 << 20))
    running = start(max_connections="2", allow_write="true", timeout="0.2")

    def is_served() -> bool:
        with contextlib.suppress(ConnectionError):  # on a slow machine it may be cut off itself
            return running.ask("HEAD", "/large")[0] == 200
        return False

    for first in (b"GET /lar", PUT_HALF, GET_LARGE):
        with running.connect() as one, running.connect() as two:
            for client in (one, two):
                client.sendall(first)
            until(is_served)  # after one of them was cut off
            for client in (one, two):
                with pytest.raises(ConnectionError):
                    until(lambda client=client: client.sendall(b"x"))
    until(lambda: [path.name for path in (tmp_path / "www").iterdir()] == ["large"])


def test_who_takes_each_piece_in_time_is_served(start: Start, tmp_path: Path) -> None:
    (tmp_path / "www/large").write_bytes(bytes(8 << 20))
    running = start(timeout="1")

    def take() -> bool:
        """Return whether the whole came, in longer than is allowed for a piece."""
        began, received = time.monotonic(), 0
        with running.connect() as client, contextlib.suppress(ConnectionError):
            client.sendall(GET_LARGE)
            while received < 8 << 20 and (piece := client.recv(1 << 18)):
                received += len(piece)
                time.sleep(0.04)
        return received >= 8 << 20 and time.monotonic() - began > 1

    assert any(take() for _ in range(5)), "not even once were all pauses short"


def test_requests_that_are_none_are_refused(start: Start, tmp_path: Path) -> None:
    (tmp_path / "www" / os.fsdecode(b"\xff")).mkdir()
    running = start(allow_write="true")
    assert running.ask("GET", "http://[/")[0] == 400
    assert running.ask("PUT", "/n", Content_Length="9" * 5000)[0] == 413
    assert running.ask("GET", "/%ff")[0] == 301
    assert running.headers["Location"] == "%FF/"
    running.process.terminate()
    assert running.process.communicate(timeout=60)[1] == "", "anybody could fill the log"


def test_it_listens_on_an_address_and_on_a_socket_file(
    start: Start, tmp_path: Path, short_path: Path, make_port: Callable[[str], int]
) -> None:
    (tmp_path / "www/front").write_text("x")
    port = make_port("127.0.0.1")
    by_address = start(
        lambda: socket.create_connection(("127.0.0.1", port)), host="127.0.0.1", port=str(port), index="front"
    )
    assert by_address.ask("GET", "/") == (200, b"x")
    path = str(short_path / "socket")
    for _ in range(2):  # the second one finds the socket of the first
        by_file = start(unix(path), socketpath=path)
        assert by_file.ask("GET", "/front") == (200, b"x")
        by_file.process.kill()
        by_file.process.wait()


def test_a_busy_port_is_said(make_recipe: Make, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = str(listening.getsockname()[1])
        (tmp_path / "www").mkdir()
        options = {"base-path": "www", "host": "127.0.0.1", "port": port}
        (script,) = make_recipe(simplehttpserver.Recipe, options).install()
        done = subprocess.run([script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("simplehttpserver: ")
    assert f"127.0.0.1 {port}: Address already in use" in done.stderr


def certificate(folder: Path, name: str) -> None:
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    words += ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(words, cwd=folder, check=True, capture_output=True, timeout=30)


def test_https_and_a_renewed_certificate(start: Start, tmp_path: Path, make_port: Callable[[str], int]) -> None:
    certificate(tmp_path, "first")
    (tmp_path / "www/x").write_text("x")
    port = make_port("127.0.0.1")
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE

    def connect() -> socket.socket:
        return context.wrap_socket(socket.create_connection(("127.0.0.1", port), 60.0))

    running = start(connect, host="127.0.0.1", port=str(port), cert_file="cert.pem", key_file="key.pem")
    assert running.ask("GET", "/x") == (200, b"x")
    first = ssl.get_server_certificate(("127.0.0.1", port))
    with socket.create_connection(("127.0.0.1", port)) as plain:
        plain.sendall(b"GET / HTTP/1.0\r\n\r\n")
    certificate(tmp_path, "second")
    running.process.send_signal(signal.SIGHUP)
    until(lambda: ssl.get_server_certificate(("127.0.0.1", port)) != first)
    assert running.ask("GET", "/x") == (200, b"x")
    assert running.end() == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"abstract": "a"}, "[part] base-path: missing option. Add 'base-path = ...'."),
        ({"base-path": "w"}, "[part] host, socketpath, abstract: none of them is given. Give one of them."),
        ({"base-path": "w", "host": "::1", "abstract": "a"}, "[part] host, socketpath, abstract: host and abstract can't go together. Give one of them."),
        ({"base-path": "w", "abstract": "a", "key-file": "k"}, "[part] cert-file, key-file: cert-file is missing. Give all of them, or none."),
        ({"base-path": "w", "host": "localhost", "port": "80"}, "[part] host: 'localhost' is not an address. Write it like 127.0.0.1."),
        ({"base-path": "w", "host": "::1%a b", "port": "80"}, "[part] host: '::1%a b' is not an address. Write it like 127.0.0.1."),
        ({"base-path": "w", "host": "::1"}, "[part] port: 0 is not a port. Write a number from 1 to 65535."),
        ({"base-path": "w", "abstract": "a", "index": "a/b"}, "[part] index: 'a/b' is not a file's name. Write it like index.html."),
        ({"base-path": "w", "abstract": "a", "timeout": "nan"}, "[part] timeout: 'nan' is not a number. Write it like 2.5."),
        ({"base-path": "w", "abstract": "a", "timeout": "0"}, "[part] timeout: 0 is not from 0 to 3600. Write seconds, like 30."),
        ({"base-path": "w", "abstract": "a\nb"}, "[part] abstract: 'a\\nb' is not a name. Write it like /shop/files."),
        ({"base-path": "w", "socketpath": f"/{'x' * 107}"}, f"[part] socketpath: /{'x' * 107} is too long for a socket. Choose a shorter path."),
        ({"base-path": "w", "abstract": "a", "max-connections": "0"}, "[part] max-connections: 0 is not above zero. Write it like 64."),
        (
            {"base-path": "w", "host": "0.0.0.0", "port": "80", "allow-write": "true"},
            "[part] allow-write: 0.0.0.0 is open to others. Add cert-file, or listen on a unix socket.",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(make_recipe: Make, options: dict[str, str], message: str) -> None:
    with pytest.raises(AllotmentError) as caught:
        make_recipe(simplehttpserver.Recipe, options)
    assert str(caught.value) == message


def test_others_refer_to_where_it_listens(make_recipe: Make, tmp_path: Path) -> None:
    def url(**options: str) -> str:
        return str(make_recipe(simplehttpserver.Recipe, {"base-path": "w", **options}).raw["url"])

    assert url(host="::1", port="80") == "http://[::1]:80/"
    assert url(host="::1", port="80", **{"cert-file": "c", "key-file": "k"}) == "https://[::1]:80/"
    assert url(abstract="-a b") == "http+unix://%00-a%20b/"
    assert url(socketpath="s") == f"http+unix://{str(tmp_path).replace('/', '%2F')}%2Fs/"
    made = make_recipe(simplehttpserver.Recipe, {"base-path": "w", "abstract": "a", "wrapper": "bin/serve"})
    assert made.install() == [tmp_path / "bin/serve"] == made.update()

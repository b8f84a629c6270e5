# SPDX-License-Identifier: Apache-2.0
"""The release's own tests: they run in its farm job, and by ``allot release test software/static-site``."""

import hashlib
import http.client
import http.server
import io
import json
import subprocess
import tarfile
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

STYLE = b"h1 { color: teal }\n"


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes


def ask(url: str, path: str = "", method: str = "GET", headers: Mapping[str, str] | None = None) -> Answer:
    """Return what the server says, whatever its status."""
    place = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(place.netloc, timeout=10)
    try:
        connection.request(method, place.path + path, headers=dict(headers or {}))
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


def site(title: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in {
            "index.html": f"<h1>{title}</h1>".encode(),
            "css/style.css": STYLE,
            "css/index.html": b"styles",
            ".secret": b"hidden",
        }.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


class Archives(http.server.ThreadingHTTPServer):
    """Serves archives by name, as a customer's own server would."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}

    def add(self, name: str, data: bytes) -> dict[str, str]:
        """Serve an archive; return the parameters that ask for it."""
        self.files[f"/{name}"] = data
        address = f"http://127.0.0.1:{self.server_address[1]}/{name}"
        return {"archive-url": address, "archive-sha256sum": hashlib.sha256(data).hexdigest()}


class Handler(http.server.BaseHTTPRequestHandler):
    server: Archives

    def do_GET(self) -> None:
        data = self.server.files.get(self.path, b"")
        self.send_response(200 if data else 404)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def archives() -> Iterator[Archives]:
    with Archives() as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def test_a_site_works_without_being_told_anything(default_instance: Any) -> None:
    answer = ask(default_instance.published["url"])
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert b"It works" in answer.body


def test_the_page_is_what_the_parameter_says(request_instance: Callable[..., Any]) -> None:
    page = "<!doctype html>\n<title>¡Hola!</title>\n<p>${not:a-reference} {{ nor this }}\n"
    url = request_instance("page", parameters={"content": page}).published["url"]
    assert ask(url).body.decode() == page


def test_an_archive_is_served(request_instance: Callable[..., Any], archives: Archives) -> None:
    url = request_instance("archive", parameters=archives.add("site.tar.gz", site("Mine"))).published["url"]
    assert ask(url).body == b"<h1>Mine</h1>"
    style = ask(url, "css/style.css")
    assert (style.body, style.headers["Content-Type"]) == (STYLE, "text/css; charset=utf-8")
    assert ask(url, "css").headers["Location"] == "/css/"
    assert ask(url, "css/style.css", headers={"Range": "bytes=0-1"}).body == STYLE[:2]
    assert ask(url, "css/style.css", headers={"If-None-Match": style.headers["ETag"]}).status == 304


def test_only_files_of_the_site_are_served(request_instance: Callable[..., Any], archives: Archives) -> None:
    url = request_instance("closed", parameters=archives.add("site.tar.gz", site("Mine"))).published["url"]
    assert ask(url, "missing").status == 404
    assert ask(url, ".secret").status == 404
    assert ask(url, "../../../etc/nginx.conf").status == 400
    assert ask(url, "%2e%2e/page/index.html").status in (400, 404)
    assert ask(url, method="POST").status == 403
    assert "nginx/" not in str(ask(url).headers), "the version is nobody's business"


def test_another_port(request_instance: Callable[..., Any]) -> None:
    url = request_instance("port", parameters={"port": 18080}).published["url"]
    assert urllib.parse.urlsplit(url).port == 18080
    assert ask(url).status == 200


def test_a_site_changes_without_a_new_instance(
    request_instance: Callable[..., Any], master: Any, archives: Archives
) -> None:
    info = request_instance("changing", parameters=archives.add("1.tar.gz", site("First")))
    url = info.published["url"]
    assert ask(url).body == b"<h1>First</h1>"
    master.request(info.name, info.manifest, "default", archives.add("2.tar.gz", site("Second")))
    deadline = time.monotonic() + 60
    while (body := _body(url)) != b"<h1>Second</h1>":
        assert time.monotonic() < deadline, body
        time.sleep(0.1)


def _body(url: str) -> bytes:
    try:
        return ask(url).body
    except OSError as error:  # it restarts
        return str(error).encode()


def test_requests_are_logged_and_the_log_is_rotated(request_instance: Callable[..., Any]) -> None:
    url = request_instance("logged").published["url"]
    folder = _folder_of(url)
    ask(url, "before")
    state = folder / "var/logrotate/state.json"
    log = folder / "var/log/access.log"
    state.parent.mkdir(exist_ok=True)
    state.write_text(json.dumps({"format": 1, "rotated": {str(log): 0.0}, "pending": []}))  # as if it were long ago
    *_, job = (folder / "etc/cron.d/logrotate").read_text().split(maxsplit=5)
    subprocess.run(job, shell=True, check=True, timeout=60)
    deadline = time.monotonic() + 20
    # nginx opens it anew after it was told to; until each of its workers has, requests go to the old one.
    while not log.exists() or "GET /after" not in log.read_text():
        assert time.monotonic() < deadline
        ask(url, "after")
        time.sleep(0.05)
    (rotated,) = log.parent.glob("access.log-*")
    assert "GET /before" in rotated.read_text()
    assert "GET /before" not in log.read_text()


def _folder_of(url: str) -> Path:
    """Return the folder of the instance that answers at ``url``."""
    place = urllib.parse.urlsplit(url)
    for found in psutil.net_connections("tcp"):
        if found.status == psutil.CONN_LISTEN and found.laddr == (place.hostname, place.port) and found.pid:
            return Path(psutil.Process(found.pid).cwd())
    raise AssertionError(f"nothing listens at {url}")


def test_replicas_serve_the_same_site(request_instance: Callable[..., Any], archives: Archives) -> None:
    parameters = {"replicas": 3, **archives.add("site.tar.gz", site("Ours"))}
    info = request_instance("many", software_type="replicate", parameters=parameters, timeout=120.0)
    urls = info.published["urls"].split()
    assert len(set(urls)) == 3
    assert [ask(url).body for url in urls] == [b"<h1>Ours</h1>"] * 3

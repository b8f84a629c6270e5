# SPDX-License-Identifier: Apache-2.0
"""A served cache: who may add what, uploads that go on, ranges, and that what is there never changes."""

import asyncio
import hashlib
import http.client
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from tests.recipes.binary_cache.conftest import Served, Yard

from allotment.codec import dumps, encode
from allotment.errors import AllotmentError, RefusedError, UnreachableError
from allotment.messages.binary_cache import PackedPart, SignedPackedPart
from allotment.messages.manifest import Blob
from allotment_recipes.binary_cache import entry
from allotment_recipes.binary_cache.caches import BinaryCache, open_cache
from allotment_recipes.binary_cache.server import Settings, create_app
from allotment_recipes.signing import SigningKey, load_or_create_key
from allotment_recipes.store import platform_name


class Upload:
    """Bytes that are said to be a packed part."""

    def __init__(self, place: Path, key: SigningKey, size: int = 100_000, name: str = "part", seed: int = 1) -> None:
        self.path = place / f"{name}{seed}.tar.zst"
        self.path.write_bytes(bytes(seed * index % 251 for index in range(size)))
        self.sha256 = hashlib.sha256(self.path.read_bytes()).hexdigest()
        digest = hashlib.sha256(name.encode()).hexdigest()
        self.part = f"{name}-1-{digest[:32]}"
        packed = PackedPart(
            self.part,
            name,
            "1",
            digest,
            platform_name(),
            "/root",
            Blob(self.sha256, size),
            size,
            1,
            seconds=float(seed),
        )
        self.signed = entry.sign(packed, key)


def ask(
    url: str, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> tuple[int, Any, Mapping[str, str]]:
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=30)
    connection.request(method, path, body, dict(headers or {}))
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    is_json = answer.headers.get("Content-Type", "").startswith("application/json")
    return answer.status, json.loads(data) if is_json and data else data, dict(answer.headers)


@pytest.fixture
def upload(tmp_path: Path, yard: Yard) -> Upload:
    return Upload(tmp_path, yard.key)


@pytest.fixture
def admission(served: Served) -> dict[str, str]:
    return {"Authorization": f"Bearer {(served.folder / 'token').read_text().strip()}"}


def test_what_is_added_is_told_and_sent(served: Served, upload: Upload) -> None:
    cache, heard = served.open(), []
    assert cache.add(upload.signed, upload.path, heard.append)
    assert cache.entries([upload.part, "other-1-00"]) == {upload.part: dumps(upload.signed)}
    assert b"".join(cache.read(upload.sha256)) == upload.path.read_bytes()
    assert heard == [0, 100_000]
    assert cache.size(upload.sha256) == 100_000 and cache.size("0" * 64) is None
    assert list((served.folder / "uploads").iterdir()) == []


def test_a_range_is_sent_alone(served: Served, upload: Upload) -> None:
    served.open().add(upload.signed, upload.path, lambda size: None)
    data, path = upload.path.read_bytes(), f"/api/v1/archives/{upload.sha256}"
    ranges = {
        "bytes=10-19": (206, data[10:20], "bytes 10-19/100000"),
        "bytes=99990-": (206, data[99990:], "bytes 99990-99999/100000"),
        "bytes=-5": (206, data[-5:], "bytes 99995-99999/100000"),
        "bytes=0-999999": (206, data, "bytes 0-99999/100000"),
        "bytes=100000-": (416, b"", "bytes */100000"),
        "bytes=20-10": (416, b"", "bytes */100000"),
        "bytes=0-1,5-6": (200, data, None),
        "lines=1-2": (200, data, None),
        "bytes=-": (200, data, None),
    }
    for text, (status, part, told) in ranges.items():
        answer = ask(served.url, "GET", path, headers={"Range": text})
        assert (answer[0], answer[1], answer[2].get("content-range")) == (status, part, told), text
    status, body, headers = ask(served.url, "HEAD", path)
    assert (status, body, headers["content-length"], headers["accept-ranges"]) == (200, b"", "100000", "bytes")
    assert headers["etag"] == f'"{upload.sha256}"' and "immutable" in headers["cache-control"]


def test_health_and_the_list_are_for_everybody(served: Served, tmp_path: Path, yard: Yard) -> None:
    parts = [Upload(tmp_path, yard.key, 10, name) for name in ("a", "b", "c")]
    for item in parts:
        served.open().add(item.signed, item.path, lambda size: None)
    assert ask(served.url, "GET", "/health")[1]["status"] == "ok"
    first = ask(served.url, "GET", "/api/v1/entries?limit=2")[1]
    assert first == {"parts": [parts[0].part, parts[1].part], "next": parts[1].part}
    assert ask(served.url, "GET", f"/api/v1/entries?limit=2&after={first['next']}")[1] == {
        "parts": [parts[2].part],
        "next": None,
    }
    assert open_cache(served.url).names("", 10) == [item.part for item in parts]
    assert ask(served.url, "GET", f"/api/v1/entries/{parts[0].part}")[1] == encode(parts[0].signed)
    assert ask(served.url, "GET", "/api/v1/entries/nothing")[0] == 404


def test_who_has_no_token_may_not_add(served: Served, upload: Upload) -> None:
    for token in ("", "wrong", "\N{SNOWMAN}".encode().decode("latin-1")):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        for path in (f"/api/v1/entries/{upload.part}", f"/api/v1/uploads/{upload.sha256}"):
            status, answer, _ = ask(served.url, "PUT", path, b"{}", headers)
            assert (status, answer["error"]) == (401, "adding a part needs this cache's token")
    with pytest.raises(RefusedError, match="adding a part needs this cache's token"):
        open_cache(served.url).add(upload.signed, upload.path, lambda size: None)


def test_what_no_accepted_key_has_signed_is_not_taken(served: Served, tmp_path: Path) -> None:
    stranger = Upload(tmp_path, load_or_create_key(tmp_path / "stranger"))
    with pytest.raises(RefusedError, match="which this cache does not trust"):
        served.open().add(stranger.signed, stranger.path, lambda size: None)
    assert not (served.folder / "parts").exists()


def test_other_bytes_than_were_signed_are_not_taken(served: Served, upload: Upload) -> None:
    upload.path.write_bytes(b"x" * 100_000)
    with pytest.raises(RefusedError, match=f"and {upload.sha256} was signed"):
        served.open().add(upload.signed, upload.path, lambda size: None)
    assert served.open().entries([upload.part]) == {} and not list(served.folder.glob("uploads/*.part"))


def test_an_entry_never_changes(served: Served, upload: Upload, tmp_path: Path, yard: Yard) -> None:
    assert served.open().add(upload.signed, upload.path, lambda size: None)
    other = Upload(tmp_path, yard.key, 50_000, seed=2)
    assert other.part == upload.part
    assert not served.open().add(other.signed, other.path, lambda size: None)
    assert served.open().entries([upload.part]) == {upload.part: dumps(upload.signed)}
    assert served.open().size(other.sha256) is None


@pytest.mark.parametrize(
    ("content_range", "body", "status"),
    [
        ("", b"abc", 411),
        ("bytes 0-2/99", b"abc", 422),
        ("bytes 2-0/100000", b"abc", 422),
        ("bytes 5-7/100000", b"abc", 409),
        ("bytes 0-2/100000", b"abcd", 413),
        ("bytes 0-3/100000", b"abc", 422),
        ("bytes 0-100000/100000", b"abc", 422),
    ],
)
def test_a_piece_in_the_wrong_place_is_refused(
    served: Served, upload: Upload, admission: dict[str, str], content_range: str, body: bytes, status: int
) -> None:
    path = f"/api/v1/uploads/{upload.sha256}"
    assert ask(served.url, "PUT", path, body, admission)[0] == 409  # no entry yet
    ask(served.url, "PUT", f"/api/v1/entries/{upload.part}", dumps(upload.signed), admission)
    headers = {**admission, **({"Content-Range": content_range} if content_range else {})}
    assert ask(served.url, "PUT", path, body, headers)[0] == status
    assert served.open().add(upload.signed, upload.path, lambda size: None)  # and nothing is spoilt
    assert b"".join(served.open().read(upload.sha256)) == upload.path.read_bytes()


def test_bodies_are_limited(served: Served, upload: Upload, admission: dict[str, str]) -> None:
    path = f"/api/v1/entries/{upload.part}"
    assert ask(served.url, "PUT", path, b"x" * 70_000, admission)[0] == 413
    assert ask(served.url, "PUT", path, b"{", admission)[0] == 400
    assert ask(served.url, "PUT", "/api/v1/entries/another-1-00", dumps(upload.signed), admission)[0] == 422
    assert ask(served.url, "POST", "/api/v1/lookup", json.dumps({"parts": ["x"] * 300}).encode())[0] == 422
    assert ask(served.url, "GET", "/api/v1/archives/..%2f..%2ftoken")[0] == 404


PUSH = """\
import sys
from pathlib import Path
from allotment.codec import loads
from allotment.messages.binary_cache import SignedPackedPart
from allotment_recipes.binary_cache import http
from allotment_recipes.binary_cache.caches import BinaryCache, open_cache
http._PIECE = 1 << 16
url, token, signed, archive, stop = sys.argv[1:]
cache = open_cache(url, token)
entry = loads(SignedPackedPart, Path(signed).read_bytes())

def tell(size):
    if size > int(stop):
        print("more than that is there", flush=True)
        sys.stdin.read()

print(cache.add(entry, Path(archive), tell))
"""


def pusher(served: Served, upload: Upload, stop: int = 1 << 40) -> list[str]:
    """Return what uploads; when more than ``stop`` bytes are there, it waits for the end of its input."""
    signed = upload.path.with_suffix(".json")
    signed.write_bytes(dumps(upload.signed))
    token = (served.folder / "token").read_text().strip()
    return [sys.executable, "-c", PUSH, served.url, token, str(signed), str(upload.path), str(stop)]


def test_an_upload_goes_on_where_a_kill_has_ended_it(served: Served, tmp_path: Path, yard: Yard) -> None:
    upload = Upload(tmp_path, yard.key, 20_000_000)
    pipe = subprocess.PIPE
    with subprocess.Popen(pusher(served, upload, 1_000_000), stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None and process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    have = (served.folder / f"uploads/{upload.sha256}.part").stat().st_size
    assert 1_000_000 < have < 20_000_000
    assert served.open().entries([upload.part]) == {}
    heard: list[int] = []
    assert served.open().add(upload.signed, upload.path, heard.append)
    assert heard[0] == have and b"".join(served.open().read(upload.sha256)) == upload.path.read_bytes()


def test_an_upload_goes_on_after_the_server_was_killed(served: Served, tmp_path: Path, yard: Yard) -> None:
    upload = Upload(tmp_path, yard.key, 20_000_000)
    pipe, command = subprocess.PIPE, pusher(served, upload, 1_000_000)
    assert served.process is not None
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None and process.stdout.readline()
        served.process.send_signal(signal.SIGSTOP)  # so it never ends, however late the kill is
        assert process.stdin is not None
        process.stdin.close()
        served.kill()
    have = (served.folder / f"uploads/{upload.sha256}.part").stat().st_size
    assert process.returncode == 1 and have
    served.start()
    heard: list[int] = []
    assert served.open().add(upload.signed, upload.path, heard.append)
    assert heard[0] == have and b"".join(served.open().read(upload.sha256)) == upload.path.read_bytes()


def test_a_client_that_is_gone_in_the_middle_of_an_entry_is_no_error_of_the_server(
    served: Served, upload: Upload, admission: dict[str, str]
) -> None:
    address = urllib.parse.urlsplit(served.url)
    head = f"PUT /api/v1/entries/{upload.part} HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in admission.items())
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(f"{head}\r\n{{".encode())
    assert served.open().names("", 1) in ([], ())
    assert served.process is not None and served.process.stderr is not None
    served.process.send_signal(signal.SIGTERM)
    log = served.process.stderr.read().decode()
    assert "stopped" in log and "Traceback" not in log


def test_two_clients_that_add_the_same_part_at_once_both_find_it_there(
    served: Served, tmp_path: Path, yard: Yard
) -> None:
    upload = Upload(tmp_path, yard.key, 10_000_000)
    processes = [subprocess.Popen(pusher(served, upload), stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [process.communicate(timeout=100)[0].split()[-1] for process in processes]
    assert all(process.returncode == 0 for process in processes)
    assert "True" in said
    assert b"".join(served.open().read(upload.sha256)) == upload.path.read_bytes()
    assert list((served.folder / "uploads").iterdir()) == []


class Late:
    """A cache that another client completes just after this one has asked what is there."""

    def __init__(self, cache: BinaryCache) -> None:
        self._cache = cache
        self._is_asked = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cache, name)

    def entries(self, parts: Sequence[str]) -> Mapping[str, bytes]:
        is_first, self._is_asked = not self._is_asked, True
        return {} if is_first else self._cache.entries(parts)


def test_a_client_that_begins_when_another_one_ends_leaves_nothing(upload: Upload, tmp_path: Path, yard: Yard) -> None:
    cache = open_cache(str(tmp_path / "c"))
    cache.add(upload.signed, upload.path, lambda size: None)
    settings = Settings(Late(cache), tmp_path / "u", "t", lambda: (yard.key.public,))
    body, headers = dumps(upload.signed), {"Authorization": "Bearer t"}
    with TestClient(create_app(settings), headers=headers) as client:
        assert client.put(f"/api/v1/entries/{upload.part}", content=body).json() == {"done": True, "new": False}
    assert list((tmp_path / "u").iterdir()) == []


def test_a_piece_that_comes_when_another_client_has_ended_is_not_taken(
    upload: Upload, tmp_path: Path, yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(open_cache(str(tmp_path / "c")), tmp_path / "u", "t", lambda: (yard.key.public,))
    read = entry.read

    def read_late(data: bytes, name: str) -> SignedPackedPart:
        (tmp_path / f"u/{upload.sha256}.json").unlink(missing_ok=True)
        return read(data, name)

    with TestClient(create_app(settings), headers={"Authorization": "Bearer t"}) as client:
        assert client.put(f"/api/v1/entries/{upload.part}", content=dumps(upload.signed)).json() == {"offset": 0}
        monkeypatch.setattr(entry, "read", read_late)
        headers = {"Content-Range": "bytes 0-2/100000"}
        answer = client.put(f"/api/v1/uploads/{upload.sha256}", content=b"abc", headers=headers)
    assert answer.status_code == 409 and answer.json()["error"] == "other bytes are expected here"
    assert list((tmp_path / "u").iterdir()) == []


def test_an_upload_whose_client_is_gone_without_a_word_is_free_for_others(
    upload: Upload, tmp_path: Path, yard: Yard
) -> None:
    settings = Settings(open_cache(str(tmp_path / "c")), tmp_path / "u", "t", lambda: (yard.key.public,), patience=600)
    patient, hasty = create_app(settings), create_app(replace(settings, patience=0.2))

    async def put(
        app: FastAPI, path: str, body: bytes, content_range: str = "", silent: asyncio.Event | None = None
    ) -> tuple[int, Any]:
        pieces = iter([{"type": "http.request", "body": body, "more_body": silent is not None}])
        sent: list[Any] = []

        async def receive() -> Any:
            piece = next(pieces, None)
            if piece is None:
                assert silent is not None
                silent.set()
                await asyncio.sleep(600)
            return piece

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(b"authorization", b"Bearer t"), (b"content-range", content_range.encode())]
        scope = {"type": "http", "method": "PUT", "path": path, "headers": headers, "query_string": b""}
        await app(scope, receive, send)
        return sent[0]["status"], json.loads(sent[1]["body"])

    async def both() -> None:
        begin = (f"/api/v1/entries/{upload.part}", dumps(upload.signed))
        assert await put(patient, *begin) == (200, {"offset": 0})
        piece, is_silent = (f"/api/v1/uploads/{upload.sha256}", b"abc", "bytes 0-99/100000"), asyncio.Event()
        waiting = asyncio.create_task(put(patient, *piece, is_silent))
        await is_silent.wait()
        assert (await put(patient, *begin))[1].get("busy") is True
        waiting.cancel()
        await asyncio.wait([waiting])
        status, answer = await put(hasty, *piece, asyncio.Event())
        assert status == 503 and answer["error"] == "nothing more has come of this upload"
        assert "busy" not in (await put(hasty, *begin))[1]

    asyncio.run(both())


def test_many_clients_read_while_one_adds(served: Served, tmp_path: Path, yard: Yard) -> None:
    first = Upload(tmp_path, yard.key, 3_000_000, "first")
    served.open().add(first.signed, first.path, lambda size: None)
    wrong: list[str] = []

    def read() -> None:
        data = b"".join(open_cache(served.url).read(first.sha256))
        if hashlib.sha256(data).hexdigest() != first.sha256:
            wrong.append(str(len(data)))

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    second = Upload(tmp_path, yard.key, 3_000_000, "second")
    assert served.open().add(second.signed, second.path, lambda size: None)
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_damaged_archive_is_sent_anew_by_who_has_it(served: Served, upload: Upload) -> None:
    served.open().add(upload.signed, upload.path, lambda size: None)
    (served.folder / "parts/archives" / upload.sha256[:2] / upload.sha256).write_bytes(b"short")
    assert served.open().add(upload.signed, upload.path, lambda size: None) in (True, False)
    assert b"".join(served.open().read(upload.sha256)) == upload.path.read_bytes()


def test_an_upload_that_the_disk_does_not_take_leaves_it_no_fuller(served: Served, upload: Upload) -> None:
    assert served.process is not None
    before = resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
    with pytest.raises(UnreachableError, match="the cache's disk: File too large"):
        served.open().add(upload.signed, upload.path, lambda size: None)
    assert not list((served.folder / "uploads").iterdir())
    resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, before)
    assert served.open().add(upload.signed, upload.path, lambda size: None)


def test_uploads_that_nobody_goes_on_with_are_removed(
    served: Served, upload: Upload, tmp_path: Path, yard: Yard
) -> None:
    left = served.folder / "uploads" / f"{'0' * 64}.part"
    left.parent.mkdir(exist_ok=True)
    left.write_bytes(b"x")
    os.utime(left, (time.time() - 90_000,) * 2)
    served.open().add(upload.signed, upload.path, lambda size: None)
    assert not left.exists()


def test_a_second_server_in_the_folder_is_refused(served: Served) -> None:
    other = Served(served.folder, served.environment)
    command = [sys.executable, "-m", "allotment", "cache", "serve", "--folder", str(other.folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and "is in use by process" in done.stderr


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--host", "0.0.0.0"], "can be reached from other machines, and there is no TLS"),
        (["--host", "localhost"], "is not an IP address"),
        (["--keep", "gopher://x"], "its scheme is not known"),
    ],
)
def test_what_can_not_be_served_is_told(tmp_path: Path, options: list[str], reason: str) -> None:
    command = [sys.executable, "-m", "allotment", "cache", "serve", "--folder", str(tmp_path / "f"), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and reason in done.stderr


def test_a_stopped_server_ends_well_and_takes_its_note_away(served: Served) -> None:
    assert served.process is not None
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(30) == 0
    assert not (served.folder / "cache.json").exists()
    with pytest.raises(UnreachableError):
        open_cache("http://127.0.0.1:1").names("", 1)


def test_a_part_is_no_path(tmp_path: Path) -> None:
    cache = open_cache(str(tmp_path / "c"))
    (tmp_path / "secret.json").write_text("{}")
    assert cache.entries(["../../secret", "..", "", ".hidden"]) == {}
    with pytest.raises(AllotmentError, match="is not a sha256"):
        cache.size("../../secret")

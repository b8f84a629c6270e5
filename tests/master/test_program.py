# SPDX-License-Identifier: Apache-2.0
"""The master as a program: it is ready when it says so, stops cleanly, and loses nothing when it is killed."""

import json
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from allotment.blobs import BlobStore
from allotment.client import MasterClient
from allotment.errors import AllotmentError, RefusedError, UnreachableError
from allotment.messages.manifest import SignedManifest
from allotment.secret import Secret


def supplied(program: Any, signed: SignedManifest, tmp_path: Path, partitions: int = 4) -> Secret:
    """Give a master a release, and a node with it; return the node's token."""
    closure = tmp_path / "closure"
    closure.write_bytes(b"the closure of a release")
    with program.client() as client:
        client.put_blob(closure)
        client.put_manifest(signed)
        token: Secret = client.register_node("node-1", partitions, "linux", {"zone": "a"})
        client.supply("node-1", signed.manifest.name)
    return token


def test_start_makes_a_token_and_a_ready_file_and_stop_removes_it(make_program: Callable[..., Any]) -> None:
    program = make_program()
    ready = json.loads((program.folder / "master.json").read_text())
    assert ready == {"format": 1, "pid": program.process.pid, "url": program.url}
    assert stat.S_IMODE((program.folder / "admin.token").stat().st_mode) == 0o600
    assert stat.S_IMODE((program.folder / "master.sqlite").stat().st_mode) == 0o600
    token = (program.folder / "admin.token").read_text()
    assert program.stop() == 0
    assert not (program.folder / "master.json").exists()
    url = program.start().url
    assert (program.folder / "admin.token").read_text() == token
    assert url == ready["url"]


def test_stop_ends_long_polls_with_their_answer(
    make_program: Callable[..., Any], make_manifest: Any, tmp_path: Path
) -> None:
    program = make_program()
    token = supplied(program, make_manifest(), tmp_path)
    with program.client(token) as node, ThreadPoolExecutor(1) as pool:
        sequence = node.desired("node-1", 0, 0).sequence
        waiting = pool.submit(node.desired, "node-1", sequence, 50)
        threading.Event().wait(0.5)  # let it reach the master; too early is right as well, only less telling
        began = time.monotonic()
        assert program.stop() == 0
        assert waiting.result(5) is None
        assert time.monotonic() - began < 8


def test_second_master_in_the_same_folder_is_refused(make_program: Callable[..., Any]) -> None:
    program = make_program()
    command = [sys.executable, "-m", "allotment_master", "run", "--folder", str(program.folder)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 1
    assert second.stderr.strip().splitlines()[-1] == (
        f"error: {program.folder} is in use by process {program.process.pid}. "
        f"Stop that process first (kill {program.process.pid}), or give another --folder."
    )
    assert program.client().nodes() == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--host", "0.0.0.0"],
            "host 0.0.0.0 can be reached from other machines, and there is no TLS. "
            "Use 127.0.0.1, or give a certificate and its key.",
        ),
        (["--host", "example.com"], "host 'example.com' is not an IP address. Write it like 127.0.0.1."),
        (["--database", "mysql://x/y"], "databases of the kind 'mysql' are not supported. Use sqlite or postgresql."),
    ],
)
def test_wrong_setting_stops_the_start_with_its_fix(tmp_path: Path, arguments: list[str], message: str) -> None:
    command = [sys.executable, "-m", "allotment_master", "run", "--folder", str(tmp_path / "m"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr.strip().splitlines()[-1]) == (1, f"error: {message}")
    assert not (tmp_path / "m" / "admin.token").exists()


def test_answered_requests_outlive_kill(
    make_program: Callable[..., Any], make_manifest: Any, tmp_path: Path, database_url: str
) -> None:
    program = make_program("--database", database_url)
    supplied(program, make_manifest(), tmp_path, partitions=400)
    answered: dict[str, tuple[str, str | None]] = {}
    enough = threading.Event()

    def ask(worker: int) -> None:
        with program.client(timeout=10) as client:
            for number in range(100):
                try:
                    info = client.request(f"i{worker}-{number}", "hello")
                except UnreachableError:
                    return
                answered[info.name] = (info.instance, info.partition)
                if len(answered) >= 40:
                    enough.set()

    with ThreadPoolExecutor(4) as pool:
        workers = [pool.submit(ask, worker) for worker in range(4)]
        assert enough.wait(60)
        program.kill()
        for worker in workers:
            worker.result(60)
    with program.start().client() as client:
        found = {info.name: (info.instance, info.partition) for info in client.instances()}
        assert answered.items() <= found.items()
        assert len(set(found.values())) == len(found)
        desired = client.desired("node-1", 0, 0)
        assert desired is not None
        assert {item.name for item in desired.partitions} == set(found)
        assert client.request("after", "hello").node == "node-1"


def test_host_names_of_elsewhere_are_not_served(make_program: Callable[..., Any]) -> None:
    import httpx2

    url = make_program().url
    assert httpx2.get(url, headers={"Host": "evil.example"}).status_code == 421
    assert httpx2.get(url, headers={"Host": "localhost:80"}).status_code == 200


def test_client_speaks_the_whole_api(make_program: Callable[..., Any], make_manifest: Any, tmp_path: Path) -> None:
    program = make_program()
    signed = make_manifest()
    token = supplied(program, signed, tmp_path)
    sha256 = signed.manifest.sha256
    with program.client() as admin, program.client(token) as node:
        assert admin.put_blob(tmp_path / "closure") == signed.manifest.closure.sha256
        store = BlobStore(tmp_path / "store")
        node.get_blob(signed.manifest.closure.sha256, store)
        assert store.read(signed.manifest.closure.sha256) == b"the closure of a release"
        assert node.get_manifest(sha256) == signed
        assert [(item.name, item.manifest, item.signed) for item in node.releases()] == [("hello", sha256, True)]
        assert [(item.node, item.release, item.status) for item in admin.supplies()] == [("node-1", "hello", None)]
        info = admin.request("one", "hello", parameters={"password": Secret("very secret")})
        assert admin.instance("one") == info == admin.instances()[0]
        assert admin.set_state("one", "stopped").state == "stopped"
        assert admin.destroy("one").state == "destroyed"
        assert [(item.name, item.free, item.labels) for item in admin.nodes()] == [("node-1", 3, {"zone": "a"})]
        assert admin.events(0, 0)[-1].id == admin.last_event()
        with program.client(admin.create_token("user")) as user:
            with pytest.raises(RefusedError) as caught:
                user.supply("node-1", "hello")
            assert caught.value.status == 403
            assert str(caught.value) == "a token of scope 'user' may not do this. Use one of: admin."
        with pytest.raises(RefusedError) as caught:
            node.get_blob("0" * 64, store)
        assert caught.value.status == 404


def test_client_says_that_the_master_is_away(make_program: Callable[..., Any]) -> None:
    program = make_program()
    client = program.client()
    client.nodes()
    program.kill()
    with pytest.raises(UnreachableError) as caught:
        client.nodes()
    assert caught.value.what.startswith(f"the master at {client.url} did not answer: ")
    assert caught.value.fix == "Check that it runs, then retry"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://master.example", "Use https, or http on this machine's loopback"),
        ("ftp://127.0.0.1", "Write it like http://127.0.0.1:8000"),
        ("", "Write it like http://127.0.0.1:8000"),
    ],
)
def test_client_sends_no_token_over_an_unsafe_url(url: str, message: str) -> None:
    with pytest.raises(AllotmentError) as caught:
        MasterClient(url, Secret("x"))
    assert caught.value.fix == message

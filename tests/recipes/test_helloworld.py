# SPDX-License-Identifier: Apache-2.0
"""The release helloworld, from the repository's own profile to a page that answers, without node or master."""

import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from allotment.errors import AllotmentError
from allotment.messages.instance import ChildAnswer, InstanceState
from allotment.secret import Secret
from allotment_recipes.engine import BuildEngine
from allotment_recipes.manifest import BuiltRelease, build_release

ROOT = Path(__file__).parents[2]
PROFILE = ROOT / "software/helloworld/software.cfg"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, engine: BuildEngine) -> tuple[BuiltRelease, Path]:
    folder = tmp_path_factory.mktemp("hello")
    try:
        release = build_release(PROFILE, ROOT, folder / "sr", folder / "sources", engine, folder / "log")
    except AllotmentError as error:
        if "waitress" in error.what and "can't be had" in error.what:
            pytest.skip("needs the Python index")
        raise
    return release, folder / "sr"


@pytest.fixture
def free_port(make_port: Callable[[str], int]) -> int:
    return make_port("127.0.0.9")


@pytest.fixture
def serve() -> Iterator[Callable[[Path], None]]:
    started: list[subprocess.Popen[bytes]] = []

    def start(script: Path) -> None:
        started.append(subprocess.Popen([script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

    yield start
    for process in started:
        process.terminate()
        process.wait(60)


def get(url: str, token: str = "") -> tuple[int, str]:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    end = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except urllib.error.URLError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)


def test_the_manifest_describes_both_types(built: tuple[BuiltRelease, Path]) -> None:
    manifest = built[0].manifest
    assert manifest.name == "helloworld"
    assert set(manifest.software_types) == {"default", "pair"}
    assert manifest.software_types["default"].parameters["properties"]["token"]["writeOnly"] is True


def test_an_instance_answers_and_keeps_its_secret(
    built: tuple[BuiltRelease, Path], partition: Any, free_port: int, serve: Callable[[Path], None]
) -> None:
    partition.software = built[1]
    partition.parameters = {"greeting": "Bonjour <you>", "port": free_port, "token": Secret("sesame-street")}
    result = partition.run()
    assert (result.outcome, result.error) == ("done", "")
    url = str(partition.published.values["url"])
    assert url == f"http://127.0.0.9:{free_port}/"
    serve(partition.folder / "etc/service/hello")
    assert get(url) == (
        200,
        "<!doctype html><html lang=en><meta charset=utf-8><title>Hello</title><h1>Bonjour &lt;you&gt;</h1>\n",
    )
    assert get(url + "private")[0] == 401
    assert get(url + "private", "wrong")[0] == 401
    assert get(url + "private", "sesame-street")[0] == 200
    assert get(url + "other")[0] == 404
    promises = {path.name: json.loads(path.read_text()) for path in (partition.folder / "etc/promise").iterdir()}
    assert promises["listening.json"]["options"] == {"host": "127.0.0.9", "port": str(free_port)}
    assert promises["answering.json"]["options"] == {"url": url}


def test_without_a_token_there_is_no_private_page(
    built: tuple[BuiltRelease, Path], partition: Any, free_port: int, serve: Callable[[Path], None]
) -> None:
    partition.software = built[1]
    partition.parameters = {"port": free_port}
    partition.run()
    serve(partition.folder / "etc/service/hello")
    assert get(f"http://127.0.0.9:{free_port}/private", "anything")[0] == 404


def test_a_pair_waits_for_its_child(built: tuple[BuiltRelease, Path], partition: Any, tmp_path: Path) -> None:
    partition.software = tmp_path / "software"
    (partition.software / "instance.cfg").write_text((built[1] / "instance-pair.cfg").read_text())
    assert partition.run().outcome == "waiting"
    (child,) = partition.requests.requests
    assert (child.name, child.software_type, dict(child.parameters)) == (
        "second",
        "default",
        {"greeting": "Hello from the second"},
    )
    partition.answers = {"second": ChildAnswer(InstanceState.STARTED, {"url": "http://127.0.0.8:8080/"})}
    assert partition.run().outcome == "done"
    assert partition.published.values["child-url"] == "http://127.0.0.8:8080/"
    assert json.loads(partition.text("etc/hello.json"))["greeting"] == "My second is at http://127.0.0.8:8080/"

# SPDX-License-Identifier: Apache-2.0
"""S3 in short: the farm's programs are killed and their connections suffer while jobs run."""

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def test_a_farm_whose_programs_and_connections_fail_loses_no_job_and_counts_none_twice() -> None:
    """`python -m benchmarks.s03` is the long form; its seed is drawn anew each time."""
    command = [sys.executable, "-m", "benchmarks.s03", "--quick", "--seed=3", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["id"], result["runs"], result["lost"], result["holds"]) == ("S3", 5, 0, True)


@pytest.fixture(scope="module")
def benchmarks() -> Iterator[None]:
    sys.path.insert(0, str(ROOT))
    yield
    sys.path.remove(str(ROOT))


@pytest.mark.parametrize(
    ("ending", "heard", "is_lost"),
    [("", 100, False), ("== command: passed after 3.1 s\n", 100, False), ("== comm", 100, False),
     ("", 10_000, True), ("line 1\n", 100, True), ("== command: failed", 100, True)],
)  # fmt: skip
def test_a_lost_attempt_may_have_its_whole_log(benchmarks: None, ending: str, heard: int, is_lost: bool) -> None:
    """Its test node may be killed between the end of the command and the result."""
    from benchmarks import s03

    assert bool(s03._gap(s03._whole() + ending, heard)) == is_lost


@pytest.fixture(scope="module")
def proxies(benchmarks: None) -> ModuleType:
    from benchmarks import fault_proxy

    return fault_proxy


class Echo:
    """A server that returns what it gets, and remembers it."""

    def __init__(self) -> None:
        self.heard = b""
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(ConnectionError):
            while data := connection.recv(1000):
                self.heard += data
                connection.sendall(data)


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


def dial(url: str) -> socket.socket:
    host, _, port = url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=30)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_proxy_does_to_connections_what_it_is_told(proxies: ModuleType, echo: Echo) -> None:
    with proxies.FaultProxy(echo.url) as proxy:
        with dial(proxy.url) as there:
            there.sendall(b'{"acknowledged": 17}')
            assert there.recv(100) == b'{"acknowledged": 17}'
            wait_for(lambda: proxy.acknowledged == 17)
            proxy.begin("delay")
            there.sendall(b"later")
            there.settimeout(0.2)
            with pytest.raises(TimeoutError):
                there.recv(100)
            there.settimeout(30)
            proxy.end()
            assert there.recv(100) == b"later"
            proxy.begin("halve")
            there.sendall(b"12345678")
            wait_for(lambda: echo.heard.endswith(b"later1234"))
            assert has_ended(there)
        with dial(proxy.url) as there:
            proxy.begin("cut")
            assert has_ended(there)
        with dial(proxy.url) as there:
            assert has_ended(there)
        proxy.end()
        with dial(proxy.url) as there:
            there.sendall(b"again")
            assert there.recv(100) == b"again"


def has_ended(connection: socket.socket) -> bool:
    """Read what still comes; False when the connection is still there after 30 s."""
    try:
        while connection.recv(100):
            pass
    except ConnectionError:
        pass
    except TimeoutError:
        return False
    return True

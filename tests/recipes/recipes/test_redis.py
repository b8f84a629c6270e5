# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 (bad input and its message stand side by side, as a table)
"""The recipe ``redis``, with a real server."""

import shutil
import socket
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.recipes.patience import until

from allotment.errors import AllotmentError
from allotment_recipes.recipes import redis

Make = Callable[..., Any]
AWKWARD = "a b\"c\\d'$e"


@pytest.fixture
def server() -> str:
    found = shutil.which("redis-server")
    if found is None:
        pytest.skip("needs redis-server")
    return found


@contextmanager
def running(service: Path, promise: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Run the service until its promise is kept, and to the end of the block."""
    process = subprocess.Popen([service], stdout=subprocess.DEVNULL)
    try:
        until(lambda: process.poll() is not None or not subprocess.run([promise], capture_output=True).returncode)
        assert process.poll() is None
        yield process
    finally:
        process.terminate()
        process.wait(60)


def ask(place: Path, password: str, *words: str) -> str:
    command = ["redis-cli", "-s", str(place), *words]
    environment = {"PATH": "/usr/bin:/bin", **({"REDISCLI_AUTH": password} if password else {})}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=False
    ).stdout.strip()


@pytest.mark.parametrize("persistence", ["append-only", "snapshots"])
def test_data_outlives_the_server_for_who_knows_the_password(
    make_recipe: Make, tmp_path: Path, short_path: Path, server: str, persistence: str
) -> None:
    place = short_path / "redis"
    options = {"server-bin": server, "unixsocket": str(place), "persistence": persistence}
    configuration, service, promise = make_recipe(redis.Recipe, options).install()
    password = (tmp_path / "etc/part.password").read_text().strip()
    assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in (configuration, service, promise)} == {0}
    with running(service, promise) as process:
        arguments = Path(f"/proc/{process.pid}/cmdline").read_text()
        assert password not in arguments
        assert ask(place, password, "SET", "key", "value") == "OK"
        assert ask(place, "", "GET", "key").startswith("NOAUTH")
    assert subprocess.run([promise], capture_output=True, check=False).returncode != 0, "broken when it is down"
    again = make_recipe(redis.Recipe, options)
    assert again.update() == [configuration, service, promise]
    with running(service, promise):
        assert ask(place, password, "GET", "key") == "value"
    assert stat.S_IMODE((tmp_path / "srv/part").stat().st_mode) == 0o700


def test_an_awkward_password_and_an_address(
    make_recipe: Make, tmp_path: Path, short_path: Path, server: str, make_port: Callable[[str], int]
) -> None:
    port = make_port("127.0.0.1")
    options = {
        "server-bin": server,
        "cli-bin": str(shutil.which("redis-cli")),
        "address": "127.0.0.1",
        "port": str(port),
        "unixsocket": str(short_path / "socket"),
        "passwd": AWKWARD,
        "persistence": "none",
        "maxmemory": "64mb",
        "server-dir": "data",
        "config-file": "redis.conf",
        "wrapper": "bin/redis",
        "promise-wrapper": "bin/check",
    }
    made = make_recipe(redis.Recipe, options)
    paths = made.install()
    assert paths == [tmp_path / "redis.conf", tmp_path / "bin/redis", tmp_path / "bin/check"]
    assert not (tmp_path / "etc").exists(), "a given password is kept by who gave it"
    with running(*paths[1:]):
        assert ask(short_path / "socket", AWKWARD, "CONFIG", "GET", "maxmemory") == "maxmemory\n67108864"
        socket.create_connection(("127.0.0.1", port)).close()
    url = made.run.tokens.reveal(made.raw["url"])
    assert url == f"redis://:a%20b%22c%5Cd%27%24e@127.0.0.1:{port}/0"
    assert AWKWARD not in str(made.raw)
    assert made.run.tokens.reveal(made.raw["passwd"]) == AWKWARD


def test_a_change_of_the_configuration_restarts_the_service(make_recipe: Make, tmp_path: Path) -> None:
    texts = []
    for size in ("1mb", "2mb", "2mb"):
        make_recipe(redis.Recipe, {"server-bin": "/r/s", "address": "127.0.0.1", "maxmemory": size}).install()
        texts.append((tmp_path / "etc/service/part").read_text())
    assert texts[0] != texts[1] == texts[2]


def test_without_password(make_recipe: Make, tmp_path: Path, short_path: Path, server: str) -> None:
    options = {"server-bin": server, "unixsocket": str(short_path / "s"), "use-passwd": "false"}
    made = make_recipe(redis.Recipe, options)
    with running(*made.install()[1:]):
        assert ask(short_path / "s", "", "PING") == "PONG"
    assert made.raw["url"] == f"unix://{short_path}/s?db=0"
    assert "passwd" not in made.raw


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "[part] server-bin: missing option. Add 'server-bin = ...'."),
        ({"server-bin": "r"}, "[part] address: neither it nor unixsocket is given. Give one of them, or both."),
        ({"server-bin": "r", "address": "here"}, "[part] address: 'here' is not an address. Write it like 127.0.0.1."),
        ({"server-bin": "r", "address": "::1%a\nrequirepass b"}, "[part] address: '::1%a\\nrequirepass b' is not an address. Write it like 127.0.0.1."),
        ({"server-bin": "r", "unixsocket": "s\nport 1"}, "[part] unixsocket: 's\\nport 1' is not one line of text. Write a path."),
        ({"server-bin": "r", "address": "::1", "maxmemory": "lots"}, "[part] maxmemory: 'lots' is not a size. Write it like 100mb."),
        ({"server-bin": "r", "address": "::1", "port": "0"}, "[part] port: 0 is not a port. Write a number from 1 to 65535."),
        ({"server-bin": "r", "address": "10.0.0.1", "use-passwd": "no"}, "[part] use-passwd: 10.0.0.1 is open to others. Let it ask for a password."),
        ({"server-bin": "r", "address": "::1", "maxmemory": "1 mb"}, "[part] maxmemory: '1 mb' is not a size. Write it like 100mb."),
        ({"server-bin": "r", "address": "::1", "use-passwd": "no", "passwd": "x"}, "[part] passwd: use-passwd is false. Remove one of the two."),
        ({"server-bin": "r", "address": "::1", "passwd": "a\nb"}, "[part] passwd: holds characters that can't be typed. Use letters, digits and signs."),
        ({"server-bin": "r", "unixsocket": f"/{'x' * 107}"}, f"[part] unixsocket: /{'x' * 107} is too long for a socket. Choose a shorter path."),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(make_recipe: Make, options: dict[str, str], message: str) -> None:
    with pytest.raises(AllotmentError) as caught:
        make_recipe(redis.Recipe, options)
    assert str(caught.value) == message


@pytest.mark.parametrize("data", [b"a\nb\n", b"\xff\n"])
def test_a_file_that_holds_no_password_is_refused(make_recipe: Make, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/part.password").write_bytes(data)
    with pytest.raises(AllotmentError, match=r"part.password holds no password. Remove it for a new one, or write one"):
        make_recipe(redis.Recipe, {"server-bin": "r", "address": "127.0.0.1"})

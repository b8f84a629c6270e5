# SPDX-License-Identifier: Apache-2.0
"""The release's own tests: they run in its farm job, and by ``allot release test software/redis``."""

import socket
import time
import urllib.parse
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import pytest

from allotment.errors import AllotmentError

PASSWORD = "correct-horse-battery.staple"


class RedisError(Exception):
    """What the server answers in place of a value."""


class Client:
    """Speaks RESP, the protocol of redis, as far as these tests need it."""

    def __init__(self, url: str) -> None:
        place = urllib.parse.urlsplit(url)
        self._socket = socket.create_connection((place.hostname or "", place.port or 0), timeout=10)
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._socket.close()

    def call(self, *words: str | bytes) -> Any:
        """Return the answer to a command: text, number, bytes, None or a list of them."""
        parts = [word.encode() if isinstance(word, str) else word for word in words]
        body = b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
        self._socket.sendall(b"*%d\r\n%s" % (len(parts), body))
        return self._answer()

    def _answer(self) -> Any:
        line = self._file.readline().removesuffix(b"\r\n").decode()
        kind, rest = line[:1], line[1:]
        if kind == "+":
            return rest
        if kind == "-":
            raise RedisError(rest)
        if kind == ":":
            return int(rest)
        if kind == "$":
            return None if rest == "-1" else self._file.read(int(rest) + 2)[:-2]
        if kind == "*":
            return [self._answer() for _ in range(int(rest))]
        raise ConnectionError(f"the server said {line!r}")


def connect(info: Any) -> Client:
    """Return a client that has said the published password."""
    client = Client(info.published["url"])
    assert client.call("AUTH", info.published["password"].reveal()) == "OK"
    return client


def setting(client: Client, name: str) -> str:
    """Return a value of the server's configuration."""
    return str(client.call("CONFIG", "GET", name)[1].decode())


def change(
    master: Any, info: Any, is_there: Callable[[Any], bool], parameters: Any = None, state: str = "started"
) -> Any:
    """Request an instance differently and return it once it is as ``is_there`` says."""
    master.request(info.name, info.manifest, "default", parameters or {}, state)
    deadline = time.monotonic() + 60
    while not is_there(found := master.instance(info.name)):
        assert time.monotonic() < deadline, f"{found.status}: {found.error}"
        time.sleep(0.1)
    return found


def restart(master: Any, info: Any) -> Any:
    """Stop an instance and start it again."""
    change(master, info, lambda found: found.status == "stopped", state="stopped")
    with pytest.raises(OSError):
        Client(info.published["url"])
    return change(master, info, lambda found: found.status == "green")


def test_what_is_set_can_be_got(default_instance: Any) -> None:
    with connect(default_instance) as client:
        value = "¡Hola!\r\n\0".encode()
        assert client.call("SET", "greeting", value) == "OK"
        assert client.call("GET", "greeting") == value
        assert client.call("INCRBY", "number", "41") == 41
        assert client.call("DEL", "greeting", "number") == 2
        assert client.call("GET", "greeting") is None


def test_nobody_gets_in_without_the_password(default_instance: Any) -> None:
    with Client(default_instance.published["url"]) as client:
        with pytest.raises(RedisError, match=r"^NOAUTH "):
            client.call("GET", "greeting")
        with pytest.raises(RedisError, match=r"^WRONGPASS "):
            client.call("AUTH", "wrong")
        with pytest.raises(RedisError, match=r"^NOAUTH "):
            client.call("PING")


def test_the_password_is_published_as_a_secret_of_this_instance(
    default_instance: Any, request_instance: Callable[..., Any]
) -> None:
    other = request_instance("other")
    passwords = {info.published["password"].reveal() for info in (default_instance, other)}
    assert len(passwords) == 2
    assert min(map(len, passwords)) >= 32
    assert not [password for password in passwords if password in f"{default_instance} {other}"]


def test_data_and_password_survive_a_restart(request_instance: Callable[..., Any], master: Any) -> None:
    info = request_instance("lasting")
    with connect(info) as client:
        assert client.call("SET", "kept", "yes") == "OK"
        assert client.call("RPUSH", "list", "a", "b") == 2
        before = client.call("INFO", "server")
    again = restart(master, info)
    assert again.published["password"] == info.published["password"]
    with connect(again) as client:
        assert client.call("GET", "kept") == b"yes"
        assert client.call("LRANGE", "list", "0", "-1") == [b"a", b"b"]
        assert client.call("INFO", "server") != before, "another process"


def test_a_password_can_be_given_and_taken_back(request_instance: Callable[..., Any], master: Any) -> None:
    info = request_instance("given", parameters={"password": PASSWORD})
    assert info.published["password"].reveal() == PASSWORD
    with connect(info) as client:
        assert client.call("SET", "kept", "yes") == "OK"

    def is_changed(found: Any) -> bool:
        return found.status == "green" and found.published["password"].reveal() != PASSWORD

    own = change(master, info, is_changed)
    with Client(own.published["url"]) as client, pytest.raises(RedisError, match=r"^WRONGPASS "):
        client.call("AUTH", PASSWORD)
    with connect(own) as client:
        assert client.call("GET", "kept") == b"yes"


def test_the_server_is_as_the_parameters_say(request_instance: Callable[..., Any]) -> None:
    parameters = {"port": 16379, "maxmemory": 3, "maxmemory-policy": "allkeys-lru", "appendfsync": "always"}
    info = request_instance("tuned", parameters=parameters)
    assert urllib.parse.urlsplit(info.published["url"]).port == 16379
    with connect(info) as client:
        assert setting(client, "maxmemory") == str(3 << 20)
        assert setting(client, "maxmemory-policy") == "allkeys-lru"
        assert setting(client, "appendfsync") == "always"


def test_a_full_server_refuses_to_forget(request_instance: Callable[..., Any]) -> None:
    info = request_instance("full", parameters={"maxmemory": 2})
    with connect(info) as client:
        with pytest.raises(RedisError, match=r"^OOM "):
            for number in range(8):
                client.call("SET", f"key-{number}", bytes(1 << 20))
        assert client.call("PING") == "PONG"


@pytest.mark.parametrize(
    "password",
    ["short", "with a space and more", 'quotes"quotes"quotes', "lines\nsave 1 1 lines", "a-line-with-its-end\n"],
)
def test_a_password_that_needs_quoting_is_refused(password: str, default_instance: Any, master: Any) -> None:
    with pytest.raises(AllotmentError) as caught:
        master.request("refused", default_instance.manifest, "default", {"password": password})
    assert "password" in str(caught.value)
    assert password not in str(caught.value)

# SPDX-License-Identifier: Apache-2.0
"""The type ``resilient``: data that one instance lost are served by another one, after one command."""

import json
import os
import socket
import subprocess
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

NODE = Path(os.environ["ALLOTMENT_TOKEN_FILE"]).parent.parent / "node"


class Tree:
    """A resilient Redis and the partitions of its instances."""

    def __init__(self, master: Any, info: Any) -> None:
        self._master = master
        self._name = info.name

    def instance(self, name: str = "") -> Any:
        """Return what the master knows of the root, or of a child."""
        return self._master.instance(f"{self._name}/{name}" if name else self._name)

    def await_role(self, name: str, role: str) -> None:
        """Wait until a child is in a role."""
        until(lambda: self.instance(name).published.get("role") == role, lambda: self.instance(name))

    def folder(self, name: str) -> Path:
        """Return a child's partition."""
        identifier = self.instance(name).instance
        for file in NODE.glob("partitions/*/.allotment/instance.json"):
            if json.loads(file.read_bytes())["instance"] == identifier:
                return file.parents[1]
        raise AssertionError(f"{name} is nowhere")

    def run(self, name: str, program: str) -> str:
        """Run a program of a child; when its cron runs it at this moment, once more."""
        deadline = time.monotonic() + 60
        while True:
            done = subprocess.run([self.folder(name) / "bin" / program], capture_output=True, text=True, check=False)
            if done.returncode != 75:
                break
            assert time.monotonic() < deadline, done.stderr
            time.sleep(0.2)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def call(self, *words: str) -> Any:
        """Return the server's answer to a command, for who has the published address and password."""
        found = self.instance().published
        return call(found["url"], found["password"].reveal(), *words)


def call(url: str, password: str, *words: str) -> str:
    """Return the last line of the answer to a command."""
    place = urllib.parse.urlsplit(url)
    with socket.create_connection((place.hostname or "", place.port or 0), timeout=10) as connection:
        for line in (("AUTH", password), words, ("QUIT",)):
            connection.sendall(" ".join(line).encode() + b"\r\n")
        answer = connection.makefile("rb").read().decode()
    assert answer.startswith("+OK\r\n"), answer
    return answer.removeprefix("+OK\r\n").removesuffix("+OK\r\n")


def until(found: Callable[[], Any], told: Callable[[], object]) -> Any:
    """Wait for something true and return it."""
    deadline = time.monotonic() + 90
    while not (value := found()):
        assert time.monotonic() < deadline, told()
        time.sleep(0.1)
    return value


def test_a_standby_instance_takes_over_with_the_data(request_instance: Callable[..., Any], master: Any) -> None:
    tree = Tree(master, request_instance("resilient", "resilient", {"backup-frequency": "@yearly"}, timeout=180.0))
    tree.await_role("backup-1", "pull-and-push")
    for name, section in (("main", "export"), ("standby-1", "import")):
        keys = tree.folder(name) / "etc" / section / "authorized_keys"
        until(keys.read_text, lambda: tree.instance("backup-1"))
    before = tree.instance().published
    assert before["main"] == "main"
    assert tree.call("SET", "kept", "yes") == "+OK\r\n"
    tree.run("main", "export")
    tree.run("backup-1", "pull")
    tree.run("backup-1", "push")
    assert tree.run("standby-1", "takeover").startswith("taken over at ")

    until(lambda: tree.instance().published["main"] == "standby-1", tree.instance)
    after = tree.instance().published
    assert after["url"] != before["url"]
    assert after["password"] == before["password"]
    until(lambda: answer(tree, "GET", "kept") == "$3\r\nyes\r\n", tree.instance)
    until(lambda: tree.instance().status == "green", tree.instance)

    old = until(lambda: (found := tree.instance("main")).status == "red" and found, lambda: tree.instance("main"))
    (broken,) = [item for item in old.promises if item.status != "passed"]
    assert "standby-1 has taken over at " in broken.message
    with pytest.raises(OSError):
        call(before["url"], before["password"].reveal(), "PING")
    tree.await_role("backup-1", "pull")
    until(lambda: tree.instance("standby-1").status == "green", lambda: tree.instance("standby-1"))


def answer(tree: Tree, *words: str) -> str:
    """Return what the server answers; nothing while there is none."""
    try:
        return str(tree.call(*words))
    except OSError:
        return ""

# SPDX-License-Identifier: Apache-2.0
"""The commands, as people type them, against a master that runs."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from allotment.messages.desired_state import InstanceStatus, ObservedInstance, ObservedState
from allotment.messages.instance import InstancePublished
from allotment.secret import Secret


class Shell:
    """A shell whose environment names a master, and the node of that master."""

    def __init__(self, program: Any, token: Secret) -> None:
        self.program = program
        self.node = program.client(token)
        self._environment = {
            "PATH": "/usr/bin:/bin",
            "ALLOTMENT_MASTER": program.url,
            "ALLOTMENT_TOKEN_FILE": str(program.folder / "admin.token"),
        }

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run ``allot`` with words, return what came of it."""
        command = [sys.executable, "-m", "allotment", *words]
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**self._environment, **environment},
        )

    def report(self, status: str, **values: Any) -> None:
        """Report on the first instance as its node."""
        desired = self.node.desired("node-1", 0, 30)
        assert desired is not None
        document = desired.partitions[0]
        seen = ObservedInstance(
            document.partition, document.instance, document.generation, InstanceStatus(status), **values
        )
        self.node.report("node-1", ObservedState(instances=(seen,)))


@pytest.fixture
def shell(make_program: Callable[..., Any], make_manifest: Any, tmp_path: Path) -> Shell:
    program = make_program()
    closure = tmp_path / "closure"
    closure.write_bytes(b"the closure of a release")
    with program.client() as client:
        client.put_blob(closure)
        client.put_manifest(make_manifest())
        token = client.register_node("node-1", 4, "linux", {"zone": "a"})
    return Shell(program, token)


def test_supply_request_wait_and_look(shell: Shell, promise: Any) -> None:
    assert shell.run("supply", "hello", "node-1").stdout.startswith("hello ")
    url = "http://127.0.0.9:80/"
    kept = promise("web", "passed", "it answers")
    silenced = replace(promise("disk", "failed", "full"), silence="ann: new one on Friday")

    def be_node() -> None:
        first = shell.node.desired("node-1", 0, 0)
        assert first is not None
        shell.node.desired("node-1", first.sequence, 50)
        shell.report(
            "green", published=InstancePublished({"url": url, "key": "hidden words"}), promises=(silenced, kept)
        )

    node = threading.Thread(target=be_node)
    node.start()
    words = ("--param", "greeting=7", "--param", "port=8080", "--wait", "--timeout", "50")
    done = shell.run("request", "one", "hello", *words)
    node.join(60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == f"one: green on node-1/part0 at {url}"
    desired = shell.node.desired("node-1", 0, 0)
    assert desired is not None
    assert desired.partitions[0].parameters == {"greeting": "7", "port": 8080}
    listed = json.loads(shell.run("service", "list", "--json").stdout)
    assert [(item["name"], item["status"], item["published"]["key"]) for item in listed] == [
        ("one", "green", "<secret>")
    ]
    assert url in shell.run("service", "list").stdout
    info = shell.run("service", "info", "one").stdout
    assert "promise   web: passed: it answers\n" in info
    assert "promise   disk: failed: full (silenced by ann: new one on Friday)\n" in info
    assert "hidden" not in info
    assert "node-1" in shell.run("master", "nodes").stdout
    assert "instance.published instance/one" in shell.run("master", "events").stdout
    assert shell.run("service", "stop", "one").stdout == "one: stopped is wanted; it is processing\n"
    assert shell.run("service", "start", "one").returncode == 0
    assert shell.run("service", "destroy", "one").returncode == 0


def test_wait_tells_the_messages_of_broken_promises(shell: Shell, promise: Any) -> None:
    shell.run("supply", "hello", "node-1")
    shell.run("request", "one", "hello")
    shell.report("failed", error="no space left.", promises=(promise("web", "failed", "nobody answers"),))
    done = shell.run("request", "one", "hello", "--wait")
    assert (done.returncode, done.stderr) == (
        1,
        "error: one failed: no space left.\n  promise web: nobody answers.\n",
    )
    shell.report("red", promises=(promise("web", "failed", "nobody answers"),))
    done = shell.run("request", "one", "hello", "--wait", "--timeout", "0.2")
    assert (done.returncode, done.stderr) == (
        1,
        "error: one is not ready after 0.2 s: it is red\n  promise web: nobody answers. "
        "Look at 'allot service info one'.\n",
    )


def test_request_without_a_place_says_why(shell: Shell) -> None:
    done = shell.run("request", "one", "hello")
    assert done.stdout == ("one: requested: There is no place: node-1: release hello is not supplied.\n")


def test_a_long_error_is_one_line_while_waiting(shell: Shell) -> None:
    shell.run("supply", "hello", "node-1")
    shell.run("request", "one", "hello")
    shell.report("waiting", error="child: has not published 'url'\npage: has not published 'url'")
    done = shell.run("request", "one", "hello")
    assert done.stdout == "one: waiting on node-1/part0: child: has not published 'url' (and 1 more)\n"
    assert "page: has not published" in shell.run("service", "info", "one").stdout


MISTAKES = [
    (
        ("request", "one", "hello", "--param", "greting=x"),
        1,
        "error: release hello, type default: unknown parameter greting. "
        "Did you mean 'greeting'? Valid: greeting, nested, password, port.",
    ),
    (
        ("request", "one", "hello", "--param", "port=x"),
        1,
        "error: release hello, type default: parameter port: 'x' is not of type 'integer'. Correct its value.",
    ),
    (("request", "one", "hello", "--param", "port"), 2, "Error: --param 'port' is not KEY=VALUE"),
    (
        ("request", "one", "hello", "--parameters-file", "/dev/null"),
        1,
        "error: /dev/null can't be read: Expecting value: line 1 column 1 (char 0). "
        "Give a file that holds a JSON object.",
    ),
    (
        ("service", "info", "one"),
        1,
        "error: no instance is called 'one'. List them with 'allot service list'.",
    ),
    (
        ("supply", "hello", "node-2"),
        1,
        "error: no node is called 'node-2'. List them with 'allot master nodes'.",
    ),
    (
        ("master", "token", "usr"),
        1,
        "error: 'usr' is no scope. Did you mean 'user'? Valid: admin, enrol, farm, node:NAME, user.",
    ),
    (
        ("master", "token", "user", "--output", "/nowhere/token"),
        1,
        "error: --output /nowhere/token can't be written. Make /nowhere a folder that you may write.",
    ),
    (
        ("master", "token", "user", "--output", "/"),
        2,
        "Error: Invalid value for '--output': File '/' is a directory.",
    ),
]


def test_mistakes_are_told_with_their_fixes(shell: Shell) -> None:
    for words, code, message in MISTAKES:
        done = shell.run(*words)
        assert (done.returncode, done.stderr.strip().splitlines()[-1]) == (code, message)


def test_token_is_made_for_its_owner_only(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "user.token"
    assert shell.run("master", "token", "user", "--output", str(path)).stdout == f"wrote {path}\n"
    assert path.stat().st_mode & 0o777 == 0o600
    done = shell.run("supply", "hello", "node-1", ALLOTMENT_TOKEN_FILE=str(path))
    assert done.stderr == "error: a token of scope 'user' may not do this. Use one of: admin.\n"


def test_missing_master_and_token_are_told(tmp_path: Path) -> None:
    def run(*words: str) -> str:
        command = [sys.executable, "-m", "allotment", "service", "list", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env={"PATH": "/bin"})
        assert done.returncode == 1
        return done.stderr

    assert run() == "error: no master is named. Give --master URL, or set ALLOTMENT_MASTER.\n"
    there = ("--master", "http://127.0.0.1:1")
    assert run(*there) == "error: no token is given. Give --token-file FILE, or set ALLOTMENT_TOKEN_FILE.\n"
    token = tmp_path / "token"
    token.write_text("")
    assert run(*there, "--token-file", str(token)) == (
        f"error: token file {token} holds no token. Give the file that 'allot master token' wrote.\n"
    )
    token.write_text("x")
    assert run(*there, "--token-file", str(token)).startswith(
        "error: the master at http://127.0.0.1:1 did not answer: "
    )

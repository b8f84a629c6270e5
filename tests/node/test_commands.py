# SPDX-License-Identifier: Apache-2.0
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from allotment.cli import main
from allotment.codec import dumps
from allotment.messages.desired_state import InstanceStatus, NodeDesiredState, ObservedInstance, ObservedState, Supply
from allotment.messages.instance import InstancePublished
from allotment.secret import Secret
from allotment_node.config import dump
from allotment_node.folder import NodeFolder

Make = Callable[..., Any]
URL = "http://127.0.0.1:1"


@pytest.fixture
def registered(node_folder: NodeFolder, config: Any) -> NodeFolder:
    node_folder.config.write_text(dump(config))
    node_folder.token.write_text("token\n")
    return node_folder


def store(folder: NodeFolder, document: Any, status: InstanceStatus = InstanceStatus.GREEN) -> None:
    (folder.desired / "part0.json").write_bytes(dumps(document))
    published = InstancePublished({"url": "http://x", "password": Secret("s3cr3t-planted")})
    seen = ObservedInstance("part0", document.instance, 1, status, published=published)
    (folder.observed / "part0.json").write_bytes(dumps(ObservedState(instances=(seen,))))


def test_status_shows_all_and_no_secret(
    registered: NodeFolder, document: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    store(registered, document(parameters={"password": Secret("s3cr3t-planted")}))
    supplies = NodeDesiredState(0, (Supply("a" * 64),))
    (registered.desired / "supplies.json").write_bytes(dumps(supplies))
    with registered.lock:  # beside a running agent
        assert main(["node", "status", "--folder", str(registered.root), "--json"]) == 0
        text = capsys.readouterr().out
        assert main(["node", "status", "--folder", str(registered.root)]) == 0
        text += capsys.readouterr().out
    assert "s3cr3t-planted" not in text
    found = json.loads(text.splitlines()[0])
    assert found["agent"] is None
    assert found["partitions"][0]["status"] == "green"
    assert found["partitions"][0]["published"]["values"]["password"] == "<secret>"
    assert "part0 hello wanted started, was green" in text


def test_a_one_shot_command_beside_an_agent_is_refused(
    registered: NodeFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    for word in ("software", "instance"):
        with registered.lock:
            assert main(["node", word, "--folder", str(registered.root)]) == 1
        assert "is in use by process" in capsys.readouterr().err


def test_one_shot_commands_work_from_stored_documents_when_the_master_is_away(
    registered: NodeFolder, document: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    store(registered, document(state="destroyed", generation=2))
    registered.partition("part0").mkdir()
    assert main(["node", "instance", "--folder", str(registered.root), "--json"]) == 0
    output = capsys.readouterr()
    assert json.loads(output.out)["instances"][0]["status"] == "destroyed"
    assert not registered.partition("part0").exists()
    assert f"the master at {URL} did not answer" in output.err


def test_an_unregistered_folder_says_what_to_do(scratch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for word in ("run", "software", "instance", "promise", "status", "stop"):
        assert main(["node", word, "--folder", str(scratch / "none")]) == 1
        assert "Register this node first: allot node register" in capsys.readouterr().err
    assert not (scratch / "none").exists()


def register(scratch: Path, *words: str) -> int:
    (scratch / "token").write_text("token\n")
    given = ["node", "register", "--folder", str(scratch / "n"), "--token-file", str(scratch / "token")]
    return main([*given, *(("--name", "node-1") if "--name" not in words else ()), "--master", URL, *words])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--name", "Node 1"), "--name: 'Node 1' is not a node's name. Use a-z, 0-9, '-' and '.'."),
        (("--partitions", "0"), "--partitions: 0 is too few or too many. 1 to 250."),
        (("--label", "ssd"), "--label 'ssd' has no name or no value. Write it like disk=ssd."),
        (
            ("--trust", "/nowhere"),
            "--trust: /nowhere can't be read: No such file or directory. "
            "Give a file with public keys, such as a farm's signing.pub.",
        ),
        (("--trust", __file__), " is not a public key. Give a file with public keys, such as"),
        (("--token-file", "/nowhere"), "token file /nowhere can't be read: No such file or directory."),
        ((), "the master at http://127.0.0.1:1 did not answer:"),
        (("--master", "http://example.invalid"), "http://example.invalid would send tokens unencrypted."),
    ],
)
def test_a_registration_that_can_t_be_says_why_and_writes_nothing(
    scratch: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    assert register(scratch, *words) == 1
    assert message in capsys.readouterr().err
    assert not (scratch / "n" / "node.toml").exists()


def test_a_folder_is_registered_once(registered: NodeFolder, capsys: pytest.CaptureFixture[str]) -> None:
    before = registered.config.read_text()
    (registered.root / "t").write_text("token")
    words = [
        "--folder",
        str(registered.root),
        "--name",
        "n",
        "--master",
        URL,
        "--token-file",
        str(registered.root / "t"),
    ]
    assert main(["node", "register", *words]) == 1
    assert capsys.readouterr().err == (
        f"error: {registered.root} is registered already. "
        f"Use it as it is, or remove {registered.config} to register anew.\n"
    )
    assert registered.config.read_text() == before

# SPDX-License-Identifier: Apache-2.0
"""The recipe ``password``: made once, kept on the node, never in an option."""

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from allotment.codec import loads
from allotment.errors import AllotmentError
from allotment.messages.instance import InstancePublished
from allotment.secret import Secret
from allotment_recipes.recipes import password

PROFILE = """\
    [buildout]
    parts = {parts}

    [slap-configuration]
    recipe = allotment.recipes:slapconfiguration

    [password]
    recipe = allotment.recipes:password
    file = etc/password
    given = {given}

    [settings]
    recipe = allotment.recipes:template.jinja2
    inline = {{{{ password }}}}
    output = etc/settings
    context = key password password:password

    [publish]
    recipe = allotment.recipes:publish
    password = ${{password:password}}
"""


def process(partition: Any, given: str = "", parts: str = "settings publish") -> str:
    """Process the partition; return the password that it publishes."""
    result = partition.run(PROFILE.format(given=given, parts=parts))
    assert result.outcome == "done", result.error
    path = partition.folder / ".allotment/published.json"
    secret = loads(InstancePublished, path.read_bytes(), str(path)).values["password"]
    assert isinstance(secret, Secret)
    return secret.reveal()


def test_a_password_is_made_once_and_kept(partition: Any) -> None:
    first = process(partition)
    kept = partition.folder / "etc/password"
    assert len(first) >= 32
    assert kept.read_text() == f"{first}\n"
    assert (partition.folder / "etc/settings").read_text() == first
    assert process(partition) == first
    kept.unlink()
    assert process(partition) != first


def test_nobody_else_can_read_it(partition: Any) -> None:
    value = process(partition)
    kept = partition.folder / "etc/password"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    kept.chmod(0o644)
    process(partition)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    holders = {
        path.name for path in partition.folder.rglob("*") if path.is_file() and value.encode() in path.read_bytes()
    }
    assert holders == {"password", "settings", "published.json"}


def test_a_given_password_is_used_and_the_kept_one_stays(partition: Any) -> None:
    first = process(partition)
    assert process(partition, given="correct-horse") == "correct-horse"
    assert (partition.folder / "etc/password").read_text() == f"{first}\n"
    assert process(partition) == first


def test_a_password_outlives_its_section(partition: Any) -> None:
    first = process(partition)
    assert partition.run("[buildout]\nparts =\n").outcome == "done"
    assert not (partition.folder / "etc/settings").exists()
    assert process(partition) == first


@pytest.mark.parametrize("data", [b"", b"\n", b"two\nlines\n", b"\xff\xfe"])
def test_a_file_that_holds_no_password_is_refused(data: bytes, make_recipe: Callable[..., Any], tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_bytes(data)
    with pytest.raises(AllotmentError) as caught:
        make_recipe(password.Recipe, {"file": "kept"})
    assert str(caught.value) == f"[part] file: {kept} holds no password. Remove it for a new one, or write one line."

# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 (bad input and its message stand side by side, as a table)
"""The recipe ``backup.ssh-keys``, with OpenSSH's ssh-keygen."""

import re
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allotment.errors import AllotmentError
from allotment_recipes.recipes import backup_ssh_keys
from allotment_recipes.resilience.keys import public_of

Make = Callable[..., Any]
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ9VJ3pSxQzBv5K8mYc0P3rDkq6Q0O7jv1Jb2bXjzj4A"


@pytest.fixture(scope="session")
def keygen() -> str:
    found = shutil.which("ssh-keygen")
    if found is None:
        pytest.skip("needs openssh-client")
    return found


def test_a_key_is_made_once_and_is_private(make_recipe: Make, tmp_path: Path, keygen: str) -> None:
    made = make_recipe(backup_ssh_keys.Recipe, {"keygen-binary": keygen})
    assert made.install() == []
    file = tmp_path / "etc/ssh/part"
    assert made.raw["key-file"] == str(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    told = subprocess.run([keygen, "-y", "-f", str(file)], capture_output=True, text=True, check=True).stdout
    assert told.split() == made.raw["public-key"].split()
    private = file.read_text()
    assert private not in made.raw.values()
    assert private.splitlines()[1] not in str(made.raw)
    again = make_recipe(backup_ssh_keys.Recipe, {"keygen-binary": keygen})
    assert again.update() == []
    assert (again.raw["public-key"], file.read_text()) == (made.raw["public-key"], private)
    assert backup_ssh_keys.Recipe.kept(made.raw) == [str(file)]


def test_others_may_run_one_command(make_recipe: Make, tmp_path: Path, keygen: str) -> None:
    options = {
        "keygen-binary": keygen,
        "key-file": "key",
        "authorized-keys": f"{OTHER} somebody@somewhere\n{OTHER}",
        "command": 'serve "a b"',
        "authorized-keys-file": "others",
    }
    made = make_recipe(backup_ssh_keys.Recipe, options)
    assert made.install() == [tmp_path / "others"] == made.update()
    assert (tmp_path / "others").read_text() == f'restrict,command="serve \\"a b\\"" {OTHER}\n'
    assert stat.S_IMODE((tmp_path / "others").stat().st_mode) == 0o600
    assert made.raw["authorized-keys-file"] == str(tmp_path / "others")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keygen-binary": "ssh-keygen"}, "[part] keygen-binary: ssh-keygen is not a whole path. Write it like ${openssh:location}/bin/ssh."),
        ({"keygen-binary": "/no/keygen"}, "[part] keygen-binary: /no/keygen can't be run. Name a program that is there."),
        ({"keygen-binary": "/bin/false"}, "[part] keygen-binary: no key was made: . Name OpenSSH's ssh-keygen."),
        ({"authorized-keys": OTHER}, "[part] authorized-keys, command: command is missing. Give all of them, or none."),
        ({"command": "true"}, "[part] authorized-keys, command: authorized-keys is missing. Give all of them, or none."),
        ({"command": "true", "authorized-keys": "ssh-rsa AAAA"}, "[part] authorized-keys: 'ssh-rsa AAAA' is not an ed25519 key. Write it like: ssh-ed25519 AAAAC3Nz..."),
        ({"command": "a\nb", "authorized-keys": OTHER}, "[part] command: is not one line of text."),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(make_recipe: Make, keygen: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(AllotmentError, match=re.escape(message)):
        make_recipe(backup_ssh_keys.Recipe, {"keygen-binary": keygen, **options})


def test_a_broken_key_is_not_replaced(make_recipe: Make, tmp_path: Path, keygen: str) -> None:
    subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "secret", "-f", str(tmp_path / "locked")], check=True)
    (tmp_path / "cut").write_text((tmp_path / "locked").read_text()[:100])
    for name in ("locked", "cut"):
        text = (tmp_path / name).read_text()
        with pytest.raises(AllotmentError, match=f"key-file: {tmp_path}/{name} holds no ed25519 key without a pass"):
            make_recipe(backup_ssh_keys.Recipe, {"keygen-binary": keygen, "key-file": name})
        assert (tmp_path / name).read_text() == text


@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")))
def test_any_text_is_a_key_or_a_value_error(text: str) -> None:
    for body in (text, f"-----BEGIN OPENSSH PRIVATE KEY-----{text}-----END OPENSSH PRIVATE KEY-----"):
        with pytest.raises(ValueError, match=r".+"):
            public_of(body)


PROFILE = """\
    [buildout]
    parts = {parts}

    [keys]
    recipe = allotment.recipes:backup.ssh-keys
    keygen-binary = {keygen}

    [publish]
    recipe = allotment.recipes:publish
    key = {key}
"""


def test_the_key_stays_when_its_section_goes_and_is_in_no_log(partition: Any, keygen: str) -> None:
    profile = PROFILE.format(parts="keys publish", keygen=keygen, key="${keys:public-key}")
    assert partition.run(profile).outcome == "done"
    key = partition.published.values["key"]
    private = (partition.folder / "etc/ssh/keys").read_text()
    assert partition.run().outcome == "done"
    assert partition.published.values["key"] == key
    assert partition.run(PROFILE.format(parts="publish", keygen=keygen, key="none")).outcome == "done"
    assert (partition.folder / "etc/ssh/keys").read_text() == private
    told = [partition.log, partition.folder / ".allotment/published.json", partition.folder / ".installed.cfg"]
    assert all(line not in path.read_text() for path in told for line in private.splitlines()[1:3])

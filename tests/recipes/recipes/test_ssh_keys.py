# SPDX-License-Identifier: Apache-2.0
"""The recipes ``ssh.key`` and ``ssh.authorized-keys``, with OpenSSH's ssh-keygen."""

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
from allotment.options import OptionProblem
from allotment_recipes.recipes import ssh_authorized_keys, ssh_key

Make = Callable[..., Any]
RSA = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC7"
ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ9VJ3pSxQzBv5K8mYc0P3rDkq6Q0O7jv1Jb2bXjzj4A"


@pytest.fixture(scope="session")
def keygen() -> str:
    found = shutil.which("ssh-keygen")
    if found is None:
        pytest.skip("needs openssh-client")
    return found


def test_the_key_is_there_from_the_first_run_on_and_stays(partition: Any, keygen: str) -> None:
    profile = f"""\
        [buildout]
        parts = key told
        [key]
        recipe = allotment.recipes:ssh.key
        keygen-binary = {keygen}
        private-key = etc/ssh/id
        executable = bin/server
        wrapper = etc/service/server
        [told]
        recipe = allotment.recipes:template
        inline = ${{key:public-key-value}} ${{key:private-key}} ${{key:public-key}}
        output = told
        """
    partition.run_twice(profile)
    private = partition.folder / "etc/ssh/id"
    public = subprocess.run([keygen, "-y", "-f", private], capture_output=True, text=True, check=True).stdout.strip()
    assert partition.text("told") == f"{public} {private} {private}.pub"
    assert partition.text("etc/ssh/id.pub") == f"{public}\n"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert f"exec {partition.folder}/bin/server" in partition.text("etc/service/server")
    secret = private.read_text()
    assert secret.splitlines()[1] not in partition.text(".installed.cfg")
    assert partition.remove("key", "told") == ["etc/service/server", "etc/ssh/id.pub", "told"]
    partition.run_twice(profile)
    assert private.read_text() == secret


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keygen-binary": "ssh-keygen"}, "[part] keygen-binary: ssh-keygen is not a whole path."),
        ({"public-key": "id"}, "[part] public-key: is the private-key. Give each a file of its own."),
        ({"executable": "bin/x"}, "[part] executable, wrapper: wrapper is missing. Give all of them, or none."),
    ],
)
def test_what_is_wrong_with_a_key_is_named(
    make_recipe: Make, keygen: str, options: dict[str, str], message: str
) -> None:
    with pytest.raises(AllotmentError, match=re.escape(message)):
        make_recipe(ssh_key.Recipe, {"keygen-binary": keygen, "private-key": "id", **options})


def test_a_file_that_holds_no_key_is_not_replaced(make_recipe: Make, tmp_path: Path, keygen: str) -> None:
    (tmp_path / "id").write_text("mine")
    with pytest.raises(AllotmentError, match=f"{tmp_path}/id holds no ed25519 key"):
        make_recipe(ssh_key.Recipe, {"keygen-binary": keygen, "private-key": "id"})
    assert (tmp_path / "id").read_text() == "mine"


def test_those_who_have_the_keys_are_let_in(partition: Any) -> None:
    profile = f"""\
        [buildout]
        parts = visitors
        [visitors]
        recipe = allotment.recipes:ssh.authorized-keys
        home = etc
        key =
          {RSA}  anna@home
          {ED25519}
          {RSA}
        """
    partition.run_twice(profile)
    file = partition.folder / "etc/.ssh/authorized_keys"
    assert file.read_text() == f"{RSA}\n{ED25519}\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert partition.remove("visitors") == ["etc/.ssh/authorized_keys"]


def test_without_keys_nobody_is_let_in(make_recipe: Make, tmp_path: Path) -> None:
    recipe = make_recipe(ssh_authorized_keys.Recipe, {"authorized-keys-file": "keys", "key": ""})
    assert recipe.install() == [tmp_path / "keys"]
    assert (tmp_path / "keys").read_text() == ""
    assert recipe.raw["authorized-keys-file"] == str(tmp_path / "keys")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"home": "h", "key": f'command="x" {RSA}'}, "is not a public key. Write it like: ssh-ed25519 AAAAC3Nz...."),
        ({"home": "h", "key": "ssh-rsa AAAA"}, "[part] key: 'ssh-rsa AAAA' is not a public key."),
        ({"key": RSA}, "[part] home, authorized-keys-file: none of them is given. Give one of them."),
        (
            {"key": RSA, "home": "h", "authorized-keys-file": "f"},
            "[part] home, authorized-keys-file: home and authorized-keys-file can't go together.",
        ),
    ],
)
def test_what_is_wrong_with_visitors_is_named(make_recipe: Make, options: dict[str, str], message: str) -> None:
    with pytest.raises(AllotmentError, match=re.escape(message)):
        make_recipe(ssh_authorized_keys.Recipe, options)


@given(st.text() | st.from_regex(rf"\A{RSA}.*"))
def test_a_line_is_a_key_and_nothing_else(line: str) -> None:
    try:
        found = ssh_authorized_keys._read(line)
    except OptionProblem:
        return
    assert len(found.split(" ")) == 2
    assert found.isascii()
    assert "\n" not in found

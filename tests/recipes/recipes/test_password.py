# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 (hashes are as long as they are)
"""The recipe ``password``: made once, kept on the node, never in an option."""

import re
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from allotment.codec import loads
from allotment.errors import AllotmentError
from allotment.messages.instance import InstancePublished
from allotment.secret import Secret
from allotment_recipes import password_hashes
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


def test_a_file_is_read_up_to_4096_bytes(make_recipe: Callable[..., Any], tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text("a" * 4095 + "\n")
    assert make_recipe(password.Recipe, {"file": "kept"}).password == "a" * 4095
    kept.write_text("a" * 4096 + "\n")
    with pytest.raises(AllotmentError, match=re.escape(str(kept))):
        make_recipe(password.Recipe, {"file": "kept"})


@pytest.mark.parametrize("data", [b"", b"\n", b"two\nlines\n", b"\xff\xfe"])
def test_a_file_that_holds_no_password_is_refused(data: bytes, make_recipe: Callable[..., Any], tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_bytes(data)
    with pytest.raises(AllotmentError) as caught:
        make_recipe(password.Recipe, {"file": "kept"})
    assert str(caught.value) == f"[part] file: {kept} holds no password. Remove it for a new one, or write one line."
    with pytest.raises(AllotmentError, match=r"\[part\] storage-path: .*/kept holds no password"):
        make_recipe(password.Recipe, {"storage-path": "kept"})


def test_without_a_file_it_is_kept_among_the_parts(partition: Any) -> None:
    profile = "[buildout]\nparts = password\n[password]\nrecipe = allotment.recipes:password\n"
    kept = partition.folder / ".allotment/parts/password"
    assert partition.run(profile).error == ""
    first = kept.read_text()
    assert len(first) == 2 * 20 + 1
    assert partition.run(profile).error == ""
    assert kept.read_text() == first
    assert partition.run("[buildout]\nparts =\n").error == ""
    assert kept.read_text() == first
    assert f"kept {kept}: it holds data" in partition.log.read_text()


def test_options_have_their_names_in_slapos_too(make_recipe: Callable[..., Any], tmp_path: Path) -> None:
    recipe = make_recipe(password.Recipe, {"storage-path": "kept", "bytes": "8"})
    recipe.install()
    value = (tmp_path / "kept").read_text().strip()
    assert len(value) == 16
    assert len(make_recipe(password.Recipe, {"file": "long", "bytes": "1024"}).password) == 2048
    assert recipe.raw["passwd"] == recipe.raw["password"]
    assert recipe.run.tokens.reveal(recipe.raw["passwd"]) == value
    assert recipe.raw["storage-path"] == str(tmp_path / "kept")


def test_one_that_is_handed_over_is_kept(make_recipe: Callable[..., Any], tmp_path: Path) -> None:
    make_recipe(password.Recipe, {"file": "kept", "passwd": "open sesame"}).install()
    assert (tmp_path / "kept").read_text() == "open sesame\n"
    assert make_recipe(password.Recipe, {"file": "kept", "passwd": ""}).password == "open sesame"


def test_a_file_may_go_with_its_section(partition: Any) -> None:
    profile = "[buildout]\nparts = p\n[p]\nrecipe = allotment.recipes:password\nfile = etc/p\ncreate-once = false\n"
    assert partition.run(profile).error == ""
    first = partition.text("etc/p")
    assert partition.run(profile).error == ""
    assert partition.text("etc/p") == first
    assert partition.run("[buildout]\nparts =\n").error == ""
    assert "etc/p" not in partition.files()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"file": "a", "storage-path": "b"}, "[part] storage-path: is another name of file, which is there too."),
        ({"bytes": "7"}, "[part] bytes: 7 is not from 8 to 1024. Write 8 or more."),
        ({"bytes": "1025"}, "[part] bytes: 1025 is not from 8 to 1024."),
        ({"bytes": "many"}, "[part] bytes: 'many' is not a whole number."),
        ({"create-once": "once"}, "[part] create-once: 'once' is neither true nor false."),
        ({"passwd": "two\nlines"}, "[part] passwd: can't be kept in one line of a file."),
        ({"passwd": "padded "}, "[part] passwd: can't be kept in one line of a file."),
        ({"passwd": " padded"}, "[part] passwd: can't be kept in one line of a file."),
        ({"fiel": "a"}, "[part] fiel: unknown option. Did you mean 'file'?"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, str], message: str, make_recipe: Callable[..., Any]) -> None:
    with pytest.raises(AllotmentError, match=re.escape(message)):
        make_recipe(password.Recipe, options)


HASHES = """\
    [buildout]
    parts = settings
    [password]
    recipe = allotment.recipes:password
    file = etc/password
    [settings]
    recipe = allotment.recipes:template.jinja2
    inline = {{ hash }} ${password:passwd-bcrypt}
    output = etc/settings
    context =
      raw name value
      key hash password:passwd-SCHEME
    """


def test_a_hash_is_made_where_it_is_referred_to_and_stays(partition: Any) -> None:
    profile = HASHES.replace("SCHEME", "ldap-salted-sha1")
    assert partition.run(profile).error == ""
    first, second = partition.text("etc/settings").split()
    assert (first[:6], second[:7]) == ("{SSHA}", "$2b$10$")
    assert partition.run(profile).error == ""
    assert partition.text("etc/settings").split() == [first, second]
    assert (partition.folder / "etc/settings").stat().st_mode & 0o077 == 0
    assert second not in partition.text(".installed.cfg")


def test_a_scheme_that_is_none_is_named(partition: Any) -> None:
    error = partition.run(HASHES.replace("SCHEME", "sha512crypt")).error
    assert error.startswith("[password] passwd-sha512crypt: 'sha512crypt' is no scheme of hashes. Did you mean 'sha")


SEED = bytes(range(32))
# libpass 1.9.4 accepts each of them for this password, and none for another one.
KNOWN = {
    "sha256_crypt": "$5$rounds=100000$./0123456789ABCD$L.BnRAmfGNIs0PRaex7H6H.i9pjiwesrWfD.Q.wPTG1",
    "sha512_crypt": "$6$rounds=100000$./0123456789ABCD$r57UDW2cQDNJ4MxXiBh0lyVm1WFz77rT2gYiiUww0/niav4EPv.WCOd9VVz9iR4IHW.crsaaAlvt9TOuRpFxp0",
    "bcrypt": "$2b$10$./0123456789ABCDEFGHI.3ptBiC7ar4mUQ8CwwDw3qqvegey58hK",
    "pbkdf2_sha256": "$pbkdf2-sha256$100000$AAECAwQFBgcICQoLDA0ODw$V/LC8HOXSNUWQZsGKohGZjI8WD6krhZVBKgfe1PGKgk",
    "pbkdf2_sha512": "$pbkdf2-sha512$100000$AAECAwQFBgcICQoLDA0ODw$Cydfp1z9RwhFbZBlUPGEUbm90YYIzLkDEOiu/l8ZkFWdvi9oLM8GozOKTYJ8WKZJkm3CNbSBItnsIxvYurqNAw",
    "ldap_salted_sha1": "{SSHA}SbfVjMGTkcdPCA/6xGSjKvPl7QsAAQIDBAUGBwgJCgsMDQ4P",
    "ldap_salted_sha256": "{SSHA256}NaflOb8tcuJzgZWOx3DMvDrKAMo6vx67woYKwMZIZ1QAAQIDBAUGBwgJCgsMDQ4P",
    "ldap_salted_sha512": "{SSHA512}RxX5hhIRRRK2fhVkXkwzRVPVrymNjBPeOec5l5Z7HoA1jxGKFYfpQLhcljmxJcIS20C9nDeAN3dRZ7qrc68T8wABAgMEBQYHCAkKCwwNDg8=",
}


@pytest.mark.parametrize("scheme", password_hashes.schemes())
def test_each_scheme_is_written_as_servers_read_it(scheme: str) -> None:
    assert password_hashes.hashed(scheme, "correct horse", SEED) == KNOWN[scheme]
    assert password_hashes.hashed(scheme, "correct horsf", SEED) != KNOWN[scheme]
    assert password_hashes.hashed(scheme, "correct horse", SEED[::-1]) != KNOWN[scheme]


@pytest.mark.parametrize(("scheme", "option"), [("sha256_crypt", "-5"), ("sha512_crypt", "-6")])
def test_openssl_comes_to_the_same(scheme: str, option: str) -> None:
    found = password_hashes.hashed(scheme, "correct horse", SEED)
    salt = found[3:].rpartition("$")[0]
    openssl = ["openssl", "passwd", option, "-salt", salt, "-stdin"]
    done = subprocess.run(openssl, input="correct horse\n", capture_output=True, text=True, check=True, timeout=20)
    assert done.stdout.strip() == found

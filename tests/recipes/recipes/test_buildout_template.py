# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 (bad input and its message stand side by side, as a table)
"""Recipe ``template``: references as in a profile."""

import hashlib
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allotment.errors import AllotmentError
from allotment.secret import Secret
from allotment_recipes.recipes import buildout_template
from allotment_recipes.testing import given_instance

Make = Callable[..., Any]


def test_references_are_replaced(make_recipe: Make, tmp_path: Path) -> None:
    (tmp_path / "t.in").write_text("${x:y} ${:own} $${x:y} $HOME $$ ${a b:c-d.e}$\n")
    options = {"url": "t.in", "output": "etc/o", "own": "mine"}
    buildout = {"x": {"y": "why"}, "a b": {"c-d.e": "${x:y}"}}
    recipe = buildout_template.Recipe({"buildout": {"directory": str(tmp_path)}, **buildout}, "part", _Own(options))
    assert recipe.install() == [tmp_path / "etc/o"]
    assert (tmp_path / "etc/o").read_text() == "why mine ${x:y} $HOME $$ ${x:y}$\n"
    assert recipe.raw["output"] == str(tmp_path / "etc/o")
    assert recipe.raw["location"] == str(tmp_path / "etc")


class _Own(dict[str, str]):
    """A section whose option ``own`` is a variable, as the profile would tell."""

    @property
    def _raw(self) -> dict[str, str]:
        return {**self, "seen": "${:own}"}


def test_in_a_real_run_it_comes_after_what_it_names(partition: Any) -> None:
    (partition.software / "t.in").write_text("listen ${slap:address}\nconf ${conf:output}\n")
    profile = f"""\
        [buildout]
        parts = t
        [slap]
        recipe = allotment.recipes:slapconfiguration
        [conf]
        recipe = allotment.recipes:template
        inline = for ${{slap:instance-title}}: $${{kept}}
        output = etc/conf
        [t]
        recipe = allotment.recipes:template
        url = {partition.software}/t.in
        output = etc/t
        """
    assert partition.run(profile).error == ""
    assert partition.text("etc/t") == f"listen 127.0.0.9\nconf {partition.folder}/etc/conf\n"
    assert partition.text("etc/conf") == "for shop: ${kept}"
    assert partition.run("[buildout]\nparts =\n").error == ""
    assert not (partition.folder / "etc/t").exists()


def test_a_secret_makes_it_private(partition: Any) -> None:
    (partition.software / "t.in").write_text("password=${slap:configuration.password}\n")
    partition.parameters = {"password": Secret("pl4nted")}
    result = partition.run(
        f"[buildout]\nparts = t\n[slap]\nrecipe = allotment.recipes:slapconfiguration\n"
        f"[t]\nrecipe = allotment.recipes:template\nurl = {partition.software}/t.in\noutput = etc/t\nmode = 0644\n"
    )
    assert result.error == ""
    assert partition.text("etc/t") == "password=pl4nted\n"
    assert stat.S_IMODE((partition.folder / "etc/t").stat().st_mode) == 0o600
    assert "pl4nted" not in partition.text(".installed.cfg")


@pytest.mark.parametrize(
    ("options", "mode"),
    [
        ({"inline": "text"}, 0o644),
        ({"inline": "#!/bin/sh\ntrue"}, 0o755),
        ({"inline": "#!/bin/sh -e\ntrue"}, 0o755),
        ({"inline": "#!/not/here\ntrue"}, 0o644),
        ({"inline": "#!/bin/sh\ntrue", "mode": "600"}, 0o600),
        ({"inline": ""}, 0o644),
    ],
)
def test_a_script_is_executable(make_recipe: Make, tmp_path: Path, options: dict[str, str], mode: int) -> None:
    make_recipe(buildout_template.Recipe, {"output": "o", **options}).install()
    assert stat.S_IMODE((tmp_path / "o").stat().st_mode) == mode


@pytest.mark.parametrize("option", ["md5sum", "sha256sum"])
def test_the_template_is_checked(make_recipe: Make, tmp_path: Path, option: str) -> None:
    (tmp_path / "t").write_text("x")
    right = hashlib.new(option.removesuffix("sum"), b"x").hexdigest()
    make_recipe(buildout_template.Recipe, {"output": "o", "url": "t", option: right.upper()})
    wrong = right[:-1] + "f0"[right[-1] == "f"]
    with pytest.raises(AllotmentError, match=rf"\[part\] {option}: of t is {right}, not {wrong}\. Correct it"):
        make_recipe(buildout_template.Recipe, {"output": "o", "url": "t", option: wrong})


def test_a_template_from_elsewhere_is_pinned_and_fetched(make_recipe: Make, tmp_path: Path) -> None:
    with pytest.raises(AllotmentError, match=r"\[part\] sha256sum: missing option\."):
        make_recipe(buildout_template.Recipe, {"output": "o", "url": "http://127.0.0.1:9/t"})
    digest = hashlib.sha256(b"fetched").hexdigest()
    blob = tmp_path / ".allotment/sources" / digest[:2] / digest
    from allotment.blobs import BlobStore

    assert BlobStore(tmp_path / ".allotment/sources").write([b"fetched"]) == digest, blob
    options = {"output": "o", "url": "http://127.0.0.1:9/t", "sha256sum": digest}
    make_recipe(buildout_template.Recipe, options).install()
    assert (tmp_path / "o").read_text() == "fetched"


def test_an_instance_fetches_nothing(make_recipe: Make) -> None:
    options = {"output": "o", "url": "https://127.0.0.1:9/t", "sha256sum": "0" * 64}
    with pytest.raises(AllotmentError, match=r"\[part\] url: https://127.0.0.1:9/t is elsewhere, and an instance"):
        make_recipe(buildout_template.Recipe, options, given_instance())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a\n${HOME}\n", "line 2: '${HOME}' refers to nothing. Write ${section:option}, or $${ for a dollar sign and a brace."),
        ("${a:b\n}", "line 1: '${a:b' refers to nothing."),
        ("${}", "line 1: '${}' refers to nothing."),
    ],
)  # fmt: skip
def test_a_reference_to_nothing_is_named_with_its_line(
    make_recipe: Make, tmp_path: Path, text: str, problem: str
) -> None:
    (tmp_path / "t").write_text(text)
    with pytest.raises(AllotmentError, match=re.escape(f"[part] url: t, {problem}")):
        make_recipe(buildout_template.Recipe, {"output": "o", "url": "t"}, a={"b": "c"})


def test_an_option_that_is_missing_is_named(partition: Any) -> None:
    (partition.software / "t.in").write_text("${x:yy}")
    result = partition.run(
        f"[buildout]\nparts = t\n[x]\nyyy = 1\n[t]\nrecipe = allotment.recipes:template\nurl = {partition.software}/t.in\noutput = t\n"
    )
    assert result.error.startswith("[t] url: [x] has no option 'yy'. Did you mean 'yyy'?")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inline": "x"}, "[part] output: missing option. Add 'output = ...'."),
        ({"output": "o"}, "[part] url, inline: none of them is given. Give one of them."),
        (
            {"output": "o", "inline": "a", "url": "b"},
            "[part] url, inline: url and inline can't go together. Give one of them.",
        ),
        ({"output": "o", "url": "b"}, "/b can't be read: No such file or directory. Correct the path."),
        ({"output": "o", "url": "."}, "can't be read: Is a directory."),
        ({"output": "o", "inline": "a", "mode": "rw"}, "[part] mode: 'rw' is not an octal number."),
        ({"output": "o", "inline": "a", "inlin": "a"}, "[part] inlin: unknown option. Did you mean 'inline'?"),
    ],
)
def test_what_is_wrong_is_named(make_recipe: Make, options: dict[str, str], message: str) -> None:
    with pytest.raises(AllotmentError, match=re.escape(message)):
        make_recipe(buildout_template.Recipe, options)


def test_what_is_no_text_is_refused(make_recipe: Make, tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(b"\xff\xfe")
    with pytest.raises(AllotmentError, match=r"\[part\] url: t can't be read: it is not UTF-8 text"):
        make_recipe(buildout_template.Recipe, {"output": "o", "url": "t"})


@given(st.text())
def test_an_escaped_text_comes_out_as_it_went_in(text: str) -> None:
    recipe = buildout_template.Recipe.__new__(buildout_template.Recipe)
    assert recipe._replaced(text.replace("${", "$${")) == text

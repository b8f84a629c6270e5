# SPDX-License-Identifier: Apache-2.0
"""Recipe cmmi with the real compiler: what is an input of a part, and so gives it another name."""

import hashlib
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.recipes.yard import LIBRARY, PROGRAM, Yard

from allotment.errors import MachineError
from allotment_recipes.compiler import compiler, learn_compiler
from allotment_recipes.manifest import build_release, install_release
from allotment_recipes.recipes.cmmi import Recipe
from allotment_recipes.store import padded_root


def test_a_changed_dependency_gives_its_users_another_name(yard: Yard) -> None:
    ask = yard.archive("ask", PROGRAM) + "\nenvironment =\n  ANSWER = ${answer:location}"
    first = yard.build({"answer": yard.archive("answer", LIBRARY), "ask": ask})
    other = {**LIBRARY, "answer.c": LIBRARY["answer.c"].replace("42", "43")}
    second = yard.build({"answer": yard.archive("answer", other), "ask": ask})
    assert (first.error, second.error) == ("", "")
    assert not set(first.parts.values()) & set(second.parts.values())
    assert len(list(yard.store.glob("ask-*"))) == 2


def test_what_is_only_said_about_a_part_does_not_rename_it(yard: Yard) -> None:
    lines = yard.archive("answer", LIBRARY)
    first = yard.build({"answer": lines})
    said = yard.build(
        {"answer": f"{lines}\ndescription = The answer\nlicence = MIT\npurl = pkg:generic/a\nalternates =\n  file:///x"}
    )
    assert said.error == ""
    assert first.parts == said.parts


def test_a_patch_is_applied_and_is_an_input(yard: Yard) -> None:
    text = (
        "--- a/answer.c\n+++ b/answer.c\n@@ -1,2 +1,2 @@\n"
        ' #include "answer.h"\n-int answer(void) { return 42; }\n+int answer(void) { return 7; }\n'
    )
    path = yard.release.write("answer.patch", text)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    patch = f"\npatches = ${{:_profile_base_location_}}/answer.patch#{digest}\npatch-options = -p1"
    lines = yard.archive("answer", LIBRARY)
    plain = yard.build({"answer": lines})
    patched = yard.build({"answer": lines + patch})
    assert patched.error == ""
    assert plain.parts != patched.parts
    path.write_text(text + "\n")
    wrong = yard.again()
    assert re.fullmatch(
        r"\[answer\] patches: the checksum of .*/answer\.patch is \w{64}, not \w{64}\. Correct one of them\.",
        wrong.error,
    )


@pytest.mark.parametrize(
    ("changed", "lines"),
    [
        ("html/index.html", "post-install = cp -r ${:_profile_base_location_}/html @@LOCATION@@/"),
        ("html/index.html", "post-install = cp ${:_profile_base_location_}/html/*.html @@LOCATION@@/"),
        ("conf", "post-install = cd ${:_profile_base_location_} && cp conf @@LOCATION@@/"),
        ("conf", "environment = variables\npost-install = cp $CONF @@LOCATION@@/"),
        ("conf", "environment = CONF = ${:_profile_base_location_}/conf\npost-install = cp $CONF @@LOCATION@@/"),
    ],
)
def test_a_file_of_the_profile_is_an_input_however_it_is_named(yard: Yard, changed: str, lines: str) -> None:
    section = f"{yard.archive('answer', LIBRARY)}\n{lines}\n[variables]\nCONF = ${{:_profile_base_location_}}/conf"
    found = []
    for text, mode in (("old", 0o644), ("new", 0o644), ("new", 0o755), ("old", 0o644)):
        for name in ("html/index.html", "conf"):
            yard.release.write(name, text if name == changed else "same").chmod(mode if name == changed else 0o644)
        result = yard.build({"answer": section})
        assert result.error == ""
        found.append(result.parts["answer"])
        (part,) = yard.store.glob(f"answer-*{result.parts['answer'][:32]}")
        (copy,) = part.rglob(Path(changed).name)
        assert copy.read_text() == text
    assert found[0] == found[3]
    assert len(set(found)) == 3


def test_files_that_no_option_names_are_no_inputs(yard: Yard) -> None:
    lines = yard.archive("answer", LIBRARY)
    first = yard.build({"answer": lines})
    yard.release.write("other", "new")
    assert yard.build({"answer": lines}).parts == first.parts


def test_a_folder_of_the_profile_s_tree_is_a_source_and_an_input(yard: Yard) -> None:
    for name, text in LIBRARY.items():
        yard.release.write(f"src of mine/{name}", text).chmod(0o755 if name == "configure" else 0o644)
    lines = "path = ${:_profile_base_location_}/src of mine"
    first = yard.build({"answer": lines})
    assert first.error == ""
    assert not (yard.release.root / "src of mine/Makefile").exists(), "the tree itself is left alone"
    yard.release.write("src of mine/answer.c", LIBRARY["answer.c"].replace("42", "43"))
    second = yard.build({"answer": lines})
    assert second.error == ""
    assert first.parts != second.parts


def fake_gcc(folder: Path, text: str) -> str:
    path = folder / "gcc"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(folder)


def test_the_compiler_in_the_hash_is_the_one_that_builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler.cache_clear()
    monkeypatch.setenv("PATH", fake_gcc(tmp_path, "echo 99.9.9"), prepend=":")
    done = subprocess.run(["/usr/bin/gcc", "-dumpfullversion"], capture_output=True, text=True, check=True)
    assert compiler() == f"gcc {done.stdout.strip()}"


def test_another_compiler_gives_another_name(tmp_path: Path, make_recipe: Callable[..., Any]) -> None:
    recipe = make_recipe(Recipe, {"url": "/x", "sha256sum": "0" * 64})
    assert recipe.inputs()["compiler"] == compiler() != ""
    assert compiler(fake_gcc(tmp_path, "echo 99.9.9")) == "gcc 99.9.9"


def test_a_compiler_that_was_learnt_is_looked_at_again_by_each_process(tmp_path: Path) -> None:
    version = tmp_path / "version"
    path = fake_gcc(tmp_path, f"/bin/cat {version}")
    for text in ("1.2.3", "1.2.4"):
        version.write_text(text)
        learn_compiler()
        assert compiler(path) == f"gcc {text}"


def test_a_part_is_known_by_the_compiler_of_the_request_and_built_by_no_other(yard: Yard) -> None:
    sections = {"answer": yard.archive("answer", LIBRARY)}
    here = yard.build(sections)
    same = yard.release.engine.build(replace(yard.request("same"), compiler=compiler()), yard.place / "same.log")
    assert (same.error, same.parts) == ("", here.parts)
    other = yard.release.engine.build(replace(yard.request("other"), compiler="gcc 1.2.3"), yard.place / "other.log")
    assert other.error == (
        f"[answer] is known as built with gcc 1.2.3, and here is {compiler()}. "
        "Name a binary cache that has the part, or install gcc 1.2.3."
    )


def test_a_compiler_that_says_nothing_is_an_error_and_none_is_none(tmp_path: Path) -> None:
    assert compiler(str(tmp_path)) == ""
    compiler.cache_clear()
    with pytest.raises(MachineError, match=f"^{tmp_path}/gcc doesn't tell its version: .* Install gcc anew"):
        compiler(fake_gcc(tmp_path, "exit 1"))


def test_what_is_installed_elsewhere_has_the_hash_that_was_proved(
    yard: Yard, write_tiny: Callable[[Path], Path]
) -> None:
    """A node has another folder and another store; the part's name is the same, and it is built for its place."""
    profile = write_tiny(yard.place / "tree")
    text = profile.read_text().replace("parts = profile", "parts = profile answer")
    profile.write_text(f"{text}\n[answer]\nrecipe = allotment.recipes:cmmi\n{yard.archive('answer', LIBRARY)}\n")
    place, engine, sources = yard.place, yard.release.engine, yard.release.sources
    built = build_release(profile, place / "tree", place / "farm", sources, engine, place / "log", store=place / "s")
    node = place / "node/store"
    result = install_release(
        built.manifest, built.closure, place / "node/sr", sources, engine, place / "log2", store=node
    )
    assert result.error == ""
    (there,) = padded_root(node).glob("answer-*")
    assert there.name == yard.part("answer").name
    again = install_release(
        built.manifest, built.closure, place / "node/sr2", sources, engine, place / "log3", store=place / "s"
    )
    assert again.error == ""
    assert "building answer" not in (place / "log3").read_text(), "it is in that store already"

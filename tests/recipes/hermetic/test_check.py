# SPDX-License-Identifier: Apache-2.0
"""``allot build --check``: the same sources built again, with real parts that are and are not reproducible."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from allotment.cli import main
from allotment_recipes.hermetic.difference import Difference, compare
from allotment_recipes.hermetic.sandbox import refusal

MAKE = "\nconfigure-command = true\nmake-options = PREFIX=@@LOCATION@@"
PLAIN = {
    "answer.c": "int answer(void) { return 42; }\n",
    "Makefile": """\
all:
\t$(CC) -g $(CFLAGS) -c answer.c
\tsleep 1
\tar rc libanswer.a answer.o
\tpwd > path  # as cmake does, whose linker makes the build id of it
install:
\ttest ! -e $(PREFIX)/lib
\tmkdir $(PREFIX)/lib
\tcp libanswer.a $(PREFIX)/lib
\t(echo $(PREFIX); date; uname -n; sha256sum path) > $(PREFIX)/lib/notes
""",
}
PLAIN["Makefile"] = PLAIN["Makefile"].replace("date;", "date -d @$(SOURCE_DATE_EPOCH);")
confined = pytest.mark.skipif(bool(refusal()), reason=f"this kernel confines nothing: {refusal()}")


def build(yard: Any, write_tiny: Any, sections: dict[str, str], *words: str) -> int:
    """Run ``allot build --check`` for a release with these parts."""
    profile = write_tiny(yard.place / "tree")
    text = f"[buildout]\nparts = {' '.join(sections)} profile\n[profile]\nrecipe = allotment.recipes:template.jinja2\n"
    text += "inline =\n  [buildout]\n  parts =\noutput = ${buildout:directory}/instance.cfg\n"
    for name, lines in sections.items():
        text += f"[{name}]\nrecipe = allotment.recipes:cmmi\nversion = 1.0\n{lines}\n"
    profile.write_text(text)
    folders = {"folder": yard.place / "built", "sources": yard.place / "sources", "store": yard.place / "s"}
    options = [f"--{name}={folder}" for name, folder in folders.items()]
    return main(["build", str(profile), *words, *options, "--check"])


@confined
def test_what_is_built_alike_is_the_same_and_the_store_is_as_before(
    yard: Any, write_tiny: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    sections = {"plain": yard.archive("plain", PLAIN) + MAKE}
    assert build(yard, write_tiny, sections) == 0
    assert capsys.readouterr().out == "plain: the same\n"
    assert (yard.part("plain") / "lib/notes").read_text().startswith(f"{yard.part('plain')}\n")
    assert [path.name for path in yard.store.iterdir() if "again" in path.name] == []
    assert list((yard.store / ".work").iterdir()) == []


@confined
def test_what_differs_is_shown_and_the_exit_code_is_1(
    yard: Any, write_tiny: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/sbin:/sbin")  # without diffoscope
    chance = {
        "when.c": "#include <stdio.h>\nint main(void) { puts(WHEN); return 0; }\n",
        "today.c": "const char *today = __DATE__ __TIME__;\n",
        "Makefile": 'all:\n\t$(CC) -DWHEN="\\"`od -An -N8 -tx1 /dev/urandom`\\"" -o when when.c\n'
        "\tsleep 1\n\t$(CC) -c today.c\n\tenv -u SOURCE_DATE_EPOCH $(CC) -c today.c -o now.o\n"
        "install:\n\tmkdir $(PREFIX)/bin\n\tcp when $(PREFIX)/bin\n\tcp today.o now.o $(PREFIX)\n"
        "\tod -An -N4 -tu4 /dev/urandom > $(PREFIX)/number\n\tchmod 755 $(PREFIX)/number\n"
        "\ttouch $(PREFIX)/`od -An -N4 -tx4 /dev/urandom | tr -d ' '`\n\tln -s `date +%N` $(PREFIX)/now\n",
    }
    sections = {"plain": yard.archive("plain", PLAIN) + MAKE, "chance": yard.archive("chance", chance) + MAKE}
    assert build(yard, write_tiny, sections) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["plain: the same", "chance: 6 differences"]
    text = "\n".join(lines)
    assert " is only in the store\n" in text and " is only in the new build\n" in text
    assert "  bin/when differs, " in text and "    - 0000" in text and "    + 0000" in text
    assert "  now leads to " in text
    assert "  now.o differs, " in text and "  today.o " not in text
    assert "  number differs" in text or "  number has " in text
    assert "    --- store\n    +++ new\n    @@ -1 +1 @@\n    -" in text


@confined
def test_parts_are_named_and_json_is_one_object(yard: Any, write_tiny: Any, capsys: pytest.CaptureFixture[str]) -> None:
    sections = {name: yard.archive(name, PLAIN) + MAKE for name in ("one", "two")}
    assert build(yard, write_tiny, sections, "two", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["is_same"] is True
    assert [(item["part"], item["differences"]) for item in document["parts"]] == [("two", [])]
    assert build(yard, write_tiny, sections, "tow") == 1
    error = capsys.readouterr().err
    assert "--check: 'tow' is no part that is compiled here. Did you mean 'two'?" in error


@confined
def test_a_second_build_that_fails_is_an_error_and_harms_nothing(
    yard: Any, write_tiny: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    once = {"Makefile": f"all:\n\ttest ! -e {yard.place}/built/fail\ninstall:\n\techo a > $(PREFIX)/file\n"}
    sections = {"once": yard.archive("once", once) + MAKE + "\npost-install = sleep 0"}
    assert build(yard, write_tiny, sections) == 0
    (yard.place / "built/fail").touch()
    assert build(yard, write_tiny, sections) == 1
    assert "error: [once] make failed with exit code 2: make" in capsys.readouterr().err
    assert (yard.part("once") / "file").read_text() == "a\n"
    assert [path.name for path in yard.store.iterdir() if path.name.endswith((".again", ".new"))] == []
    assert list((yard.store / ".work").iterdir()) == []


def test_each_kind_of_difference_is_told(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    for folder, word in ((before, "one"), (after, "two")):
        (folder / "same").mkdir(parents=True)
        (folder / "same/file").write_text("same")
        (folder / "text").write_text(f"first\n{word}\nlast\n")
        (folder / "link").symlink_to(word)
        (folder / "kind").mkdir() if word == "one" else (folder / "kind").write_text("")
        (folder / "mode").touch()
        (folder / word).touch()
        (folder / "bytes").write_bytes(bytes(40) + word.encode() + bytes(40))
    (after / "mode").chmod(0o755)
    os.environ["PATH"], path = "/usr/sbin", os.environ["PATH"]
    try:
        found = {item.path: item for item in compare(before, after)}
    finally:
        os.environ["PATH"] = path
    assert set(found) == {"text", "link", "kind", "mode", "one", "two", "bytes"}
    assert found["text"] == Difference(
        "text", "differs, 15 bytes each", ("--- store", "+++ new", "@@ -1,3 +1,3 @@", " first", "-one", "+two", " last")
    )
    assert found["link"].what == "leads to one in the store and to two in the new build"
    assert found["kind"].what == "is a folder in the store and a file in the new build"
    assert found["mode"].what == "has mode 644 in the store and 755 in the new build"
    assert found["bytes"].details == (
        "- 00000020  00 00 00 00 00 00 00 00 6f 6e 65 00 00 00 00 00  ........one.....",
        "+ 00000020  00 00 00 00 00 00 00 00 74 77 6f 00 00 00 00 00  ........two.....",
    )

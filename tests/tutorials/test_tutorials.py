# SPDX-License-Identifier: Apache-2.0
"""The tutorials, and pages like them, are true: files are written, commands run, and what they say comes out."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "docs/tutorials"
HOWTO = FOLDER.parent / "howto"
BLOCK = re.compile(r"^```(?P<kind>\S+)(?: \w+)?\n(?::caption: (?P<file>\S+)\n)?(?P<text>.*?)^```$", re.S | re.M)


def steps(page: Path) -> Iterator[tuple[str, str, list[str]]]:
    """Yield ("file", path, [text]) and ("command", line, what it says) in the order of the page."""
    for block in BLOCK.finditer(page.read_text()):
        if block["file"]:
            yield "file", block["file"], [block["text"]]
        elif block["kind"] == "console":
            for part in re.split(r"^\$ ", block["text"], flags=re.M)[1:]:
                command, *said = part.splitlines()
                yield "command", command, said


def follow(page: Path, reader: Any) -> list[str]:
    """Do every step of a page; return its commands."""
    commands = []
    for kind, what, lines in steps(page):
        if kind == "file":
            path = reader.folder / what
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(lines[0])
            continue
        commands.append(what)
        said = reader.do(what)
        for line in lines:
            assert line in said, f"{what}\n{said}"
    return commands


def test_the_first_recipe_is_used_with_fewer_than_five_commands(reader: Any) -> None:
    commands = follow(FOLDER / "write-your-first-recipe.md", reader)
    assert commands.index("buildout -N -o") < 4
    assert (reader.folder / "greeting.txt").read_text() == "Hello World!\n"


def test_a_program_becomes_a_green_instance(reader: Any) -> None:
    commands = follow(FOLDER / "port-a-program.md", reader)
    assert commands[-1] == "allot release test software/hello"


def test_a_promise_of_ones_own_is_kept_and_broken(reader: Any) -> None:
    assert follow(HOWTO / "write-a-promise.md", reader).count("python look.py") == 2


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.md")), ids=lambda path: path.stem)
def test_every_tutorial_is_tried(path: Path) -> None:
    assert path.name == "index.md" or path.name in Path(__file__).read_text()

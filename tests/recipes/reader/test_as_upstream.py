# SPDX-License-Identifier: Apache-2.0
"""What is read faster than zc.buildout reads it is what zc.buildout reads, where neither of us adds anything."""

import copy
import io
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import zc.buildout.buildout as upstream
import zc.buildout.configparser
from hypothesis import example, given
from hypothesis import strategies as st

from allotment_recipes.reader.conditions import holds
from allotment_recipes.reader.files import BASE_LOCATION, Reader
from allotment_recipes.reader.parser import ParseError, parse

LINES = st.lists(
    st.sampled_from(
        [
            "[a]", "[b]", "[a:linux]", "[b:windows]", '[a:python_version < "3"]', "[ a ] # said", "[a:python3] ; more",
            "k = 1", "k =", "k += 2", "k -= 1", "k=3", "other = a b ", "  more", "\tmore", "", "   ", "# comment",
            "; comment", "=> b", "x = [1]", "k = # 1", "  two  words  ", "url = http://a/b#md5=c", "nonsense", "[a",
        ]
    ),
    max_size=12,
)  # fmt: skip
SKIPPED = re.compile(  # a text goes on in a section whose condition fails
    r'^\[(b:windows|a:python_version < "3")\]\n([^[\n].*\n|\n)*[ \t]+\S', re.MULTILINE
)


@given(LINES)
@example(["[b:windows]", "k =", "  1"])  # which zc.buildout refuses
@example(["[a]", "k =", "  1", "", "    2", "k += 3", "k +=", "  4", ""])
@example(["[a]", "k =", "", "", "k += 1", "", "", "k += 2"])
def test_the_text_of_a_profile(lines: list[str]) -> None:
    text = "".join(f"{line}\n" for line in ["[first]", *lines])  # one that fails there is ours alone
    try:
        theirs = zc.buildout.configparser.parse(io.StringIO(text), "name", upstream._default_globals)
    except zc.buildout.configparser.Error:
        if SKIPPED.search(text) is None:
            with pytest.raises(ParseError):
                parse(text, holds)
        return
    found = parse(text, holds)
    assert found.sections == theirs
    assert [list(section) for section in found.sections.values()] == [list(section) for section in theirs.values()]
    for (_, option), number in found.lines.items():
        assert text.splitlines()[number - 1].startswith(("=>", option.rstrip("+-").rstrip()))


KEYS = st.sampled_from(["x", "y", "x +", "y +", "x -", "y -"])
SECTION = st.dictionaries(KEYS, st.sampled_from(["1", "2", "1\n2", "", "3\n1"]), max_size=4)
PROFILE = st.dictionaries(st.sampled_from(["a", "b", "versions"]), SECTION, max_size=3)


@st.composite
def trees(draw: st.DrawFn) -> list[tuple[dict[str, dict[str, str]], list[int]]]:
    """Draw profiles, each of which extends some of those before it that none has extended yet."""
    made: list[tuple[dict[str, dict[str, str]], list[int]]] = []
    free: list[int] = []
    for number in range(draw(st.integers(1, 6))):
        taken = draw(st.lists(st.sampled_from(free), unique=True, max_size=3)) if free else []
        free = [other for other in free if other not in taken] + [number]
        made.append((draw(PROFILE), taken))
    made.append((draw(PROFILE), free))
    return made


def write(folder: Path, tree: list[tuple[dict[str, dict[str, str]], list[int]]]) -> Path:
    """Write the profiles; return the path of the last."""
    for number, (sections, extended) in enumerate(tree):
        lines = ["[buildout]", *(["extends =", *(f"  {other}.cfg" for other in extended)] if extended else [])]
        for name, section in sections.items():
            lines.append(f"[{name}]")
            for option, text in section.items():
                value = text.replace("\n", "\n  ")
                lines.append(f"{option}= {value}")
        path = folder / f"{number}.cfg"
        path.write_text("\n".join(lines) + "\n")
    return path


def plain(sections: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, list[tuple[str, str, list[tuple[str, str]]]]]]:
    """Return names, values and histories in order, without what we add."""
    return [
        (name, [
            (option, key.value, [(item.operation, item.value) for item in key.history])
            for option, key in section.items() if option != BASE_LOCATION
        ])
        for name, section in sections.items()
    ]  # fmt: skip


@given(trees())
def test_profiles_that_extend_one_another(tree: list[tuple[dict[str, dict[str, str]], list[int]]]) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        path = write(folder, tree)
        options = copy.deepcopy(upstream._buildout_default_options)
        theirs, _ = upstream._open(str(folder), str(path), [], options, {}, set(), {})
        ours = Reader(Path.read_bytes, None, []).read(str(folder), str(path))  # type: ignore[arg-type]  # none is remote
        assert plain(ours) == plain(theirs)
    finally:
        shutil.rmtree(folder)

# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 (bad input stands side by side, as a table)
"""Whatever a profile says: it is read, or an error of ours says why not."""

import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import zc.buildout
from hypothesis import given, settings
from hypothesis import strategies as st

from allotment.errors import AllotmentError
from allotment_recipes.context import RunContext
from allotment_recipes.driver import Buildout
from allotment_recipes.journal import Journal
from allotment_recipes.reader.annotate import annotate
from allotment_recipes.reader.conditions import holds
from allotment_recipes.reader.parser import ParseError, parse
from allotment_recipes.tokens import Tokens
from allotment_recipes.typed_options import loads

PIECES = st.sampled_from(
    ["[", "]", "[a]", "[buildout]", "[b:linux]", "[c:1<2]", "\n", "\n  ", "\r", "=", "k", " +=", " -=", "\n+=", "\n-=", "<", "<=", "a", "b",
     "${a:k}", "${:k}", "${", "}", "$$", ":", "#", ";", "extends", "extends = a.cfg", "parts = a", "versions = x", "=>",
     "recipe = allotment.recipes:mkdirectory", "\x00", "\x1b", "é", "!py!", "!json!", "1", " ", "\t", "directory = /", "\ufeff",
     "log-level = x", "offline = x", "socket-timeout = x", "find-links = x", "eggs-directory = ${a:k}", "installed ="]
)  # fmt: skip
OPTIONS = [
    "parts = a", "versions = x", "versions =", "extends = a.cfg", "directory = /", "log-level = x", "offline = x", "installed =",
    "socket-timeout = x", "find-links = x ${a:k}", "eggs-directory = ${a:k}", "bin-directory = ${b:k}", "allow-hosts =", "<= a",
    "prefer-final = 7", "abi-tag-eggs = true", "install-from-cache = true", "download-cache = x", "update-versions-file = x",
    "show-picked-versions = true", "extensions = none", "develop = x", "extends-cache = x", "log-format = %(x)s", "index = x",
    "[a]", "k = ${b:k}", "[b]", "k = 1", "<= b", "recipe = allotment.recipes:mkdirectory", "[versions]", "zc.buildout = 1",
    "<= x", "k += 1", "recipe = none", "verbosity = x", "extends-cache = ${a:k}", "eggs-directory-version = /", "parts = a a b",
    "optional-extends = a.cfg no.cfg", "extended-by = x", "recipe =", "[x]", "buildout = 1", "+= x", "-= x", "+-= x", "shared-part-list = x",
]  # fmt: skip
PROFILES = st.lists(st.sampled_from(OPTIONS), max_size=10).map(lambda lines: "\n".join(["[buildout]", *lines, ""]))
TEXTS = PROFILES | st.lists(PIECES, max_size=30).map("".join) | st.text(max_size=60)


@given(TEXTS)
def test_the_parser_knows_one_error(text: str) -> None:
    with contextlib.suppress(ParseError):
        parse(text, holds)


@given(st.text(alphabet="()[]{}<>=!andor not'\"1.,*+-_:sysveinfo", max_size=40) | st.text(max_size=40))
def test_a_condition_is_true_or_not_or_wrong(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert holds(text) in (True, False)


@given(
    st.sampled_from(["!py!", "!json!"]),
    st.text(alphabet="()[]{}'\"1.,*+-_:abex\\ ", max_size=40) | st.text(max_size=40),
)
def test_a_value_is_one_or_is_wrong(mark: str, text: str) -> None:
    with contextlib.suppress(ValueError):
        loads(f"{mark}{text}")


@pytest.fixture(scope="module")
def deep() -> Iterator[None]:
    """Let Python go as deep as a build does, for the whole test."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(5_000)
    yield
    sys.setrecursionlimit(before)


@pytest.mark.usefixtures("deep")
@settings(max_examples=150)
@given(TEXTS, TEXTS)
def test_a_profile_is_read_or_an_error_says_why_not(text: str, other: str) -> None:
    here, root = Path.cwd(), logging.getLogger()
    handlers, level = list(root.handlers), root.level
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "a.cfg").write_text(other, newline="")
        (folder / "software.cfg").write_text(text, newline="")
        run = RunContext(folder, Journal(immediate=True), folder / "sources", Tokens(b""))
        try:
            with contextlib.suppress(AllotmentError, zc.buildout.UserError):
                Buildout(folder / "software.cfg", run, {"eggs-directory": "eggs"}).prepare_parts()
            with contextlib.suppress(AllotmentError):
                annotate(folder / "software.cfg", folder / "sources")
        finally:
            os.chdir(here)
            root.handlers[:] = handlers
            root.setLevel(level)

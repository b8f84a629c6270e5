# SPDX-License-Identifier: Apache-2.0
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allotment.errors import AllotmentError
from allotment_recipes import store
from allotment_recipes.store import document_hash, padded_root, part_document, part_path, platform_name

BASE: dict[str, Any] = {"build_version": 1, "references": [], "inputs": {}, "roots": {}}


def part_hash(options: dict[str, str], **others: Any) -> str:
    return document_hash(part_document(options, **others))


def test_a_part_is_named_by_name_version_and_hash() -> None:
    assert part_path(Path("/s"), "zlib", "1.3.1", "a" * 64) == Path("/s/zlib-1.3.1-" + "a" * 32)


@pytest.mark.parametrize("word", ["", "a/b", "..", "-a", "a b", "a\n"])
def test_a_name_that_is_no_folder_s_is_refused(word: str) -> None:
    with pytest.raises(AllotmentError, match="can't be part of a folder's name"):
        part_path(Path("/s"), word, "1", "a" * 64)


@pytest.mark.parametrize("name", ["my parts", "a:b", "a\tb"])
def test_a_store_where_no_build_would_work_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(AllotmentError, match=r"has a space or a colon in its path\. Choose another folder\."):
        padded_root(tmp_path / name)


def test_every_kind_of_input_changes_the_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"url": "x"}
    hashes = [
        part_hash(options, **BASE),
        part_hash({"url": "y"}, **BASE),
        part_hash({"url": "x", "more": ""}, **BASE),
        part_hash(options, **{**BASE, "build_version": 2}),
        part_hash(options, **{**BASE, "references": ["0" * 64]}),
        part_hash(options, **{**BASE, "inputs": {"pin": "1"}}),
    ]
    monkeypatch.setattr(store, "platform_name", lambda: "other")
    hashes.append(part_hash(options, **BASE))
    monkeypatch.setattr(store, "ROOT_LENGTH", 97)
    hashes.append(part_hash(options, **BASE))
    assert len(set(hashes)) == len(hashes)


@given(st.dictionaries(st.text(), st.text(alphabet="ab/ $")), st.sampled_from(["/one", "/two/deeper", "/a"]))
def test_the_hash_does_not_depend_on_the_place(options: dict[str, str], root: str) -> None:
    here = {key: f"{root}/x{value}" for key, value in options.items()}
    there = {key: f"/elsewhere/x{value}" for key, value in options.items()}
    assert part_hash(here, **{**BASE, "roots": {root + "/x": "@release@"}}) == part_hash(
        there, **{**BASE, "roots": {"/elsewhere/x": "@release@"}}
    )


def test_the_platform_names_machine_library_and_python() -> None:
    assert re.fullmatch(r"linux-\w+-(glibc|libc)[\d.]*-py3\.\d+", platform_name())

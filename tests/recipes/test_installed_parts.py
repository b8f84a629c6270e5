# SPDX-License-Identifier: Apache-2.0
"""The record of installed parts: tenants' parameters stand in it, and their services can write it."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allotment_recipes.installed_parts import PATHS, DamagedError, read, text_of

PROFILE = """\
    [buildout]
    parts = conf
    [slap]
    recipe = allotment.recipes:slapconfiguration
    [conf]
    recipe = allotment.recipes:template.jinja2
    inline = {{ text }}
    output = etc/conf
    context = key text slap:configuration.text
    """
EMPTY = "[buildout]\nparts =\n"


def read_text(folder: Path, text: str) -> Any:
    path = folder / "record"
    path.write_bytes(text.encode())
    return read(path)


OPTIONS = st.dictionaries(st.text(), st.text(st.characters(exclude_characters="\0") | st.sampled_from("\r\n\t %=[]")))


@given(st.lists(OPTIONS, max_size=3))
def test_a_record_comes_back_as_it_was(tmp_path_factory: Any, options: list[dict[str, str]]) -> None:
    parts = [
        (f"part{number}", {**item, "recipe": item.get("recipe", "x"), PATHS: "/a\n/b"})
        for number, item in enumerate(options)
    ]
    assert read_text(tmp_path_factory.getbasetemp(), text_of(parts)) == parts


@given(st.text(st.sampled_from("[]\n\t =%\0F8buildoutparsecn_")))
def test_any_text_is_a_record_or_damaged(tmp_path_factory: Any, text: str) -> None:
    try:
        read_text(tmp_path_factory.getbasetemp(), f"[buildout]\n{text}")
    except DamagedError as error:
        assert error.what


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\n\n", "\0"])
def test_a_parameter_stays_a_value(partition: Any, end: str) -> None:
    """Read as a profile, the record would evaluate what stands in the name of a section."""
    made = partition.folder.parent / "made"
    code = f"__import__('os').mkdir({str(made)!r})"
    partition.parameters = {"text": f"a{end}[evil:{code}]{end}{PATHS} = {partition.software}{end}recipe = x"}
    for _ in range(3):
        assert partition.run(PROFILE).error == ""
    log = partition.log.read_text()
    assert log.count("Updating conf") == 2, "what was recorded is what is there"
    assert "damaged" not in log
    assert not made.exists()


def test_a_record_that_a_service_wrote_is_not_evaluated(partition: Any) -> None:
    partition.run(PROFILE.replace("slap:configuration.text", "slap:partition"))
    made = partition.folder.parent / "made"
    record = partition.folder / ".installed.cfg"
    record.write_text(f"{record.read_text()}[a:__import__('os').mkdir({str(made)!r})]\nb = 1\n")
    assert partition.run(EMPTY).outcome == "done"
    assert not made.exists()


@pytest.mark.parametrize("way", ["absolute", "relative", "linked", "own"])
def test_what_a_record_names_outside_of_the_partition_stays(partition: Any, way: str) -> None:
    outside = partition.folder.parent / "outside"
    (outside / "folder").mkdir(parents=True)
    (outside / "file").write_text("data")
    partition.run(PROFILE.replace("slap:configuration.text", "slap:partition"))
    (partition.folder / "link").symlink_to(outside)
    names = {"absolute": outside, "relative": "../outside", "linked": "link", "own": ""}
    named = [str(partition.folder)] if way == "own" else [f"{names[way]}/file", f"{names[way]}/folder"]
    options = {"recipe": "allotment.recipes:template.jinja2", PATHS: "\n".join(named)}
    (partition.folder / ".installed.cfg").write_text(text_of([("gone", options)]))
    assert partition.run(EMPTY).error == ""
    assert (outside / "file").read_text() == "data"
    assert (outside / "folder").is_dir()
    assert partition.folder.is_dir()
    assert f"stays: it is outside of {partition.folder}" in partition.log.read_text()


@pytest.mark.parametrize("kind", ["pipe", "link", "folder"])
def test_a_record_that_is_no_file_means_that_all_parts_are_made_again(partition: Any, kind: str) -> None:
    partition.run(PROFILE.replace("slap:configuration.text", "slap:partition"))
    record = partition.folder / ".installed.cfg"
    record.unlink()
    if kind == "pipe":
        os.mkfifo(record)
    elif kind == "link":
        record.symlink_to("/dev/zero")
    else:
        record.mkdir()
    result = partition.run(timeout=20.0)
    if kind == "folder":
        assert result.error == f"{record} can't be written: Is a directory. Mend that, or remove it."
    else:
        assert (result.outcome, result.error) == ("done", "")
        assert record.is_file()
        assert not record.is_symlink()


@pytest.mark.parametrize("note", ["5", "{}", '[1, "a\\u0000b", null]', "[" * 100_000, '["../../outside"]', '["%s"]'])
def test_a_note_of_an_unfinished_run_that_a_service_wrote_removes_nothing_of_others(partition: Any, note: str) -> None:
    outside = partition.folder.parent / "outside"
    outside.write_text("data")
    partition.run(EMPTY)
    (partition.folder / ".allotment" / "unfinished.json").write_text(note.replace("%s", str(outside)))
    result = partition.run(EMPTY)
    assert (result.outcome, result.error) == ("done", "")
    assert outside.read_text() == "data"

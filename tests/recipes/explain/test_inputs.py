# SPDX-License-Identifier: Apache-2.0
"""The record of inputs: all that a part's hash is made of, and what it was before."""

import json
from pathlib import Path
from typing import Any

import pytest

from allotment_recipes.explain import inputs

PROFILE = """\
    [buildout]
    parts = data copy notes

    [data]
    recipe = allotment.recipes:download
    url = {data.url}
    sha256sum = {data.sha256}

    [copy]
    recipe = allotment.recipes:download
    url = {copy.url}
    sha256sum = {copy.sha256}
    filename = {name}-${{data:filename}}

    [notes]
    recipe = allotment.recipes:template.jinja2
    url = ${{:_profile_base_location_}}/notes.in
    output = ${{buildout:directory}}/notes
    """


@pytest.fixture
def build(release: Any, sources: Any) -> Any:
    """Build with the content of ``data``, the name that ``copy`` has, and the text of ``notes.in``."""

    def run(data: bytes = b"one", name: str = "copy", notes: str = "hello", more: str = "") -> Any:
        release.write("notes.in", notes)
        files = {"data": sources.add(data, "data.txt"), "copy": sources.add(b"copy", "copy.txt")}
        return release.build(PROFILE.format(**files, name=name) + more)

    return run


def test_each_part_is_kept_with_all_that_its_hash_is_made_of(release: Any, build: Any) -> None:
    result = build()
    assert result.ok, result.error
    kept = inputs.read(release.folder)
    assert {name: entry["hash"] for name, entry in kept.items()} == result.parts
    copy = kept["copy"]
    assert copy["references"] == {"data": result.parts["data"]}
    assert copy["inputs"]["options"]["filename"] == "copy-data.txt"
    assert copy["inputs"]["inputs"] == {"filename": "copy-data.txt"}
    assert copy["inputs"]["build_version"] == 2
    assert Path(copy["location"]).is_dir() and copy["built"] and copy["before"] is None
    assert list(kept["notes"]["inputs"]["files"]) == ["@closure@/notes.in"]


def test_nothing_is_written_when_nothing_has_changed(release: Any, build: Any) -> None:
    build()
    path = release.folder / inputs.NAME
    before = path.stat()
    build()
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert before.st_mode & 0o777 == 0o600


def test_what_came_before_stays_until_a_part_changes_again(release: Any, build: Any) -> None:
    first = build().parts
    second = build(name="other").parts
    third = build(name="other", notes="changed").parts
    kept = inputs.read(release.folder)
    assert kept["copy"]["before"]["hash"] == first["copy"] != second["copy"]
    assert kept["notes"]["before"]["hash"] == second["notes"] != third["notes"]
    assert kept["data"]["before"] is None
    fourth = build(name="third", notes="changed").parts
    kept = inputs.read(release.folder)
    assert kept["copy"]["before"]["hash"] == second["copy"] != fourth["copy"]
    assert "before" not in kept["copy"]["before"]


def test_inputs_that_were_never_built_are_not_what_came_before(release: Any, build: Any) -> None:
    first = build().parts
    failing = "[missing]\nrecipe = allotment.recipes:download\nurl = file:///nowhere\nsha256sum = {}\n".format("0" * 64)
    release.write("notes.in", "hello")
    text = release.profile.read_text()
    release.profile.write_text(
        text.replace("parts = data", "parts = missing data").replace("copy-$", "bad-$") + failing
    )
    result = release.build()
    assert not result.ok
    kept = inputs.read(release.folder)
    assert not kept["copy"]["built"] and kept["data"]["built"]
    assert kept["copy"]["before"]["hash"] == first["copy"]
    release.profile.write_text(text.replace("copy-$", "good-$"))
    assert release.build().ok
    kept = inputs.read(release.folder)
    assert kept["copy"]["built"] and kept["copy"]["before"]["hash"] == first["copy"]
    assert "missing" not in kept


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 9, "parts": {}}', '{"parts": 1}'])
def test_a_record_that_can_not_be_read_is_made_anew(release: Any, build: Any, text: str) -> None:
    build()
    path = release.folder / inputs.NAME
    path.write_text(text)
    assert inputs.read(release.folder) == {}
    build()
    assert json.loads(path.read_text())["parts"].keys() == {"data", "copy", "notes"}


def test_passwords_are_not_kept(release: Any, build: Any) -> None:
    more = """
    [tool]
    recipe = allotment.recipes:template.jinja2
    inline = {{ address }}
    output = ${buildout:directory}/address
    context = raw address https://user:open-sesame@localhost/
    """
    release.write("notes.in", "hello")
    assert build(more=more).ok
    text = release.profile.read_text().replace("parts = data", "parts = tool data")
    release.profile.write_text(text)
    assert release.build().ok
    kept = (release.folder / inputs.NAME).read_text()
    assert "open-sesame" not in kept and "https://localhost/" in kept

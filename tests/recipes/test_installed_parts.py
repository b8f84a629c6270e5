# SPDX-License-Identifier: Apache-2.0
"""The record of installed parts: tenants' parameters stand in it, and their services can write it."""

import os
import random
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allotment.errors import AllotmentError
from allotment_recipes.installed_parts import PATHS, DamagedError, read, text_of
from allotment_recipes.journal import Journal
from allotment_recipes.leftovers import Leftovers

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


def test_a_record_is_read_in_the_time_that_its_lines_take(tmp_path: Path) -> None:
    parts = [("part", {"recipe": "x", PATHS: "", "long": "12345\n" * 300_000})]
    text, before = text_of(parts), time.process_time()
    assert read_text(tmp_path, text) == parts
    assert time.process_time() - before < 5.0, "a minute, if each line is put to the end of a longer text"


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
    result = partition.run()
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


KILLED = """\
[buildout]
parts = a0 a1 a2 f0 f1 f2 f3 f4 f5
{builds}
{files}
"""
BUILT = """\
[a{number}]
recipe = allotment.recipes:cmmi
url = {archive.url}
sha256sum = {archive.sha256}
version = {version}
configure-command = true
make-binary = true
post-install = mkdir @@LOCATION@@/share && sleep 0.05 && echo {version} > @@LOCATION@@/share/name
shared = false
"""
WRITTEN = """\
[f{number}]
recipe = allotment.recipes:template.jinja2
inline = {version} {{{{ place }}}}
output = ${{buildout:directory}}/etc/f{number}-{version}
context = raw place ${{a{part}:location}}
"""


def test_what_a_killed_build_has_left_goes_when_nobody_makes_it_any_more(release: Any, sources: Any) -> None:
    """Parts of the release's own and files: the build that is killed has other versions than those before and after."""
    from allotment_recipes.engine import BuildEngine
    from allotment_recipes.testing.fake_sources import archive

    source = sources.add(archive({"README": ""}, "a-1"), "a-1.tar.gz")
    draw = random.Random(13)

    def write(version: int) -> None:
        builds = "".join(BUILT.format(number=number, version=version, archive=source) for number in range(3))
        files = "".join(WRITTEN.format(number=number, version=version, part=number % 3) for number in range(6))
        release.write_profile(KILLED.format(builds=builds, files=files))

    kills = 0
    with BuildEngine() as after:
        for version in range(1, 13, 2):
            write(version)
            with BuildEngine() as engine:
                release.engine = engine
                engine.read(release.profile, release.folder, release.sources, release.log)  # it is warm from here on
                kills += _killed_build(release, engine, draw.uniform(0.05, 0.7))
            write(version + draw.randrange(2))  # it goes on, or is another one
            release.engine = after
            result = release.build()
            while "another run is at work" in result.error:  # the last process of it is about to end
                time.sleep(0.05)
                result = release.build()
            assert result.ok, result.error
            _check_killed(release.folder, re.findall(r"version = (\d+)", release.profile.read_text())[0])
    assert kills >= 2  # the others had ended before


def _check_killed(folder: Path, version: str) -> None:
    """What is there is recorded and of this version, and nothing else is there."""
    recorded = dict(read(folder / ".installed.cfg"))
    assert recorded.keys() == {"a0", "a1", "a2", *(f"f{number}" for number in range(6))}
    assert {path.name for path in (folder / "etc").iterdir()} == {f"f{n}-{version}" for n in range(6)}
    for number in range(6):
        place = Path(recorded[f"a{number % 3}"][PATHS])
        assert (folder / f"etc/f{number}-{version}").read_text() == f"{version} {place}"
        assert (place / "share/name").read_text() == f"{version}\n"
    left = {path.name for path in (folder / "store").iterdir() if path.name[0] != "."}
    assert left == {Path(recorded[f"a{number}"][PATHS]).name for number in range(3)}


def test_a_file_that_no_part_owns_stays_after_a_killed_build(release: Any) -> None:
    once = "recipe = allotment.recipes:template.jinja2\ninline = x\noutput = data\nonce = done\n"
    note = release.folder / ".build" / "written"
    note.parent.mkdir(parents=True)
    (release.folder / "other").write_text("of a killed build")
    outside = release.folder.parent / "outside"
    outside.write_text("not of the release")
    note.write_text(f"{release.folder}/data\n{release.folder}/other\n{outside}\n{release.folder}/oth")
    assert release.build(f"[buildout]\nparts = once\n[once]\n{once}").ok
    assert release.build().ok
    assert (release.folder / "data").read_text() == "x" and outside.exists()
    assert not (release.folder / "other").exists() and not note.exists()


def _killed_build(release: Any, engine: Any, after: float) -> bool:
    """Kill a build's process; whether it was at work."""
    with ThreadPoolExecutor(1) as pool:
        building = pool.submit(release.build)
        time.sleep(after)
        os.kill(engine._connection._process.pid, signal.SIGKILL)
        try:
            building.result(60)
        except AllotmentError:
            return True
        return False


OTHERS = """\
from allotment_recipes.base import GenericBaseRecipe
from dataclasses import dataclass
@dataclass(frozen=True)
class Options:
    returns: str = ""
class Recipe(GenericBaseRecipe[Options]):
    options_class = Options
    def install(self):
        self.write(f"etc/{self.name}/file", "data")
        return self.options.returns.split()
    def update(self):
        return []
"""
FAILING = """\
[buildout]
parts = unowned relative folder last
[unowned]
recipe = others
[relative]
recipe = others
returns = etc/relative/file
[folder]
recipe = others
returns = ${{buildout:directory}}/etc/folder
[last]
recipe = allotment.recipes:template.jinja2
inline = {{{{ {last} }}}}
output = last
"""


def test_what_parts_of_a_failed_build_have_written_stays(
    release: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from allotment_recipes.engine import BuildEngine

    folder = tmp_path / "others"
    (folder / "others-1.0.dist-info").mkdir(parents=True)
    (folder / "others-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    (folder / "others-1.0.dist-info" / "entry_points.txt").write_text("[zc.buildout]\ndefault = others:Recipe\n")
    (folder / "others.py").write_text(OTHERS)
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    with BuildEngine() as release.engine:
        assert not release.build(FAILING.format(last="1 / 0")).ok
        result = release.build(FAILING.format(last="1"))
        assert result.ok, result.error
    written = {str(path.relative_to(release.folder)) for path in release.folder.glob("etc/*/file")}
    assert written == {"etc/unowned/file", "etc/relative/file", "etc/folder/file"}


@pytest.mark.parametrize("recorded", ["etc/file", "etc"])
def test_what_a_part_has_recorded_by_another_name_is_no_leftover(tmp_path: Path, recorded: str) -> None:
    note = tmp_path / ".build" / "written"
    note.parent.mkdir()
    (tmp_path / "etc").mkdir()
    for name in ("etc/file", "other"):
        (tmp_path / name).write_text("")
    note.write_text(f"{tmp_path}/etc/file\n{tmp_path}/other\n")
    Leftovers(tmp_path, Journal(immediate=True)).clear([recorded])
    assert (tmp_path / "etc/file").exists() and not (tmp_path / "other").exists()

# SPDX-License-Identifier: Apache-2.0
"""The corpus: one small profile in SlapOS's dialect a folder, and in ``expect.toml`` what comes out of it.

A folder has ``software.cfg``, ``instance.cfg`` or both: then the release is built first, and its ``instance.cfg`` is
run. The folder ``archive`` is the source of ``@url@``; the files of ``served`` are below ``@served@``. In
``expect.toml``: ``error`` and ``waiting`` (parts of the text), ``[instance]`` the input, ``[files]`` whole contents,
``[contains]`` and ``[lacks]`` lines, ``[modes]``, ``[links]``, ``[part.NAME]`` what was built, ``[published]``,
``[shared]``, ``[requests]``, and ``[runs]`` programs. A profile that ``needs`` what is not on the machine is left out.
"""

import json
import shutil
import stat
import subprocess
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from allotment.messages.instance import ChildAnswer, InstanceState, SharedInstance
from allotment_recipes.engine import BuildEngine
from allotment_recipes.testing import FakeSources, Partition, Release, archive

HERE = Path(__file__).parent
FEATURES = sorted(path.parent for path in HERE.glob("*/expect.toml"))


@pytest.fixture
def partition(short_path: Path, engine: BuildEngine) -> Partition:
    """A partition whose path is short, as some of the profiles have sockets in it."""
    (short_path / "software").mkdir()
    (short_path / "part0").mkdir()
    return Partition(short_path / "part0", short_path / "software", engine)


def expected(feature: Path) -> dict[str, Any]:
    return tomllib.loads((feature / "expect.toml").read_text())


def named(places: Mapping[str, Path | str], text: str) -> str:
    """Return the text with ``@release@`` and the like for the folders of this run."""
    for name, path in places.items():
        text = text.replace(f"@{name}@", str(path))
    return text


def give_archive(release: Release, sources: FakeSources) -> None:
    """Serve the folder ``archive`` of a feature, and record it as ``allot lock`` does."""
    files = {
        path.relative_to(release.root / "archive").as_posix(): path.read_text()
        for path in sorted((release.root / "archive").rglob("*"))
        if path.is_file()
    }
    served = sources.serve("source-1.0.tar.gz", archive(files))
    text = release.profile.read_text()
    release.profile.write_text(text.replace("@url@", served.url).replace("@md5@", served.md5))
    release.engine.lock(release.profile, release.root, release.folder, release.sources, 60.0, release.log)


def give_served(release: Release, sources: FakeSources) -> str:
    """Serve the files of the folder ``served`` of a feature, record them as well; return the URL above them."""
    folder = release.root / "served"
    text = release.profile.read_text()
    for path in sorted(folder.rglob("*.cfg")):
        name = path.relative_to(folder).as_posix()
        served = sources.serve(name, path.read_bytes())
        text = text.replace(f"@md5:{name}@", served.md5)
    above = served.url.removesuffix(f"/{name}")
    shutil.rmtree(folder)
    release.profile.write_text(text.replace("@served@", above))
    release.engine.lock(release.profile, release.root, release.folder, release.sources, 60.0, release.log)
    return above


def run(place: Release | Partition, wanted: Mapping[str, Any], places: Mapping[str, Path | str]) -> None:
    """Run; what is not meant to fail or to wait is run twice, and the second run changes nothing."""
    if "error" not in wanted and "waiting" not in wanted:
        place.run_twice()
        return
    if isinstance(place, Release):
        problem = place.build().error
    else:
        result = place.run()
        problem = result.error or ", ".join(result.waiting)
    for text in (wanted.get("error", ""), *wanted.get("waiting", ())):
        assert named(places, text) in problem
    assert problem


def give(partition: Partition, given: Mapping[str, Any]) -> None:
    partition.parameters = given.get("parameters", {})
    partition.software_type = given.get("software_type", "default")
    partition.shared = tuple(SharedInstance(name, fields) for name, fields in given.get("shared", {}).items())
    partition.answers = {
        name: ChildAnswer(InstanceState.STARTED, fields) for name, fields in given.get("answers", {}).items()
    }


def check_files(folder: Path, wanted: Mapping[str, Any], places: Mapping[str, Path | str]) -> None:
    for name, content in wanted.get("files", {}).items():
        assert (folder / name).read_text() == named(places, content), name
    for name, texts in wanted.get("contains", {}).items():
        for text in texts:
            assert named(places, text) in (folder / name).read_text(), name
    for name, texts in wanted.get("lacks", {}).items():
        for text in texts:
            assert named(places, text) not in (folder / name).read_text(), name
    for name, mode in wanted.get("modes", {}).items():
        assert f"{stat.S_IMODE((folder / name).stat().st_mode):04o}" == mode, name
    for name, target in wanted.get("links", {}).items():
        assert str((folder / name).readlink()) == named(places, target), name


def check_parts(release: Release, wanted: Mapping[str, Any]) -> None:
    for name, checks in wanted.items():
        (part,) = release.installed()[name]
        for program, printed in checks.get("prints", {}).items():
            done = subprocess.run([f"{part}/{program}"], capture_output=True, text=True, check=True, timeout=60)
            assert done.stdout == printed, program
        for file, content in checks.get("files", {}).items():
            assert Path(part, file).read_text() == named({"release": release.folder}, content), file
        for file in checks.get("holds", ()):
            assert Path(part, file).exists(), file


def check_runs(folder: Path, wanted: Mapping[str, Any]) -> None:
    for program, checks in wanted.get("runs", {}).items():
        output = folder / checks["writes"]
        output.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([folder / program], input=checks["stdin"], text=True, check=True, timeout=60)
        for text in checks["holds"]:
            assert text in output.read_text()


def check_told(partition: Partition, wanted: Mapping[str, Any]) -> None:
    published = json.loads((partition.folder / ".allotment/published.json").read_text())
    if "published" in wanted:
        assert published["values"] == wanted["published"]
    if "shared" in wanted:
        assert published["shared"] == wanted["shared"]
    if "requests" in wanted:
        requests = json.loads((partition.folder / ".allotment/requests.json").read_text())
        found = {child["name"]: child for child in requests["requests"]}
        assert found.keys() == wanted["requests"].keys()
        for name, fields in wanted["requests"].items():
            assert {key: found[name][key] for key in fields} == fields


@pytest.mark.parametrize("feature", FEATURES, ids=lambda path: path.name)
def test_a_profile_in_the_dialect_does_what_it_says(
    feature: Path, release: Release, partition: Partition, sources: FakeSources
) -> None:
    wanted = expected(feature)
    if not Path(wanted.get("needs", "/")).exists():
        pytest.skip(f"needs {wanted['needs']}")
    places: dict[str, Path | str] = {
        "release": release.folder,
        "root": release.root,
        "partition": partition.folder,
        "software": partition.software,
    }
    has_release = (feature / "software.cfg").is_file()
    shutil.copytree(feature, release.root if has_release else partition.software, dirs_exist_ok=True)
    if (feature / "archive").is_dir():
        give_archive(release, sources)
    if (feature / "served").is_dir():
        places["served"] = give_served(release, sources)
    if has_release:
        run(release, wanted if "instance" not in wanted else {}, places)
        check_files(release.folder, wanted.get("release", {}), places)
        check_parts(release, wanted.get("part", {}))
    if not has_release or "instance" in wanted:
        if has_release:
            partition.software = release.folder
        give(partition, wanted.get("instance", {}))
        run(partition, wanted, places)
        if "error" not in wanted:
            check_files(partition.folder, wanted, places)
            check_runs(partition.folder, wanted)
            check_told(partition, wanted)
    elif "error" not in wanted:
        check_files(release.folder, wanted, places)


def test_the_corpus_has_a_profile_for_each_feature() -> None:
    assert len(FEATURES) >= 60

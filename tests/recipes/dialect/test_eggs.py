# SPDX-License-Identifier: Apache-2.0
"""Eggs of profiles in SlapOS's dialect: from a local folder of wheels, as pip finds them."""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from allotment.blobs import BlobStore
from allotment.errors import AllotmentError
from allotment_recipes import egg_lock
from allotment_recipes.testing import LocalEngine, Release

HERE = Path(__file__).parent


def make_wheel(folder: Path, name: str, version: str, requires: str = "") -> Path:
    """Write a wheel by hand: nothing is built, so nothing is downloaded to build it."""
    info = f"{name}-{version}.dist-info"
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    files = {
        f"{name}.py": f"def main():\n    import {requires or 'sys'}\n    print('hello')\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{'greet' if requires else 'kit'} = {name}:main\n",
    }
    if not requires:
        files[f"{name}-{version}.data/scripts/kit-file"] = "#!/bin/sh\necho file\n"
    record = "".join(
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=').decode()},{len(text)}\n"
        for path, text in files.items()
    )
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(zipfile.ZipInfo(member), text)
    return path


@pytest.fixture
def eggs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Release]:
    """The feature's profile; pip has two versions of what it needs, and the source cache has all wheels."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    made = [
        make_wheel(wheels, "greeter_app", "1.0", "greeter_kit"),
        make_wheel(wheels, "greeter_kit", "1.2"),
        make_wheel(wheels, "greeter_kit", "2.0"),
    ]
    for path in made:
        BlobStore(tmp_path / "sources").add(path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    shutil.copytree(HERE / "eggs", tmp_path / "root")
    with LocalEngine() as engine:
        yield Release(tmp_path / "root", tmp_path / "built", tmp_path / "sources", engine)


def lock(release: Release) -> Any:
    return release.engine.lock(release.profile, release.root, release.folder, release.sources, 60.0, release.log)


def prints(path: Path, *arguments: str) -> str:
    done = subprocess.run([path, *arguments], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def test_eggs_are_locked_with_all_they_need_and_their_scripts_are_where_slapos_has_them(eggs: Release) -> None:
    assert "[app] eggs: allot.lock has no wheels for greeter_app. Run 'allot lock root'" in eggs.build().error
    lock(eggs)
    line = json.loads((eggs.root / "allot.lock").read_text().splitlines()[-1])
    assert line["eggs"] == ["greeter_app"]
    assert {name: version for name, (version, _) in line["wheels"].items()} == {
        "greeter-app": "1.0",
        "greeter-kit": "1.2",
    }
    eggs.run_twice()
    programs = eggs.folder / "programs"
    assert sorted(path.name for path in programs.iterdir()) == ["again", "hello", "pyapp"]
    assert prints(programs / "hello") == "hello\n"
    assert prints(programs / "pyapp", "-c", "import greeter_kit; print(1)") == "1\n"
    assert {"programs/hello", "programs/pyapp"} <= set(eggs.remove("app"))


SCRIPTS = """\
    [buildout]
    parts = app
    [app]
    recipe = zc.recipe.egg
    eggs = Greeter.App
    dependent-scripts = {value}
    [versions]
    greeter-app = 1.0
    greeter-kit = 1.2
    """


@pytest.mark.parametrize(
    ("value", "scripts"), [("", ["greet"]), ("false", ["greet"]), ("true", ["greet", "kit", "kit-file"])]
)
def test_scripts_are_those_of_the_eggs_that_are_named_or_of_all_that_are_needed(
    eggs: Release, value: str, scripts: list[str]
) -> None:
    eggs.write_profile(SCRIPTS.format(value=value))
    lock(eggs)
    eggs.run_twice()
    assert sorted(path.name for path in (eggs.folder / "bin").iterdir()) == scripts
    assert prints(eggs.folder / "bin/greet") == "hello\n"


def test_a_script_of_what_an_egg_needs_can_be_named(eggs: Release) -> None:
    eggs.write_profile(SCRIPTS.format(value="false").replace("eggs =", "scripts = kit=other\n    eggs ="))
    lock(eggs)
    assert eggs.build().error == ""
    assert prints(eggs.folder / "bin/other") == "hello\n"


def test_other_versions_need_another_lock(eggs: Release) -> None:
    lock(eggs)
    profile = eggs.profile.read_text()
    eggs.profile.write_text(profile.replace("1.2+SlapOSPatched001", "2.0"))
    assert (
        "[versions] greeter-kit: it is 2.0, and allot.lock has the wheel of 1.2. Run 'allot lock" in eggs.build().error
    )
    lock(eggs)
    assert eggs.build().error == ""


def test_what_was_recorded_stays_when_pip_finds_nothing_else(eggs: Release) -> None:
    lock(eggs)
    before = (eggs.root / "allot.lock").read_bytes()
    eggs.profile.write_text(eggs.profile.read_text().replace("1.2+SlapOSPatched001", "3.0"))
    with pytest.raises(AllotmentError, match="pip finds no wheels"):
        lock(eggs)
    assert (eggs.root / "allot.lock").read_bytes() == before


def test_what_pip_does_not_find_is_an_error_that_names_the_section(eggs: Release) -> None:
    eggs.profile.write_text(eggs.profile.read_text().replace("1.0:whl", "3.0"))
    with pytest.raises(AllotmentError, match=r"(?s)\[app\] eggs: pip finds no wheels: .*greeter"):
        lock(eggs)


def test_a_link_of_another_folder_is_made_there(eggs: Release) -> None:
    eggs.profile.write_text(eggs.profile.read_text().replace("scripts = greet=hello", "bin-directory = other"))
    lock(eggs)
    assert eggs.build().error == ""
    assert (eggs.folder / "other/greet").is_symlink()


@pytest.mark.parametrize(
    ("text", "version"),
    [("1.0", "1.0"), ("1.0:whl", "1.0"), (" 1.0+SlapOSPatched001 ", "1.0"), ("1.0+SlapOSPatched12:whl", "1.0")],
)
def test_suffixes_of_versions_are_left_out(text: str, version: str) -> None:
    assert egg_lock.plain_version(text) == version


def test_a_source_archive_is_known_by_what_the_index_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "simple" / "mine" / "index.html"
    page.parent.mkdir(parents=True)
    wheel, archive = "a" * 64, "b" * 64
    page.write_text(
        f'<a href="mine-0.1-py3-none-any.whl#sha256={wheel}">x</a><a href="mine-0.1.tar.gz#sha256={archive}">y</a>'
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "simple").as_uri())
    assert egg_lock.sdist_hash(egg_lock.sdist("Mine[extra]", "0.1")) == archive
    with pytest.raises(AllotmentError, match=r"no index has a source archive of mine 0\.2"):
        egg_lock.sdist_hash(egg_lock.sdist("mine", "0.2"))

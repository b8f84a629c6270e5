# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys
from pathlib import Path

import pytest

from allotment.errors import AllotmentError
from allotment_recipes.shared_store import Store
from allotment_recipes.store import ROOT_LENGTH, padded_root, part_path
from allotment_testfarm.kept_store import prepare


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("k") / "store"


def build(folder: Path, name: str) -> Path:
    """Build a part of two files into the store; what it holds is read-only."""
    root = padded_root(folder)
    store, location = Store(root), part_path(root, name, "1", name.encode().hex() * 16)
    with store.building(location, "a test", lambda _: None) as place:
        assert place is not None
        (location / "lib").mkdir()
        (location / "lib/one").write_text("12345")
        (location / "two").symlink_to("lib/one")
    size = sum(path.lstat().st_size for path in location.rglob("*") if path.is_file())
    store.note(location, {"part": name, "version": "1", "seconds": 0.1, "bytes": size})
    return location


def make_writable(location: Path) -> None:
    for path in (location, *location.rglob("*")):
        path.chmod(0o755)


def test_whole_parts_stay(folder: Path) -> None:
    assert prepare(folder) == []
    assert folder.is_dir()
    location = build(folder, "zlib")
    assert prepare(folder) == []
    assert (location / "lib/one").read_text() == "12345"


@pytest.mark.parametrize("damage", ["cut", "gone", "note"])
def test_a_damaged_part_is_removed_and_the_others_stay(folder: Path, damage: str) -> None:
    prepare(folder)
    damaged, whole = build(folder, "zlib"), build(folder, "pcre")
    make_writable(damaged)
    if damage == "cut":
        (damaged / "lib/one").write_text("123")
    elif damage == "gone":
        (damaged / "lib/one").unlink()
    else:
        (padded_root(folder) / ".built" / f"{damaged.name}.json").write_text('{"format"')
    assert prepare(folder) == [damaged.name]
    assert not damaged.exists()
    assert whole.exists()
    assert build(folder, "zlib") == damaged
    assert prepare(folder) == []


def test_a_run_killed_while_it_removes_a_damaged_part_leaves_no_half_of_it(folder: Path) -> None:
    prepare(folder)
    damaged = build(folder, "zlib")
    make_writable(damaged)
    (damaged / "lib/one").write_text("123")
    code = f"""\
import os, shutil
from pathlib import Path
from allotment_testfarm.kept_store import prepare
shutil.rmtree = lambda path: os._exit(9)
prepare(Path({str(folder)!r}))
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    assert not damaged.exists()
    assert prepare(folder) == []
    assert list(padded_root(folder).glob(f"*{damaged.name}*")) == []


def test_what_a_killed_build_has_left_is_no_damage(folder: Path) -> None:
    prepare(folder)
    location = build(folder, "zlib")
    make_writable(location)
    location.rename(location.with_name(f".{location.name}.new"))
    location.symlink_to(f".{location.name}.new")
    assert prepare(folder) == []
    assert build(folder, "zlib") == location
    assert location.is_dir() and not location.is_symlink()


def test_what_was_built_at_another_place_is_removed(folder: Path) -> None:
    """Also one whose path is as long, and whose parts would be found by their hashes."""
    prepare(folder)
    location = build(folder, "zlib")
    moved = folder.with_name("stare")
    folder.rename(moved)
    assert (padded_root(moved) / location.name).exists()
    assert prepare(moved) == []
    assert not (padded_root(moved) / location.name).exists()


def test_a_path_that_is_too_long_is_an_error(folder: Path) -> None:
    with pytest.raises(AllotmentError, match="Choose a folder with a shorter path"):
        prepare(folder / ("s" * ROOT_LENGTH))

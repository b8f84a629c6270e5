# SPDX-License-Identifier: Apache-2.0
"""What is recorded of a part, and what of it is damage."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from allotment_recipes.store import ROOT_LENGTH, padded_root
from allotment_recipes.stores import contents

HASH = "0123456789abcdef" * 2


@pytest.fixture
def part(tmp_path: Path) -> Path:
    folder = tmp_path / "part"
    (folder / "lib").mkdir(parents=True)
    (folder / "lib/a.txt").write_text("a")
    (folder / "lib/link").symlink_to("a.txt")
    return folder


def write(path: Path) -> None:
    path.write_text("b")


def relink(path: Path) -> None:
    path.unlink()
    path.symlink_to("/")


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir(mode=0o755)


@pytest.mark.parametrize(
    ("name", "damage", "problem"),
    [
        ("lib/a.txt", write, "lib/a.txt has other bytes"),
        ("lib/a.txt", Path.unlink, "lib/a.txt is missing"),
        ("lib/a.txt", make_folder, "lib/a.txt is a folder now"),
        ("lib/a.txt", relink, "lib/a.txt was 644 {sha} and is -> /"),
        ("lib/link", relink, "lib/link was -> a.txt and is -> /"),
        ("lib/new", write, "lib/new is not of the part"),
        ("lib/a.txt", lambda path: path.chmod(0o600), "lib/a.txt has the mode 600, not 644"),
        ("", lambda path: path.chmod(0o700), "the folder has the mode 700, not 755"),
    ],
)
def test_each_kind_of_damage_is_named(part: Path, name: str, damage: Callable[[Path], object], problem: str) -> None:
    part.chmod(0o755)
    (part / "lib/a.txt").chmod(0o644)
    before = contents.look(part)
    damage(part / name)
    after = contents.look(part)
    sha = before.entries["lib/a.txt"].split()[1]
    assert contents.differences(before.entries, after.entries) == [problem.format(sha=sha)]
    assert before.digest != after.digest


def test_times_and_names_of_places_are_no_damage(part: Path, tmp_path: Path) -> None:
    before = contents.look(part)
    os.utime(part / "lib/a.txt", (1, 1))
    part.rename(tmp_path / "other")
    assert contents.look(tmp_path / "other").digest == before.digest


def test_a_record_is_read_as_it_was_written_also_of_names_that_are_no_text(part: Path, tmp_path: Path) -> None:
    (part / os.fsdecode(b"caf\xe9")).write_text("x")
    found = contents.look(part)
    contents.record(tmp_path, "part", found)
    assert contents.recorded(tmp_path, "part") == found.entries
    assert contents.recorded(tmp_path, "other") is None


def test_parts_of_any_store_are_found_in_text_binaries_and_links(part: Path) -> None:
    root = padded_root(part)
    (part / "program").write_bytes(b"\x7fELF\0" + os.fsencode(root / f"zlib-1.3-{HASH}") + b"/lib:/x\0")
    (part / "lib/z").symlink_to(root / f"bzip2-1-{HASH}" / "lib/z")
    (part / "no").write_text(f"/short/____/a-1-{HASH} {root}/a-1-{HASH}0 {root}/README {root}/{HASH}")
    assert contents.look(part).paths == {str(root / f"zlib-1.3-{HASH}"), str(root / f"bzip2-1-{HASH}")}


def test_a_large_file_is_read_like_a_small_one(part: Path) -> None:
    path = os.fsencode(padded_root(part) / f"zlib-1.3-{HASH}")
    assert len(os.fsencode(padded_root(part))) == ROOT_LENGTH
    with (part / "large").open("wb") as file:
        file.truncate(17 << 20)
        file.seek(16 << 20)
        file.write(path + b"\0")
    assert contents.look(part).paths == {os.fsdecode(path)}


def test_a_name_can_not_command_a_terminal(part: Path) -> None:
    before = contents.look(part)
    (part / "lib/\x1b[2J\n\udcff").symlink_to("\x1b]0;x")
    found = contents.differences(before.entries, contents.look(part).entries)
    assert found == ["lib/\\x1b[2J\\n\\udcff is not of the part"]

# SPDX-License-Identifier: Apache-2.0
import hashlib
from pathlib import Path

import pytest

from allotment_recipes.lint.hashes import checksums, update

TEXT = """\
# what this is: kept
[page]
recipe = allotment.recipes:template.jinja2
url = ${:_profile_base_location_}/page.in
sha256sum = {wrong}
output = page

[named]
filename = page.in
md5sum = {wrong_md5}

[tool]
recipe = allotment.recipes:cmmi
url = http://127.0.0.1/tool.tar
sha256sum = {wrong}
patches =
  ${:_profile_base_location_}/a.patch#{wrong}
  ${:_profile_base_location_}/b.patch#md5={wrong_md5}
  http://127.0.0.1/c.patch#{wrong}

[empty]
filename = page.in
sha256sum =
"""
WRONG, WRONG_MD5 = "0" * 64, "f" * 32


def profile(folder: Path, text: str = TEXT) -> Path:
    for name in ("page.in", "a.patch", "b.patch"):
        (folder / name).write_text(name)
    path = folder / "software.cfg"
    path.write_text(text.replace("{wrong}", WRONG).replace("{wrong_md5}", WRONG_MD5))
    return path


def test_checksums_of_local_files_are_compared(tmp_path: Path) -> None:
    found = checksums(profile(tmp_path))
    assert [(item.line, item.section, item.file.name, item.is_right) for item in found] == [
        (5, "page", "page.in", False),
        (10, "named", "page.in", False),
        (17, "tool", "a.patch", False),
        (18, "tool", "b.patch", False),
        (23, "empty", "page.in", False),
    ]
    assert str(found[0].problem).endswith(
        f"software.cfg:5: [page] the checksum of page.in is {hashlib.sha256(b'page.in').hexdigest()}, not {WRONG}. "
        "Look at what changed, then run 'allot hash update'. [checksum]"
    )


def test_update_writes_the_right_ones_and_nothing_else(tmp_path: Path) -> None:
    path = profile(tmp_path)
    path.chmod(0o640)
    before = path.read_text()
    assert [item.line for item in update(path)] == [5, 10, 17, 18, 23]
    sha, md5 = hashlib.sha256(b"page.in").hexdigest(), hashlib.md5(b"page.in").hexdigest()
    expected = before.replace(f"sha256sum = {WRONG}\noutput", f"sha256sum = {sha}\noutput")
    expected = expected.replace(f"md5sum = {WRONG_MD5}", f"md5sum = {md5}")
    expected = expected.replace(f"a.patch#{WRONG}", f"a.patch#{hashlib.sha256(b'a.patch').hexdigest()}")
    expected = expected.replace(f"b.patch#md5={WRONG_MD5}", f"b.patch#md5={hashlib.md5(b'b.patch').hexdigest()}")
    expected = expected.replace("sha256sum =\n", f"sha256sum = {sha}\n")
    assert path.read_text() == expected
    assert path.stat().st_mode & 0o777 == 0o640
    assert all(item.is_right for item in checksums(path))
    assert update(path) == []
    assert path.read_text() == expected


def test_a_file_that_is_not_there_is_told_and_left(tmp_path: Path) -> None:
    path = profile(tmp_path, "[page]\nfilename = gone.in\nsha256sum = {wrong}\n")
    (item,) = checksums(path)
    assert str(item.problem).endswith("gone.in can't be read. Correct the name. [checksum]")
    assert update(path) == []
    assert WRONG in path.read_text()


def test_checksums_of_extended_profiles_are_theirs(tmp_path: Path) -> None:
    (tmp_path / "base.cfg").write_text(f"[page]\nfilename = page.in\nsha256sum = {WRONG}\n")
    assert checksums(profile(tmp_path, "[buildout]\nextends = base.cfg\n")) == []


def test_a_checksum_in_another_profile_than_its_file_s_name_is_found(tmp_path: Path) -> None:
    (tmp_path / "base.cfg").write_text("[page]\nfilename = page.in\n")
    (item,) = checksums(profile(tmp_path, "[buildout]\nextends = base.cfg\n[page]\nmd5sum = {wrong_md5}\n"))
    assert (item.file.name, item.is_right) == ("page.in", False)


@pytest.mark.parametrize("written", ["", "0" * 64])
def test_line_ends_and_links_stay(tmp_path: Path, written: str) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/file").write_text("x")
    (tmp_path / "file").symlink_to("real/file")
    text = "[buildout]\r\nparts =\r\n[a]\r\nurl = file\r\nsha256sum = SUM\r\n"
    (tmp_path / "real/software.cfg").write_bytes(text.replace("SUM", written).encode())
    (tmp_path / "software.cfg").symlink_to("real/software.cfg")
    assert len(update(tmp_path / "software.cfg")) == 1
    sha256 = hashlib.sha256(b"x").hexdigest()
    assert (tmp_path / "software.cfg").is_symlink()
    assert (tmp_path / "real/software.cfg").read_bytes() == text.replace("SUM", sha256).encode()

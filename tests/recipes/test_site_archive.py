# SPDX-License-Identifier: Apache-2.0
import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from allotment_recipes import site_archive


def archive(path: Path, name: str = "index.html") -> list[str]:
    """Write an archive; return its address and sha256."""
    with tarfile.open(path, "w:gz") as tar:
        info = tarfile.TarInfo(name)
        info.size = 4
        tar.addfile(info, io.BytesIO(b"page"))
    return [path.as_uri(), hashlib.sha256(path.read_bytes()).hexdigest()]


def never(seconds: float) -> None:
    raise AssertionError(f"it waits for {seconds} s")


def test_the_files_are_there_under_the_archives_sha256_and_nothing_else(tmp_path: Path) -> None:
    url, sha256 = archive(tmp_path / "a.tar.gz")
    (tmp_path / "www").mkdir()
    assert site_archive.main([str(tmp_path / "www"), url, sha256], never) == 0
    assert (tmp_path / "www" / sha256 / "index.html").read_bytes() == b"page"
    assert [path.name for path in (tmp_path / "www").iterdir()] == [sha256]


def test_it_is_fetched_once_and_the_one_before_it_goes(tmp_path: Path) -> None:
    www = tmp_path / "www"
    (www / "page").mkdir(parents=True)
    first, second = archive(tmp_path / "1.tar.gz"), archive(tmp_path / "2.tar.gz", "other.html")
    assert site_archive.main([str(www), *first], never) == 0
    (tmp_path / "1.tar.gz").unlink()
    assert site_archive.main([str(www), *first], never) == 0
    assert site_archive.main([str(www), *second], never) == 0
    assert sorted(path.name for path in www.iterdir()) == sorted([second[1], "page"])
    assert site_archive.main([str(www)], never) == 0
    assert [path.name for path in www.iterdir()] == ["page"]


def test_it_is_tried_again_and_the_site_before_it_stays_until_then(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    www = tmp_path / "www"
    before = archive(tmp_path / "1.tar.gz")
    site_archive.main([str(www), *before], never)
    waits: list[float] = []
    assert site_archive.main([str(www), (tmp_path / "gone").as_uri(), "0" * 64], waits.append) == 1
    assert tuple(waits) == site_archive.PAUSES
    assert capsys.readouterr().err.count("it can't be read: No such file or directory") == len(waits) + 1
    assert (www / before[1] / "index.html").exists()


@pytest.mark.parametrize("name", ["../x", "/etc/x"])
def test_a_hostile_archive_is_refused(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    url, sha256 = archive(tmp_path / "a.tar.gz", name)
    assert site_archive.main([str(tmp_path / "www"), url, sha256], lambda seconds: None) == 1
    assert "is not a relative path inside it" in capsys.readouterr().err
    assert not (tmp_path / "www" / sha256).exists()

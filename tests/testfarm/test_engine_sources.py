# SPDX-License-Identifier: Apache-2.0
"""The archives of revisions, over a real repository."""

import tarfile
from pathlib import Path
from typing import Any

from allotment_testfarm.engine.sources import Sources
from allotment_testfarm.git import Mirror


def test_an_archive_is_made_once_and_the_oldest_go(tmp_path: Path, repository: Any) -> None:
    mirror = Mirror(tmp_path / "mirrors" / "main.git", str(repository.path))
    sources = Sources(tmp_path / "sources", mirror, kept=2)
    commits = []
    for name in ("a", "b", "c"):
        commits.append(repository.release(name))
        mirror.fetch()
        path = sources.archive(commits[-1])
        made = path.stat().st_ino
        assert sources.archive(commits[-1]).stat().st_ino == made
    with tarfile.open(path) as tar:
        assert "software/c/software.cfg" in tar.getnames()
    assert {item.stem for item in (tmp_path / "sources").iterdir()} == set(commits[1:])


def test_what_a_killed_engine_left_half_written_is_removed(tmp_path: Path, repository: Any) -> None:
    mirror = Mirror(tmp_path / "mirrors" / "main.git", str(repository.path))
    commit = repository.release("a")
    mirror.fetch()
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources/.new-x3f").write_bytes(b"half")
    Sources(tmp_path / "sources", mirror).archive(commit)
    assert [item.name for item in (tmp_path / "sources").iterdir()] == [f"{commit}.tar"]

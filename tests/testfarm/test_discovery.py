# SPDX-License-Identifier: Apache-2.0
"""Software releases are found by their place."""

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from allotment_testfarm.discovery import Release, discover, releases_among
from allotment_testfarm.git import Mirror


def test_each_profile_in_software_is_a_release(tmp_path: Path, repository: Any) -> None:
    head = repository.release("helloworld", "apache", "stack")
    repository.put("software/apache/test/software.cfg", "not this one")
    repository.put("software/software.cfg", "nor this")
    head = repository.commit()
    mirror = Mirror(tmp_path / "m.git", str(repository.path))
    mirror.fetch()
    assert discover(mirror, head, timeout=60.0) == (
        Release("apache", "software/apache/software.cfg", timeout=60.0),
        Release("helloworld", "software/helloworld/software.cfg", timeout=60.0),
    )


def test_a_revision_without_releases_has_none(tmp_path: Path, repository: Any) -> None:
    head = repository.commit("nothing")
    mirror = Mirror(tmp_path / "m.git", str(repository.path))
    mirror.fetch()
    assert discover(mirror, head) == ()


@given(st.lists(st.text(max_size=30)))
def test_any_path_is_either_a_release_or_left_out(names: list[str]) -> None:
    for release in releases_among(f"software/{name}/software.cfg" for name in names):
        assert release.name in names
        assert "/" not in release.name
        assert not release.name.startswith((".", "-"))

# SPDX-License-Identifier: Apache-2.0
"""Software releases are found by their place, and with all that they read."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allotment_testfarm.discovery import Discovery, Release, releases_among
from allotment_testfarm.git import Mirror


@pytest.fixture
def mirror(tmp_path: Path, repository: Any) -> Mirror:
    return Mirror(tmp_path / "m.git", str(repository.path))


def found(mirror: Mirror, discovery: Discovery) -> dict[str, Release]:
    return {release.name: release for release in discovery.find(mirror.fetch().hash)}


def paths(release: Release) -> set[str]:
    return {path for group in (release.files or {}).values() for path in group.files}


def test_each_profile_in_software_is_a_release(mirror: Mirror, repository: Any) -> None:
    repository.release("helloworld", "apache", "stack")
    repository.put("software/apache/test/software.cfg", "not this one")
    repository.put("software/software.cfg", "nor this")
    (repository.path / "software" / "link").mkdir()
    (repository.path / "software" / "link" / "software.cfg").symlink_to("../apache/software.cfg")
    head = repository.commit()
    mirror.fetch()
    assert [replace(release, files=None) for release in Discovery(mirror, 60.0).find(head)] == [
        Release("apache", "software/apache/software.cfg", timeout=60.0),
        Release("helloworld", "software/helloworld/software.cfg", timeout=60.0),
    ]


def test_a_revision_without_releases_has_none(mirror: Mirror, repository: Any) -> None:
    repository.commit("nothing")
    assert found(mirror, Discovery(mirror)) == {}


def test_only_the_releases_that_are_asked_for_are_found(mirror: Mirror, repository: Any) -> None:
    repository.release("helloworld", "apache", "redis")
    repository.commit()
    assert set(found(mirror, Discovery(mirror, only=("redis", "apache", "not-there")))) == {"apache", "redis"}


def test_what_a_release_reads_changes_with_it_alone(mirror: Mirror, repository: Any) -> None:
    repository.put("software/a/software.cfg", "[buildout]\nextends = ../../components/zlib/buildout.cfg\n")
    repository.put("software/b/software.cfg", "[buildout]\n")
    repository.put("components/zlib/buildout.cfg", "[zlib]\n")
    repository.commit()
    discovery = Discovery(mirror)
    first = found(mirror, discovery)
    assert paths(first["a"]) == {"software/a/software.cfg", "components/zlib/buildout.cfg"}
    repository.put("docs/index.md", "words")
    repository.commit()
    assert found(mirror, discovery) == first
    repository.put("components/zlib/fix.patch", "new")
    repository.commit()
    second = found(mirror, discovery)
    assert paths(second["a"]) - paths(first["a"]) == {"components/zlib/fix.patch"}
    assert second["b"] == first["b"]
    (repository.path / "software" / "b" / "software.cfg").chmod(0o755)
    repository.commit()
    assert found(mirror, discovery)["b"].files != first["b"].files


def test_what_can_t_be_told_has_its_reason(mirror: Mirror, repository: Any) -> None:
    repository.put("software/a/software.cfg", "[buildout]\nextends = /etc/x.cfg\n")
    repository.commit()
    release = found(mirror, Discovery(mirror))["a"]
    assert release.files is None
    assert release.problem == "software/a/software.cfg extends /etc/x.cfg, which is outside the repository"


@given(st.lists(st.text(max_size=30)))
def test_any_path_is_either_a_release_or_left_out(names: list[str]) -> None:
    for release in releases_among(f"software/{name}/software.cfg" for name in names):
        assert release.name in names
        assert "/" not in release.name
        assert not release.name.startswith((".", "-"))

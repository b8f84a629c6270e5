# SPDX-License-Identifier: Apache-2.0
"""Files beside profiles that options name, also by references."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from allotment_recipes.manifest import build_release
from allotment_recipes.named_files import named_files
from allotment_recipes.option_error import ProfileError

BESIDE = "${:_profile_base_location_}/"


def names(tmp_path: Path, **options: str) -> list[str]:
    (tmp_path / "here.in").touch()
    sections = {
        "one": {"_profile_base_location_": str(tmp_path), "filename": "here.in", "self": "${:self}", **options},
        "two": {"_profile_base_location_": str(tmp_path), "word": "${:first}.in", "first": "here"},
    }
    return [path.name for path in named_files(sections)]


@pytest.mark.parametrize("name", ["here.in", "${:filename}", "${one:filename}#md5", "${two:word}", "./${two:first}.in"])
def test_a_name_may_have_references(tmp_path: Path, name: str) -> None:
    assert names(tmp_path, url=BESIDE + name) == ["here.in"]


@pytest.mark.parametrize("name", ["${:missing}", "${three:word}", "a/${two:location}", "${:self}"])
def test_what_only_a_run_or_an_heir_knows_is_left_out(tmp_path: Path, name: str) -> None:
    assert names(tmp_path, url=BESIDE + name) == []


def test_what_is_not_there_is_an_error_with_its_whole_name(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=rf"^\[one\] url: {tmp_path}/here\.out does not exist\. Correct the path\.$"):
        names(tmp_path, url=BESIDE + "${two:first}.out")


def test_a_release_has_the_files_that_its_macros_name(
    engine: Any, write_tiny: Callable[[Path], Path], tmp_path: Path
) -> None:
    """In profiles of SlapOS a macro has the folder, and each part that inherits it the name."""
    profile = write_tiny(tmp_path / "tree")
    stack = profile.parent.parent / "stack"
    profile.write_text(profile.read_text().replace("/instance.cfg.in", "/${:filename}\nfilename = ../stack/base.in"))
    (stack / "base.cfg").write_text(f"{(stack / 'base.cfg').read_text()}\n[macro]\nurl = {BESIDE}${{:filename}}\n")
    (stack / "base.in").write_bytes((profile.parent / "instance.cfg.in").read_bytes())
    folder = tmp_path / "built"
    build_release(profile, tmp_path / "tree", folder, tmp_path / "sources", engine, tmp_path / "log")
    assert (folder / "closure/software/stack/base.in").is_file()
    assert (folder / "instance.cfg").is_file()

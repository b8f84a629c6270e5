# SPDX-License-Identifier: Apache-2.0
"""A profile that is extended with a checksum is looked at like every other."""

from pathlib import Path

from allotment_recipes.lint.view import View


def test_a_local_profile_with_a_checksum_is_read(tmp_path: Path) -> None:
    (tmp_path / "base.cfg").write_text("[a]\nb = 1\n")
    (tmp_path / "software.cfg").write_text(f"[buildout]\nextends = base.cfg#sha256={'0' * 64}\n")
    view = View(tmp_path / "software.cfg")
    assert (view.problems, [file.path.name for file in view.files]) == ([], ["base.cfg", "software.cfg"])

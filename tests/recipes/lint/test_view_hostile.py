# SPDX-License-Identifier: Apache-2.0
"""A profile made to do harm is looked at as soon as any other."""

import os
from pathlib import Path

import pytest

from allotment_recipes.lint.profile_text import UNKNOWN
from allotment_recipes.lint.view import View

DOUBLED = "\n".join(f"x{n} = ${{a:x{n - 1}}}${{a:x{n - 1}}}" for n in range(1, 35))


@pytest.mark.timeout(60)
def test_values_and_macros_that_double(tmp_path: Path) -> None:
    macros = "".join(f"[m{n}]\n<= m{n - 1}\n  m{n - 1}\n" for n in range(1, 35))
    (tmp_path / "software.cfg").write_text(f"[a]\nx0 = y\n{DOUBLED}\n[b]\n<= m34\n[m0]\nk = 1\n{macros}")
    view = View(tmp_path / "software.cfg")
    assert (view.value("a", "x4"), view.value("a", "x34")) == ("y" * 16, UNKNOWN)
    assert view.value("b", "k") == "1"


@pytest.mark.timeout(60)
def test_a_pipe_is_no_profile(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.cfg")
    (tmp_path / "software.cfg").write_text("[buildout]\nextends = pipe.cfg\n")
    (problem,) = View(tmp_path / "software.cfg").problems
    assert "pipe.cfg can't be read: it is no regular file" in str(problem)

# SPDX-License-Identifier: Apache-2.0
"""Recipe ``userinfo``."""

import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from allotment.errors import AllotmentError
from allotment_recipes.recipes import userinfo

Make = Callable[..., Any]


def test_the_owner_of_the_partition_is_told(make_recipe: Make) -> None:
    recipe = make_recipe(userinfo.Recipe, {})
    user = pwd.getpwuid(os.getuid())
    assert recipe.raw["pw-name"] == user.pw_name
    assert recipe.raw["pw-uid"] == str(user.pw_uid)
    assert recipe.raw["pw-dir"] == user.pw_dir
    assert {"pw-gid", "pw-gecos", "pw-shell", "gr-name", "gr-gid", "gr-mem"} < set(recipe.raw)
    assert recipe.install() == []


def test_who_has_no_name_has_a_number(make_recipe: Make, tmp_path: Path) -> None:
    if os.getuid() != 0:  # only root can give folders away; for others the test says nothing
        return
    os.chown(tmp_path, 54321, 54322)
    raw = make_recipe(userinfo.Recipe, {}).raw
    assert (raw["pw-name"], raw["pw-uid"], raw["pw-gid"]) == ("54321", "54321", "54322")
    assert (raw["gr-name"], raw["gr-gid"], raw["gr-mem"]) == ("54322", "54322", "")


def test_it_takes_no_options(make_recipe: Make) -> None:
    with pytest.raises(AllotmentError, match=r"\[part\] user: unknown option\."):
        make_recipe(userinfo.Recipe, {"user": "x"})

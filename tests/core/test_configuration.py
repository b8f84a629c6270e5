# SPDX-License-Identifier: Apache-2.0
"""The folder of a user's settings, as the XDG Base Directory Specification places it."""

from pathlib import Path

import pytest

from allotment.configuration import user_folder
from allotment.errors import MachineError


def test_it_is_where_the_user_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/srv/settings")
    assert user_folder() == Path("/srv/settings/allotment")


@pytest.mark.parametrize("value", ["", "settings", "./settings", "~/settings"])
def test_a_path_that_is_not_absolute_is_passed_over(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.setenv("XDG_CONFIG_HOME", value)
    assert user_folder() == Path("/home/ann/.config/allotment")


def test_without_it_settings_are_below_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert user_folder() == Path("/home/ann/.config/allotment")


def test_a_user_without_a_home_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "relative")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    with pytest.raises(MachineError, match="this user has no home folder"):
        user_folder()

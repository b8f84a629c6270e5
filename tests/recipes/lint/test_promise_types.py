# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 (profiles and their problems stand side by side, as a table)
"""Promises of profiles: their types and options are known before anything runs."""

from pathlib import Path

import pytest

from allotment_recipes.lint import rules
from allotment_recipes.lint.view import View

START = "[buildout]\nparts = web\n[kinds]\nport = check_socket_listening\n[macro]\nrecipe = allotment.recipes:promise\n"


def found(folder: Path, text: str) -> list[str]:
    (folder / "instance.cfg").write_text(START + text)
    return [str(item) for item in rules.relative(rules.check_profile(View(folder / "instance.cfg")), folder)]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[web]\n<= macro\npromise = check_url_availabel\nconfig-url = a\n", "instance.cfg:9: [web] promise: nothing installed offers a promise type 'check_url_availabel'. Did you mean 'check_url_available'?"),
        ("[web]\n<= macro\npromise = check_url_available\nconfig-url = a\nconfig-http-cod = 3\n", "instance.cfg:11: [web] config-http-cod: check_url_available has no option 'http-cod'. Did you mean 'http-code'?"),
        ("[web]\n<= macro\npromise = check_url_available\n", "instance.cfg:9: [web] config-url: check_url_available needs it. Add 'config-url = ...'. [watch]"),
        ("[web]\n<= macro\npromise = ${kinds:port}\nconfig-prot = 1\n", "instance.cfg:10: [web] config-prot: ${kinds:port} has no option 'prot'. Did you mean 'port'?"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(tmp_path: Path, text: str, problem: str) -> None:
    assert [item for item in found(tmp_path, text) if item.startswith(problem)]


@pytest.mark.parametrize(
    "text",
    [
        "[web]\n<= macro\npromise = check_url_available\nconfig-url = a\n",
        "[web]\n<= macro\npromise = check_metric\nconfig-sensor = check_url_available\nconfig-metric = seconds\nconfig-sensor-url = a\n",
        "[web]\n<= macro\nmodule = slapos.promise.plugin.check_gps_lock\npaths = a\nconfig-a = 1\n",
    ],
)  # fmt: skip
def test_what_is_right_or_not_known_yet_is_no_problem(tmp_path: Path, text: str) -> None:
    assert [item for item in found(tmp_path, text) if "[watch]" in item] == []

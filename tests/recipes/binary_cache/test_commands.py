# SPDX-License-Identifier: Apache-2.0
"""``allot cache``: what it says where it can't do what is asked."""

from pathlib import Path

import pytest

from allotment.cli import main

KEY = "ed25519:" + "A" * 43 + "="


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["list", "http://127.0.0.1:1"], "error: http://127.0.0.1:1: it can't be reached: Connection refused. Correct"),
        (["list", "nowhere"], "error: nowhere does not exist. Give the folder, or the http or s3 address, of a cache."),
        (["key"], "no key can be made: "),
        (["key", "--trust", KEY], "trusted-keys can't be written: "),
    ],
)
def test_what_cannot_be_done_is_told_with_its_place(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    if words[0] == "key":
        monkeypatch.setenv("XDG_CONFIG_HOME", "/proc/self")  # nobody may make a folder there
    assert main(["cache", *words]) == 1
    assert message in capsys.readouterr().err

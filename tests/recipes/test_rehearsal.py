# SPDX-License-Identifier: Apache-2.0
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from allotment_recipes.rehearsal import rehearse

WATCHED = """\
import json, os, sys
from allotment_recipes import zygote
from allotment_recipes.rehearsal import rehearse
zygote.preload()
seen = []
def note(event, arguments):
    if event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and arguments[0] != os.devnull:
        seen.append([event, str(arguments[0])])
    elif event.startswith(("os.", "shutil.", "socket.", "subprocess.", "tempfile.")) and event not in HARMLESS:
        seen.append([event, str(arguments)])
HARMLESS = {"os.listdir", "os.scandir", "os.chdir", "os.putenv", "os.unsetenv"}
sys.addaudithook(note)
rehearse()
print(json.dumps(seen))
"""


def test_a_rehearsal_writes_nothing_and_starts_nothing(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", WATCHED], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == []
    assert list(tmp_path.iterdir()) == []


def test_a_rehearsal_leaves_the_process_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIP_INDEX_URL", "x")
    before = dict(os.environ), logging.getLogger().handlers[:], sys.argv[:], Path.cwd()
    rehearse()
    assert before == (dict(os.environ), logging.getLogger().handlers[:], sys.argv[:], Path.cwd())
    assert capfd.readouterr() == ("", "")

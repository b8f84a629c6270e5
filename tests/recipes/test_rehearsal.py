# SPDX-License-Identifier: Apache-2.0
import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from allotment_recipes.build_environment import HOST_PATH
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
LOOKED_AT = """\
import sys
from allotment_recipes import zygote
from allotment_recipes.compiler import compiler
from allotment_recipes.rehearsal import rehearse
zygote.preload()
seen = []
def note(event, arguments):
    if event == "open" and str(arguments[0]).endswith("/gcc"):
        seen.append(arguments[0])
sys.addaudithook(note)
"""
# The run is there before its process rehearses, and the rehearsal needs a folder to work in.
FAILING = """\
import os, sys
from pathlib import Path
from allotment_recipes import zygote
zygote.preload()
(results, ours), (reader, requests) = os.pipe(), os.pipe()
os.write(requests, sys.argv[1].encode())
os.close(requests)
folder = Path("gone").absolute()
folder.mkdir()
os.chdir(folder)
folder.rmdir()
parent = os.getpid()
if os.fork() == 0:
    zygote._wait(parent, reader, ours, True)
os.close(ours)
os.wait()
print(os.read(results, 65536).decode())
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


def test_a_compiler_that_is_another_one_since_is_seen() -> None:
    code = f"{LOOKED_AT}rehearse()\nseen.clear()\ncompiler()\nprint(seen)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    program = shutil.which("gcc", path=HOST_PATH)
    assert done.stdout == f"{[program] if program else []}\n"


def test_a_rehearsal_that_fails_does_not_fail_the_run(tmp_path: Path) -> None:
    request = {"kind": "instance", "log": str(tmp_path / "log"), "partition": str(tmp_path / "none")}
    done = subprocess.run(
        [sys.executable, "-c", FAILING, json.dumps(request)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "FileNotFoundError" in done.stderr
    assert json.loads(done.stdout) == {
        "error": f"{tmp_path}/none/.allotment/instance.json does not exist. The node writes it before the run."
    }

# SPDX-License-Identifier: Apache-2.0
"""As whom promises run: the owner of the partition's folder for good, or nobody else than this user."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from allotment.errors import AllotmentError
from allotment_promises.identity import become_owner
from allotment_promises.launcher import Launcher, LauncherError

NOBODY, DAEMON = 65534, 1
Write = Callable[..., Path]

WHO = """
import json, os, sys
from pathlib import Path
from allotment_promises.identity import become_owner
os.setgroups([0, 4, 27])
become_owner(Path(sys.argv[1]))
back = []
for name, arguments in (("setuid", (0,)), ("setgid", (0,)), ("setgroups", ([0],)), ("setresuid", (0, 0, 0))):
    try:
        getattr(os, name)(*arguments)
        back.append(name)
    except PermissionError:
        pass
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(json.dumps({
    "users": os.getresuid(), "groups": [*os.getresgid(), *os.getgroups()], "back": back,
    "new privileges": status["NoNewPrivs"].strip(), "capabilities": status["CapPrm"].strip(),
}))
"""


@pytest.fixture
def owned() -> Iterator[Callable[..., Path]]:
    """Make a partition that belongs to others, below a folder which they may pass."""
    base = Path(tempfile.mkdtemp(prefix="ap-"))
    base.chmod(0o755)

    def make(uid: int, gid: int, name: str = "part0") -> Path:
        (base / name / "etc/promise").mkdir(parents=True)
        for path in (base / name, *(base / name).rglob("*")):
            os.chown(path, uid, gid)
        (base / name).chmod(0o700)
        return base / name

    yield make
    shutil.rmtree(base)


def _program(partition: Path, name: str, text: str) -> None:
    path = partition / "etc/promise" / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.mark.root
def test_root_becomes_the_owner_for_good(owned: Callable[..., Path]) -> None:
    partition = owned(NOBODY, DAEMON)
    done = subprocess.run([sys.executable, "-c", WHO, str(partition)], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {
        "users": [NOBODY] * 3,
        "groups": [DAEMON] * 3,
        "back": [],
        "new privileges": "1",
        "capabilities": "0" * 16,
    }


@pytest.mark.root
def test_promises_and_history_are_the_owners(owned: Callable[..., Path], tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of root")
    secret.chmod(0o600)
    partitions = {uid: owned(uid, uid, f"part{uid}") for uid in (NOBODY, DAEMON)}
    for partition in partitions.values():
        _program(partition, "who", f"id -u; id -g; id -G; touch made; cat {secret} 2>/dev/null || echo refused")
    with Launcher() as launcher:
        for uid, partition in partitions.items():
            (result,) = launcher.run(partition, "anomaly")
            assert result.message.split() == [str(uid)] * 3 + ["refused"]
            made = [partition / "made", *(partition / ".allotment").rglob("*")]
            assert {path.stat().st_uid for path in made} == {uid}
            assert (partition / ".allotment/promises/history.sqlite3") in made


@pytest.mark.root
def test_what_only_root_may_read_is_not_read_for_the_owner(owned: Callable[..., Path], tmp_path: Path) -> None:
    partition = owned(NOBODY, NOBODY)
    (tmp_path / "theirs.json").write_text('{"format": 1, "type": "secret of root"}')
    (partition / "etc/promise").rmdir()
    (partition / "etc/promise").symlink_to(tmp_path)
    with Launcher() as launcher:
        assert [item.name for item in launcher.timings(partition)] == ["promise"]
        (result,) = launcher.run(partition)
    assert result.message == (
        "etc/promise can't be read: Permission denied. Make it readable for the partition's user."
    )


@pytest.mark.root
def test_the_owner_may_end_what_runs_for_it_and_the_batch_is_run_again(owned: Callable[..., Path]) -> None:
    partition = owned(NOBODY, NOBODY)
    keeper = "$(sed 's/.*) //' /proc/$PPID/stat | cut -d ' ' -f 2)"
    _program(partition, "killer", f"[ -e once ] && exit 0; touch once; kill -9 {keeper}; sleep 60")
    with Launcher() as launcher:
        (result,) = launcher.run(partition)
    assert str(result.status) == "passed"


@pytest.mark.root
def test_a_folder_of_roots_group_is_refused(owned: Callable[..., Path]) -> None:
    partition = owned(NOBODY, 0)
    with Launcher() as launcher, pytest.raises(LauncherError) as caught:
        launcher.run(partition)
    assert str(caught.value) == f"{partition} belongs to nobody, but to root's group. chgrp it to a group of nobody."


def test_one_who_is_no_other_stays_oneself(partition: Path) -> None:
    before = (os.getresuid(), os.getresgid(), os.getgroups())
    become_owner(partition)
    assert (os.getresuid(), os.getresgid(), os.getgroups()) == before


def _link(path: Path) -> str:
    path.symlink_to(path.parent / "part0")
    return "a link"


def _file(path: Path) -> str:
    path.touch()
    return "no folder"


@pytest.mark.parametrize("make", [_link, _file])
def test_what_is_no_folder_itself_is_refused(partition: Path, make: Any) -> None:
    other = partition.with_name("part1")
    kind = make(other)
    with pytest.raises(AllotmentError) as caught:
        become_owner(other)
    assert str(caught.value) == f"{other} is {kind}. A partition is a folder of its own."

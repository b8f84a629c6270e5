# SPDX-License-Identifier: Apache-2.0

"""The recipes ``backup.push`` and ``backup.import``: a standby instance restores what it is sent."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from allotment.errors import AllotmentError
from allotment_recipes.recipes import backup_import, backup_takeover
from allotment_recipes.resilience.generations import Generation, name_at, seal
from allotment_recipes.resilience.status import noted

Until = Callable[..., None]
FIRST, SECOND = name_at(1e9), name_at(2e9)


def generation(backups: Any, name: str, content: str) -> Path:
    """Give the backup instance a verified generation, as a pull leaves it."""
    folder = Path(backups.backup / "srv/pull" / name)
    (folder / "files").mkdir(parents=True)
    (folder / "files/one").write_text(content)
    with noted(folder.parent / "status.json") as whole:
        whole(seal(folder, name))
    return folder


def serving(backups: Any) -> AbstractContextManager[None]:
    found: AbstractContextManager[None] = backups.serving(backups.standby / "etc/service/import")
    return found


@pytest.fixture
def three(backups: Any) -> Any:
    """A backup instance with one generation, and a standby instance."""
    generation(backups, FIRST, "1\n")
    backups.make_import()
    backups.come_near(backups.standby / "etc/import/command")
    backups.make_push()
    return backups


def restored(backups: Any) -> str:
    return Path(backups.standby / "restored/one").read_text()


def test_the_newest_generation_is_restored_once(three: Any) -> None:
    three.is_near = False
    three.make_push()
    three.make_import(
        commands=f"cat one >> {three.standby}/log\necho $WORD >> {three.standby}/log", environment="WORD=then"
    )
    with serving(three):
        assert three.push().stderr == ""
        refused = three.ask("id", section="push")
        assert (refused.returncode, refused.stdout) == (1, "")
        assert three.push().returncode == 0
        assert (three.standby / "log").read_text() == "1\nthen\n"
    three.is_near = True
    three.make_push()
    generation(three, SECOND, "2\n")
    assert three.push().returncode == 0
    assert (three.standby / "log").read_text() == "1\nthen\n2\nthen\n"
    for status in (three.standby / "srv/import", three.backup / "var/push"):
        told = three.status(status)
        assert (told["result"], told["generation"], told["files"], told["bytes"]) == ("done", SECOND, 1, 2)


def test_files_of_one_second_are_not_taken_for_the_same(three: Any) -> None:
    for name, content, nanoseconds in ((FIRST, "1\n", 1), (SECOND, "2\n", 9)):
        folder = three.backup / "srv/pull" / name if name == FIRST else generation(three, name, content)
        os.utime(folder / "files/one", ns=(10**18, 10**18 + nanoseconds))
        assert three.push().returncode == 0
        assert restored(three) == content


def test_a_restore_that_fails_or_is_not_right_is_told_and_repeated(three: Any) -> None:
    with serving(three):
        for options, error in (
            ({"commands": "false"}, "false failed with exit code 1"),
            ({"checks": "grep -q 2 one"}, "grep -q 2 one failed with exit code 1"),
            ({"commands": "sleep 600", "timeout": "0.2"}, "sleep 600 did not end within 0.2 seconds"),
        ):
            three.make_import(**options)
            done = three.push()
            assert done.returncode == 1
            assert f"error: restore: the other side says: error: {error}" in done.stderr
            told = three.status(three.standby / "srv/import")
            assert (told["result"], told["generation"]) == ("failed", "")
            assert told["error"].startswith(error)
            assert three.status(three.backup / "var/push")["result"] == "failed"
        three.make_import(checks="grep -q 1 one")
        assert three.push().returncode == 0
    assert restored(three) == "1\n"


def test_a_restore_that_was_killed_is_repeated(three: Any, until: Until) -> None:
    gate = three.folder / "gate"
    three.make_import(commands=f"echo $PPID > {gate}.there; while ! test -e {gate}; do sleep 0.02; done")
    with serving(three):
        process = subprocess.Popen([three.backup / "bin/push"], stderr=subprocess.PIPE, text=True)
        until(lambda: Path(f"{gate}.there").exists() and Path(f"{gate}.there").read_text().strip())
        subprocess.run(["kill", "-KILL", Path(f"{gate}.there").read_text().strip()], check=True)
        assert three.status(three.standby / "srv/import")["result"] == "working"
        assert three.ask("restore", FIRST, section="push").returncode == 75  # the command still restores
        three.make(backup_takeover.Recipe, three.standby, "takeover", {"import-folder": "srv/import"})
        script = three.standby / "bin/takeover"
        assert subprocess.run([script, "--force"], capture_output=True, check=False).returncode == 75
        gate.touch()
        assert process.wait(60) == 1
        three.make_import()
        until(lambda: three.push().returncode == 0)
    assert restored(three) == "1\n"


def test_a_transfer_that_was_cut_is_not_restored(three: Any) -> None:
    received = three.standby / "srv/import/received"
    with serving(three):
        three.push()
        broken = generation(three, SECOND, "2\n")
        (broken / "files/one").write_text("3\n")
        done = three.push()
        assert f"the other side says: error: {received}/files/one has not the checksum that is listed. " in done.stderr
        assert restored(three) == "1\n"
        assert three.ask("restore", FIRST, section="push").returncode == 1
        shutil.rmtree(received)
        assert f"error: {received}/export.json is missing. " in three.ask("restore", SECOND, section="push").stderr
        (broken / "files/one").write_text("2\n")
        assert three.push().returncode == 0
        assert (
            f"error: {received} holds {SECOND}, not {FIRST}. Push again."
            in three.ask("restore", FIRST, section="push").stderr
        )
    assert restored(three) == "2\n"


@pytest.mark.parametrize("side", ["import", "export"])
def test_who_sends_or_takes_nothing_for_too_long_is_cut_and_others_go_on(three: Any, side: str) -> None:
    mode = "--server" if side == "import" else "--server --sender"
    place = three.standby if side == "import" else three.data
    if side == "export":
        three.make_export(transfer_timeout="0.5")
        assert three.export().returncode == 0
    else:
        three.make_import(transfer_timeout="0.5")
    path = "received/" if side == "import" else "last/"
    asked = {**os.environ, "SSH_ORIGINAL_COMMAND": f"rsync {mode} -rtpe.iLsfxCIvu --timeout=600 . {path}"}
    pipe = subprocess.PIPE
    with subprocess.Popen([place / f"etc/{side}/command"], env=asked, stdin=pipe, stdout=pipe, stderr=pipe) as slow:
        assert slow.stderr is not None
        assert slow.wait(60) == 1
        fix = "Try again: it goes on from there; or raise transfer-timeout on this side"
        assert slow.stderr.read().decode() == f"error: the transfer was cut after 0.5 seconds. {fix}.\n"
    if side == "import":
        three.make_import()
        assert three.push().returncode == 0
        assert restored(three) == "1\n"


def test_after_a_takeover_nothing_is_taken(three: Any) -> None:
    three.is_apart = True  # what rsync prints is looked at
    with serving(three):
        (three.standby / "srv").mkdir()
        (three.standby / "srv/takeover.json").write_text("anything")
        done = three.push()
        assert done.returncode == 1
        assert "error: this instance has taken over. Push to another standby instance." in done.stderr
        assert "taken over" in three.ask("restore", FIRST, section="push").stderr
    assert not (three.standby / "srv/import/received").exists()
    assert not (three.standby / "restored").exists()


def test_the_promise_of_the_standby_goes_with_the_takeover(three: Any) -> None:
    names = {path.name for path in three.make_import().paths}
    assert "import.json" in names
    taken = {"format": 1, "moment": "2026-11-23T10:30:00Z", "generation": FIRST}
    (three.standby / "other").write_text(json.dumps(taken))
    assert {path.name for path in three.make_import(takeover_file="other").paths} == names - {"import.json"}
    (three.standby / "other").write_text("x")
    with pytest.raises(
        AllotmentError, match=re.escape(f"{three.standby}/other is not a takeover of format 1. Look who wrote it")
    ):
        three.make_import(takeover_file="other")


def test_a_key_can_do_nothing_else(three: Any, tmp_path: Path) -> None:
    ssh = three.backup / "etc/push/ssh"
    with serving(three):
        assert json.loads(three.ask("status", section="push").stdout)["generation"] == ""
        for words in (["id"], ["restore"], ["restore", "a", "b"], ["rsync", "--server", "--daemon", "."]):
            refused = three.ask(*words, section="push")
            assert (refused.returncode, refused.stdout) == (1, "")
            assert (
                "error: this key can bring a generation and have it restored only. Ask for one of them."
                in refused.stderr
            )
        for target in ("peer:/tmp/x", "peer:received/../../x", "peer:."):
            assert subprocess.run(
                ["rsync", "-rtp", "-e", ssh, f"{three.content}/", target], capture_output=True, check=False
            ).returncode
        assert subprocess.run(
            ["rsync", "-rtp", "-e", ssh, "peer:received/", f"{tmp_path}/got"], capture_output=True, check=False
        ).returncode
    assert not (tmp_path / "got").exists()


def test_two_pushes_at_once_and_none_to_push_are_told(three: Any, until: Until) -> None:
    shutil.rmtree(three.backup / "srv/pull")
    assert (
        f"error: {three.backup}/srv/pull holds no whole generation yet. Wait for the first pull." in three.push().stderr
    )
    generation(three, FIRST, "1\n")
    stuck = three.folder / "ssh"
    stuck.write_text(f"#!/bin/sh\ntouch {three.folder}/there\nexec sleep 600\n")
    stuck.chmod(0o755)
    three.make_push(ssh_binary=str(stuck))
    process = subprocess.Popen([three.backup / "bin/push"])
    until((three.folder / "there").exists)
    try:
        assert three.push().returncode == 75
    finally:
        (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        subprocess.run(["kill", child], check=True)
        assert process.wait(60) == 1


def test_a_second_run_changes_nothing_and_what_was_received_stays(three: Any) -> None:
    options = {"folder": "in", "services": "run", "max_age": "60"}
    made = [three.make_import(**options), three.make_push(folder="out", frequency="@daily")]
    before = {path: path.read_bytes() for part in made for path in part.paths}
    three.make_import(**options)
    three.make_push(folder="out", frequency="@daily")
    assert {path: path.read_bytes() for path in before} == before
    assert made[0].raw["status-file"] == str(three.standby / "in/status.json")
    assert made[1].raw["status-file"] == str(three.backup / "out/status.json")
    assert "--max-age 60.0" in (three.standby / "etc/promise/import.json").read_text()
    assert backup_import.Recipe.kept(made[0].raw) == [str(three.standby / "in")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"commands": ""}, "[import] commands: is empty. Write commands that read files, such as: psql -f db.sql."),
        ({"timeout": "0"}, "[import] timeout: 0 is not above zero. Write seconds, like 3600."),
        ({"max_age": "0"}, "[import] max-age: 0 is not above zero."),
        ({"transfer_timeout": "0"}, "[import] transfer-timeout: 0 is not above zero."),
        ({"port": "x"}, "[import] port: 'x' is not a whole number."),
        ({"environment": "A"}, "[import] environment: there is no section 'A'."),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(backups: Any, options: dict[str, str], message: str) -> None:
    with pytest.raises(AllotmentError, match=re.escape(message)):
        backups.make_import(**options)


def test_what_is_noted_of_a_killed_attempt_keeps_the_last_copy(tmp_path: Path) -> None:
    file = tmp_path / "status.json"
    with noted(file) as whole:
        whole(Generation(FIRST, 1, 2))
    with pytest.raises(KeyboardInterrupt), noted(file):
        raise KeyboardInterrupt
    found = json.loads(file.read_text())
    assert (found["result"], found["generation"]) == ("working", FIRST)

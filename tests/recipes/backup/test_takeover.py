# SPDX-License-Identifier: Apache-2.0
"""The recipe ``backup.takeover``: a standby instance takes over, once, and tells it."""

import json
import os
import pwd
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from allotment.errors import AllotmentError
from allotment_recipes.recipes import backup_takeover
from allotment_recipes.resilience.generations import Generation, name_at
from allotment_recipes.resilience.locks import locked
from allotment_recipes.resilience.status import noted

Make = Callable[..., Any]
LAST = name_at(1e9)


def take_over(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([folder / "bin/part", *words], capture_output=True, text=True, timeout=60, check=False)


def restore(folder: Path) -> None:
    with noted(folder / "srv/import/status.json") as whole:
        whole(Generation(LAST, 1, 2))


def test_a_takeover_is_told_and_stays_as_it_was(make_recipe: Make, tmp_path: Path) -> None:
    made = make_recipe(backup_takeover.Recipe, {"import-folder": "srv/import"})
    assert made.install() == [tmp_path / "bin/part"] == made.update()
    assert (made.raw["is-taken-over"], made.raw["moment"], made.raw["generation"]) == ("false", "", "")
    restore(tmp_path)
    done = take_over(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(rf"taken over at 20\d\d-\S+Z with the data of {re.escape(LAST)}\n", done.stdout)
    found = json.loads((tmp_path / "srv/takeover.json").read_text())
    with noted(tmp_path / "srv/import/status.json") as whole:
        whole(Generation(name_at(2e9), 1, 2))
    for words in ([], ["--force"]):
        again = take_over(tmp_path, *words)
        what = f"this instance took over at {found['moment']} with the data of {LAST}"
        fix = f"Nothing is to be done; to undo it, remove {tmp_path}/srv/takeover.json"
        assert (again.returncode, again.stderr) == (1, f"error: {what}. {fix}.\n")
    assert json.loads((tmp_path / "srv/takeover.json").read_text()) == found
    after = make_recipe(backup_takeover.Recipe, {"import-folder": "srv/import"})
    told = [after.raw[option] for option in ("is-taken-over", "moment", "generation")]
    assert told == ["true", found["moment"], LAST]
    assert backup_takeover.Recipe.kept(after.raw) == [str(tmp_path / "srv/takeover.json")]


def test_a_restore_that_did_not_end_stops_it_unless_forced(make_recipe: Make, tmp_path: Path) -> None:
    make_recipe(backup_takeover.Recipe, {"import-folder": "srv/import", "takeover-file": "over"}).install()
    fix = "Push again; or add --force to go on with what is there."
    assert take_over(tmp_path).stderr == f"error: the last restore is never begun. {fix}\n"
    restore(tmp_path)
    with pytest.raises(OSError, match="full"), noted(tmp_path / "srv/import/status.json"):
        raise OSError("the disk is full")
    assert take_over(tmp_path).stderr == f"error: the last restore is failed: the disk is full. {fix}\n"
    assert not (tmp_path / "over").exists()
    assert take_over(tmp_path, "--force").stdout.endswith(f" with the data of {LAST}\n")
    assert (tmp_path / "over").exists()


def test_nobody_takes_over_in_the_middle_of_a_restore(make_recipe: Make, tmp_path: Path) -> None:
    make_recipe(backup_takeover.Recipe, {"import-folder": "srv/import"}).install()
    restore(tmp_path)
    with locked(tmp_path / "srv/import/restoring"):
        busy = take_over(tmp_path, "--force")
    assert busy.returncode == 75
    assert busy.stderr.endswith(f" holds {tmp_path}/srv/import/restoring. Wait until it has ended, and try again.\n")
    assert not (tmp_path / "srv/takeover.json").exists()
    with locked(tmp_path / "srv/import/lock"):  # a transfer changes nothing of the instance, and may take hours
        assert take_over(tmp_path).returncode == 0


def test_whoever_undoes_it_has_to_restore_before_it_is_done_again(make_recipe: Make, tmp_path: Path) -> None:
    make_recipe(backup_takeover.Recipe, {"import-folder": "srv/import"}).install()
    restore(tmp_path)
    assert take_over(tmp_path).returncode == 0
    (tmp_path / "srv/takeover.json").unlink()
    problem = "the last restore is failed: a takeover has changed what was restored"
    fix = "Push again; or add --force to go on with what is there"
    assert take_over(tmp_path).stderr == f"error: {problem}. {fix}.\n"
    restore(tmp_path)
    assert take_over(tmp_path).returncode == 0


def test_on_a_full_disk_nothing_happens_and_it_is_done_later(
    make_recipe: Make, tmp_path: Path, make_small_disk: Callable[[Path, str], Any]
) -> None:
    disk = make_small_disk(tmp_path / "disk", "1m")
    make_recipe(backup_takeover.Recipe, {"import-folder": "srv/import", "takeover-file": "disk/over"}).install()
    restore(tmp_path)
    disk.fill()
    words = [*disk.inside, tmp_path / "bin/part"]
    full = subprocess.run(words, capture_output=True, text=True, check=False)
    problem = "the instance's disk: No space left on device"
    assert (full.returncode, full.stderr) == (1, f"error: {problem}. Mend that and try again.\n")
    disk.relieve()
    assert not list(disk.outside.iterdir())
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_only_the_instance_s_user_takes_over(make_recipe: Make, tmp_path: Path) -> None:
    make_recipe(backup_takeover.Recipe, {"import-folder": "srv/import"}).install()
    restore(tmp_path)
    if os.geteuid() == 0:
        os.chown(tmp_path / "srv/import", pwd.getpwnam("nobody").pw_uid, -1)
        place, owner = tmp_path / "srv/import", "nobody"
    else:  # nobody gives folders away
        make_recipe(backup_takeover.Recipe, {"import-folder": "/etc/import"}).install()
        place, owner = Path("/etc"), "root"
    problem = f"{place} is user {owner}'s, who alone may do this"
    assert take_over(tmp_path).stderr == f"error: {problem}. Run it as {owner}, not as another user.\n"
    assert not (tmp_path / "srv/takeover.json").exists()


def test_the_node_is_asked_to_process_also_when_that_was_cut(make_recipe: Make, tmp_path: Path) -> None:
    make_recipe(backup_takeover.Recipe, {"import-folder": "srv/import"}).install()
    restore(tmp_path)
    asked = tmp_path / ".allotment/process"
    asked.parent.mkdir()
    assert take_over(tmp_path).returncode == 0
    text = asked.read_text()
    assert text == f"taken over at {json.loads((tmp_path / 'srv/takeover.json').read_text())['moment']}\n"
    asked.unlink()
    assert take_over(tmp_path).returncode == 1
    assert asked.read_text() == text


def test_who_has_nothing_of_the_main_one_does_not_take_its_place(make_recipe: Make, tmp_path: Path) -> None:
    options = {"import-folder": "srv/import", "main": "standby-1", "since": "2026-11-23T10:30:00Z"}
    make_recipe(backup_takeover.Recipe, options).install()
    restore(tmp_path)
    problem = "standby-1 has taken over already, and nothing that it exported since is restored here"
    fix = "If standby-1 is lost as well, wait for a push of its data; or add --force to go on with what is there"
    assert take_over(tmp_path).stderr == f"error: {problem}. {fix}.\n"
    with noted(tmp_path / "srv/import/status.json") as whole:
        whole(Generation(name_at(1_795_429_800.0), 1, 2))
    assert take_over(tmp_path).returncode == 0
    assert json.loads((tmp_path / "srv/takeover.json").read_text())["predecessor"] == "standby-1"
    assert make_recipe(backup_takeover.Recipe, options).raw["predecessor"] == "standby-1"


def test_a_moment_that_is_none_is_an_error(make_recipe: Make) -> None:
    message = "[part] since: 'now' is not a moment. Write it like 2026-11-23T10:30:00Z."
    with pytest.raises(AllotmentError, match=re.escape(message)):
        make_recipe(backup_takeover.Recipe, {"import-folder": "srv/import", "since": "now"})


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2, "moment": "a", "generation": "b"}', "[" * 60_000])
def test_a_strange_takeover_file_is_an_error(make_recipe: Make, tmp_path: Path, text: str) -> None:
    (tmp_path / "over").write_text(text)
    message = f"{tmp_path}/over is not a takeover of format 1. Look who wrote it before removing it."
    with pytest.raises(AllotmentError, match=re.escape(message)):
        make_recipe(backup_takeover.Recipe, {"import-folder": "srv/import", "takeover-file": "over"})


PROFILE = """\
    [buildout]
    parts = takeover publish

    [takeover]
    recipe = allotment.recipes:backup.takeover
    import-folder = srv/import

    [publish]
    recipe = allotment.recipes:publish
    is-taken-over = ${takeover:is-taken-over}
    generation = ${takeover:generation}
"""


def test_what_the_requester_has_to_know_is_published(partition: Any) -> None:
    assert partition.run(PROFILE).outcome == "done"
    assert partition.published.values["is-taken-over"] == "false"
    restore(partition.folder)
    subprocess.run([partition.folder / "bin/takeover"], check=True, capture_output=True)
    assert partition.run().outcome == "done"
    assert partition.published.values == {"is-taken-over": "true", "generation": LAST}


STANDBY = """\
    [buildout]
    parts = import takeover

    [import]
    recipe = allotment.recipes:backup.import
    commands = true
    host = 127.0.0.1
    port = 2223
    sshd-binary = /usr/sbin/sshd
    keygen-binary = {tools[ssh-keygen]}
    rsync-binary = {tools[rsync]}

    [takeover]
    recipe = allotment.recipes:backup.takeover
    import-folder = ${{import:folder}}
"""


def test_who_has_taken_over_promises_no_imports_until_that_is_undone(partition: Any, tools: dict[str, str]) -> None:
    promise, key = (partition.folder / path for path in ("etc/promise/import.json", "etc/import/host_key"))
    assert partition.run(STANDBY.format(tools=tools)).outcome == "done"
    known = key.read_bytes()
    restore(partition.folder)
    subprocess.run([partition.folder / "bin/takeover"], check=True, capture_output=True)
    assert partition.run().outcome == "done"
    assert not promise.exists()
    (partition.folder / "srv/takeover.json").unlink()
    assert partition.run().outcome == "done"
    assert promise.exists()
    assert key.read_bytes() == known

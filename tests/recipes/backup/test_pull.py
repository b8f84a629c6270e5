# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 (bad input and its message stand side by side, as a table)
"""The recipe ``backup.pull``, which fetches from a real SSH server by rsync."""

import json
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allotment.errors import AllotmentError
from allotment_recipes.recipes import backup_pull
from allotment_recipes.resilience import retention
from allotment_recipes.resilience.generations import HEAD, held, is_name, made_at, name_at, remove, seal, verify

Until = Callable[..., None]


def promise(place: Path, name: str) -> int:
    file = json.loads((place / f"etc/promise/{name}.json").read_text())
    return subprocess.run(shlex.split(file["options"]["command"]), capture_output=True, check=False).returncode


@pytest.fixture
def two(backups: Any) -> Any:
    """An instance with one export and one that can pull, without logins."""
    backups.make_export()
    backups.come_near(backups.data / "etc/export/command")
    assert backups.export().returncode == 0
    backups.make_pull()
    return backups


def test_generations_share_what_has_not_changed(two: Any) -> None:
    (two.content / "two").write_text("2\n")
    with two.serving():
        assert (two.pull().stderr, promise(two.backup, "pull")) == ("", 0)
        assert two.pull().returncode == 0
        assert len(two.pulled()) == 1
        (two.content / "one").write_text("changed\n")
        (two.content / "three").write_text("3\n")
        two.export()
        (two.content / "three").unlink()
        two.export()
        two.pull()
        two.export()
        assert two.pull().stderr == ""
    first, second, third = two.pulled()
    assert third.name == two.exports()[-1].name
    assert sorted(path.name for path in (third / "files").iterdir()) == ["one", "two"]
    assert (second / "files/two").samefile(third / "files/two")
    assert not (first / "files/one").samefile(second / "files/one")
    assert (first / "files/one").read_text() == "1\n"
    assert [stat.S_IMODE(path.stat().st_mode) & 0o222 for path in (third / "files").iterdir()] == [0, 0]
    status = two.status(two.backup / "srv/pull")
    assert (status["result"], status["generation"], status["files"]) == ("done", third.name, 2)


def test_a_wrong_checksum_is_refused(two: Any) -> None:
    with two.serving():
        two.pull()
        (good,) = two.pulled()
        two.export()
        (two.exports()[-1] / "files/one").write_text("2\n")
        done = two.pull()
        assert done.returncode == 1
        assert (
            f"error: {two.backup}/srv/pull/.new/files/one has not the checksum that is listed. "
            "This copy is not used; make another one." in done.stderr
        )
        assert two.pulled() == [good]
        assert promise(two.backup, "pull") == 1
        assert two.status(two.backup / "srv/pull")["generation"] == good.name
        two.export()
        assert two.pull().returncode == 0
    assert promise(two.backup, "pull") == 0


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda copy: (copy / "files/one").write_text("2\n"), "files/one has not the checksum that is listed"),
        (lambda copy: (copy / "files/one").unlink(), "files/one is missing"),
        (lambda copy: (copy / "files/more").touch(), "files/more has not the checksum that is listed"),
        (lambda copy: (copy / "files/more").symlink_to("one"), "files/more is neither file nor folder"),
        (lambda copy: shutil.rmtree(copy / "files"), "files can't be read: No such file or directory"),
        (lambda copy: (copy / "SHA256SUMS").write_text(""), "SHA256SUMS is not the list that was made with the copy"),
        (lambda copy: (copy / "SHA256SUMS").unlink(), "SHA256SUMS is missing"),
        (lambda copy: (copy / HEAD).unlink(), "export.json is missing"),
        (lambda copy: (copy / HEAD).write_text("[" * 60000), "export.json is not what an export writes"),
        (lambda copy: os.truncate(copy / "SHA256SUMS", (1 << 28) + 1), "SHA256SUMS is larger than 268435456 bytes"),
        (lambda copy: (copy / HEAD).write_text("{}"), "export.json is not what an export writes"),
        (lambda copy: (copy / HEAD).write_text((copy / HEAD).read_text().replace('"format": 1', '"format": 2')), "export.json has format 2, not 1"),
        (lambda copy: (copy / HEAD).write_text((copy / HEAD).read_text().replace('"bytes": 2', '"bytes": 3')), "export.json tells another size"),
        (lambda copy: (copy / HEAD).write_text((copy / HEAD).read_text().replace('"files": 1', '"files": 3')), "export.json tells another size"),
    ],
)  # fmt: skip
def test_what_is_not_as_it_was_made_is_named(tmp_path: Path, spoil: Callable[[Path], object], problem: str) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files/one").write_text("1\n")
    made = seal(tmp_path, name_at(1e9))
    assert verify(tmp_path) == made
    spoil(tmp_path)
    with pytest.raises(AllotmentError, match=re.escape(f"{tmp_path}/{problem}")):
        verify(tmp_path)


def test_what_was_spoilt_here_is_fetched_anew_and_not_shared(two: Any) -> None:
    with two.serving():
        two.pull()
        spoilt = two.pulled()[0] / "files/one"
        before = spoilt.stat()
        spoilt.chmod(0o600)
        spoilt.write_text("X\n")
        os.utime(spoilt, ns=(before.st_atime_ns, before.st_mtime_ns))
        spoilt.chmod(before.st_mode)
        two.export()
        assert two.pull().returncode == 0
    assert (two.pulled()[-1] / "files/one").read_text() == "1\n"


def test_who_is_killed_leaves_no_generation_and_the_next_goes_on(two: Any, until: Until) -> None:
    (two.content / "large").write_bytes(os.urandom(1 << 20))
    two.export()
    slow = two.folder / "rsync"
    slow.write_text(
        f'#!/bin/sh\nfor last; do :; done\n{two.tools["rsync"]} "$@" && touch "$last/../arrived" && sleep 600\n'
    )
    slow.chmod(0o755)
    with two.serving():
        two.make_pull(rsync_binary=str(slow))
        process = subprocess.Popen([two.backup / "bin/pull"])
        until((two.backup / "srv/pull/arrived").exists)
        busy = two.pull()
        assert busy.returncode == 75
        assert busy.stderr.startswith(f"another one is at work, and holds {two.backup}/srv/pull/lock. ")
        (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.send_signal(signal.SIGKILL)
        process.wait()
        os.killpg(int(child), signal.SIGKILL)
        assert two.pulled() == []
        arrived = (two.backup / "srv/pull/.new/files/large").stat().st_ino
        two.make_pull()
        until(lambda: two.pull().returncode == 0)
    (made,) = two.pulled()
    assert (made / "files/large").stat().st_ino == arrived
    assert verify(made).files == 2


def test_two_pulls_at_once_make_one_generation(two: Any) -> None:
    with two.serving():
        both = [subprocess.Popen([two.backup / "bin/pull"], stderr=subprocess.DEVNULL) for _ in range(2)]
        assert sorted(process.wait(60) for process in both) in ([0, 0], [0, 75])
    assert len(two.pulled()) == 1


def test_a_pull_goes_by_ssh_and_only_to_the_host_key_that_is_known(two: Any) -> None:
    two.is_near = False
    two.make_pull()
    with two.serving():
        assert two.pull().stderr == ""
    (pulled,) = two.pulled()
    two.export()
    two.make_pull(host_key=two.public_key)
    with two.serving():
        done = two.pull()
    assert done.returncode == 1
    assert "error: status: the other side says: Host key verification failed." in done.stderr
    assert "Host key verification failed" in two.status(two.backup / "srv/pull")["error"]
    assert two.pulled() == [pulled]


def test_no_server_no_export_and_a_strange_answer_are_told(backups: Any) -> None:
    backups.make_export()
    backups.make_pull()
    assert "Connection refused. Look at its log, its address and its host key." in backups.pull().stderr
    backups.come_near(backups.data / "etc/export/command")
    backups.make_pull()
    with backups.serving():
        assert "error: there is no whole export yet. Wait for the first one, or run it there." in backups.pull().stderr
        for text, problem in (
            ("[]", "is not a status"),
            ('{"format": 2}', "has not format 1"),
            ('{"format": 1}', "is not a status"),
        ):
            (backups.data / "etc/export/command").write_text(f"#!/bin/sh\necho '{text}'\n")
            assert f"error: the export's status {problem}. " in backups.pull().stderr


def test_what_is_not_there_yet_is_no_failure_until_it_is_late(backups: Any) -> None:
    backups.make_export()
    backups.come_near(backups.data / "etc/export/command")
    backups.make_import()
    backups.make_pull()
    backups.make_push()
    for name, run in (("pull", backups.pull), ("push", backups.push)):
        assert run().returncode == 1
        assert promise(backups.backup, name) == 0
        day = time.time() - 3 * 86400
        os.utime(backups.backup / "bin" / name, (day, day))
        assert promise(backups.backup, name) == 1
    assert backups.status(backups.backup / "srv/pull")["result"] == ""


def test_a_long_answer_is_cut_and_obeyed_by_no_terminal(two: Any) -> None:
    command = two.data / "etc/export/command"
    command.write_text("#!/bin/sh\nhead -c 9999999 /dev/zero\nhead -c 9999999 /dev/zero >&2\nprintf '\\033[2J' >&2\n")
    done = two.pull()
    assert "error: the export's status is not a status. " in done.stderr
    assert "?[2J" in done.stderr
    assert "\033" not in done.stderr
    assert len(done.stderr) < 1 << 17


def test_commands_run_after_each_pull_also_when_nothing_is_new(two: Any) -> None:
    two.make_pull(after=f"echo $BACKUP_FOLDER >> {two.folder}/told")
    with two.serving():
        two.pull()
        two.pull()
        assert (two.folder / "told").read_text().split() == [str(two.pulled()[0])] * 2
        two.make_pull(after="exit 3")
        assert two.pull().returncode == 1
    status = two.status(two.backup / "srv/pull")
    assert (status["result"], status["generation"]) == ("failed", two.pulled()[0].name)


def test_old_generations_go_unless_somebody_reads_them(two: Any) -> None:
    import fcntl

    two.make_pull(retention="1")
    with two.serving():
        two.pull()
        (first,) = two.pulled()
        (two.backup / "srv/pull/.removed-half").mkdir()
        handle = os.open(first, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_SH)
        two.export()
        two.pull()
        assert len(two.pulled()) == 2
        os.close(handle)
        two.pull()
    assert [path.name for path in two.pulled()] == [two.exports()[-1].name]
    assert not list((two.backup / "srv/pull").glob(".removed*"))


def test_who_comes_to_a_copy_that_is_removed_just_then_gets_the_next_one(tmp_path: Path) -> None:
    names = [name_at(1e9 * number) for number in (1, 2)]
    for name in names:
        (tmp_path / name).mkdir()

    def newest() -> str:
        found = min(path.name for path in tmp_path.iterdir())
        if found == names[0]:
            remove(tmp_path, found)  # after it was found, before it is held
        return found

    with held(tmp_path, newest) as copy:
        assert copy.name == names[1]
        remove(tmp_path, copy.name)
        assert copy.is_dir()
    with pytest.raises(FileNotFoundError), held(tmp_path, lambda: "gone"):
        pass


def test_after_the_clock_went_back_the_export_is_still_newer(two: Any) -> None:
    (last,) = two.exports()
    future = name_at(time.time() + 1e6)
    shutil.move(last, last.with_name(future))
    two.export()
    assert two.exports()[-1].name > future


NAMES = [name_at(1_750_000_000.0 + 6 * 3600 * count) for count in range(4 * 400)]


@pytest.mark.parametrize(
    ("text", "count", "oldest"),
    [
        ("14", 14, -14),
        ("1 daily", 1, -1),
        ("14 daily", 14, None),
        ("8 weekly", 8, None),
        ("12 monthly", 12, None),
        ("9 yearly", 2, None),
        ("24h", 5, -5),
        ("2W", 57, -57),
        ("1M", 121, -121),
        ("3D,  2", 13, -13),
        ("2 daily, 2 weekly, 2 monthly", 3, None),
    ],
)  # fmt: skip
def test_retention_keeps_what_it_says(text: str, count: int, oldest: int | None) -> None:
    kept = retention.kept(NAMES, retention.parse(text), made_at(NAMES[-1]))
    assert NAMES[-1] in kept
    assert len(kept) == count
    assert oldest is None or min(kept) == NAMES[oldest]


@given(st.lists(st.sampled_from(NAMES)), st.text())
def test_retention_never_drops_the_newest(names: list[str], text: str) -> None:
    try:
        rules = retention.parse(text)
    except ValueError:
        rules = ()
    kept = retention.kept(names, rules, made_at(NAMES[-1]) + 1e9)
    assert kept <= set(names)
    assert not names or max(names) in kept


@given(st.floats(0, 4e9))
def test_names_tell_the_time(moment: float) -> None:
    name = name_at(moment)
    assert is_name(name)
    assert abs(made_at(name) - moment) < 1e-5
    assert name_at(moment, after=name) > name
    assert not is_name(name[:-1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"retention": "some"}, "[pull] retention: 'some' does not say what is kept. Write it like 14 daily, 8 weekly, or like 2W."),
        ({"retention": "0"}, "[pull] retention: '0' does not say what is kept."),
        ({"host": "-oProxyCommand=id"}, "[pull] host: '-oProxyCommand=id' can't be one. Write what the other side publishes."),
        ({"user": "a b"}, "[pull] user: 'a b' can't be one."),
        ({"port": "70000"}, "[pull] port: 70000 is not a port."),
        ({"host_key": "x"}, "[pull] host-key: 'x' is not an ed25519 key."),
        ({"ssh_binary": "ssh"}, "[pull] ssh-binary: ssh is not a whole path."),
        ({"rsync_binary": "/no/rsync"}, "[pull] rsync-binary: /no/rsync can't be run."),
        ({"frequency": "x"}, "[pull] frequency: 'x' is neither five fields of cron"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(backups: Any, options: dict[str, str], message: str) -> None:
    backups.make_export()
    with pytest.raises(AllotmentError, match=re.escape(message)):
        backups.make_pull(**options)


def test_a_second_run_changes_nothing_and_the_data_stays(backups: Any) -> None:
    backups.make_export()
    made = backups.make_pull(folder="copies")
    before = {path: path.read_bytes() for path in made.paths}
    assert backups.make_pull(folder="copies").paths == made.paths
    assert {path: path.read_bytes() for path in made.paths} == before
    assert sorted(str(path.relative_to(backups.backup)) for path in made.paths) == [
        "bin/pull", "etc/cron.d/pull", "etc/promise/pull.json", "etc/pull/known_hosts", "etc/pull/ssh",
    ]  # fmt: skip
    assert backup_pull.Recipe.kept(made.raw) == [str(backups.backup / "copies")]

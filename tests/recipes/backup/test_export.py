# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 (bad input and its message stand side by side, as a table)
"""The recipe ``backup.export``, with a real SSH server."""

import json
import os
import re
import shlex
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from allotment.errors import AllotmentError
from allotment_recipes.crontab import Job, read_entries
from allotment_recipes.programs import backup_send
from allotment_recipes.recipes import backup_export
from allotment_recipes.resilience.generations import Generation, name_at
from allotment_recipes.resilience.program import rsync_words
from allotment_recipes.resilience.status import noted

Until = Callable[..., None]


def promise(place: Path, name: str) -> "subprocess.CompletedProcess[str]":
    file = json.loads((place / f"etc/promise/{name}.json").read_text())
    assert file["type"] == "check_command_execute"
    return subprocess.run(shlex.split(file["options"]["command"]), capture_output=True, text=True, check=False)


def test_each_export_is_whole_listed_and_told(backups: Any) -> None:
    backups.make_export(commands="echo $WORD > two\npwd > three", environment="WORD=it is", keep="2")
    assert promise(backups.data, "export").stdout == "not begun: no copy yet, 0 files, 0 bytes\n"
    os.utime(backups.data / "bin/export", (1e9, 1e9))  # for long nobody has made one
    assert (
        promise(backups.data, "export").stderr
        == f"error: there is no whole copy yet. See {backups.data}/srv/export/status.json.\n"
    )
    for count in (1, 2, 2):
        assert backups.export().returncode == 0
        assert len(backups.exports()) == count
    last = backups.exports()[-1]
    assert (last / "files/two").read_text() == "it is\n"
    assert (last / "files/three").read_text().strip().endswith("srv/export/.new/files")
    assert stat.S_IMODE(last.stat().st_mode) == 0o700
    subprocess.run(["sha256sum", "--quiet", "--strict", "-c", "SHA256SUMS"], cwd=last, check=True)
    status = backups.status(backups.data / "srv/export")
    assert status.pop("began") > 1e9
    assert status.pop("seconds") >= 0
    size = sum(path.stat().st_size for path in (last / "files").iterdir())
    assert status == {"format": 1, "result": "done", "error": "", "generation": last.name, "files": 2, "bytes": size}
    told = promise(backups.data, "export")
    assert (told.returncode, told.stdout) == (0, f"done: {last.name}, 2 files, {size} bytes\n")
    assert not (backups.data / "srv/export/.new").exists()


def test_a_failed_export_leaves_the_last_one(backups: Any) -> None:
    backups.make_export(commands="echo 1 > one")
    backups.export()
    (kept,) = backups.exports()
    for commands, timeout, error in (
        ("echo 2 > one\nfalse\ntouch never", "300", "false failed with exit code 1"),
        ("kill -9 $$", "300", "kill -9 $$ was killed by signal 9"),
        ("ln -s /etc/passwd one", "300", f"{backups.data}/srv/export/.new/files/one is neither file nor folder"),
        ("sleep 600 & wait", "0.3", "sleep 600 & wait did not end within 0.3 seconds"),
    ):
        backups.make_export(commands=commands, timeout=timeout)
        done = backups.export()
        assert done.returncode == 1
        assert f"error: {error}. " in done.stderr
        assert backups.exports() == [kept]
        assert not (backups.data / "srv/export/.new").exists()
        status = backups.status(backups.data / "srv/export")
        assert (status["result"], status["generation"]) == ("failed", kept.name)
        assert status["error"].startswith(error)
        assert f"error: failed: {error}" in promise(backups.data, "export").stderr


def test_who_is_killed_leaves_the_last_one_and_nobody_begins_while_its_command_writes(
    backups: Any, until: Until
) -> None:
    backups.make_export()
    backups.export()
    (kept,) = backups.exports()
    gate = backups.folder / "gate"
    backups.make_export(commands=f"touch half {gate}.there; while ! test -e {gate}; do sleep 0.02; done")
    process = subprocess.Popen([backups.data / "bin/export"])
    until(Path(f"{gate}.there").exists)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert backups.status(backups.data / "srv/export")["result"] == "working"
    assert backups.exports() == [kept]
    backups.make_export()
    busy = backups.export()
    problem = f"another one is at work, and holds {backups.data}/srv/export/lock"
    assert (busy.returncode, busy.stderr) == (75, f"{problem}. Wait until it has ended, and try again.\n")
    gate.touch()
    until(lambda: backups.export().returncode == 0)
    assert [path.name for path in (backups.exports()[-1] / "files").iterdir()] == ["one"]


def test_old_exports_are_refused_by_the_promise(backups: Any) -> None:
    backups.make_export(max_age="0.001")
    backups.export()
    assert "error: the last whole copy is 0.0 hours old. See" in promise(backups.data, "export").stderr


def test_exports_from_the_future_are_refused_by_the_promise(backups: Any) -> None:
    backups.make_export()
    with noted(backups.data / "srv/export/status.json") as whole:
        whole(Generation(name_at(time.time() + 7200 + 36), 1, 2))
    assert (
        "error: the last whole copy comes from the future, by 2.0 hours: look at the clocks. "
        in promise(backups.data, "export").stderr
    )


def test_on_a_full_disk_the_last_export_stays(backups: Any) -> None:
    backups.make_export()
    backups.export()
    (kept,) = backups.exports()
    script = backups.data / "bin/export"
    script.write_text(script.read_text().replace("exec ", "ulimit -f 64\nexec ", 1))
    (backups.content / "large").write_bytes(bytes(1 << 20))
    done = backups.export()
    assert done.returncode == 1
    assert backups.exports() == [kept]
    assert not (backups.data / "srv/export/.new").exists()
    assert backups.status(backups.data / "srv/export")["result"] == "failed"


def test_files_of_any_name_are_listed(backups: Any) -> None:
    for name in (b"a\nb", b"c\\d", b"e\rf", b"\xff", b" g "):
        (Path(os.fsdecode(os.fsencode(backups.content) + b"/" + name))).write_text("x")
    (backups.content / "folder/in").mkdir(parents=True)
    backups.make_export()
    assert backups.export().returncode == 0
    last = backups.exports()[-1]
    subprocess.run(["sha256sum", "--quiet", "--strict", "-c", "SHA256SUMS"], cwd=last, check=True)
    backups.come_near(backups.data / "etc/export/command")
    backups.make_pull()
    assert backups.pull().stderr == ""
    assert {path.name for path in (backups.pulled()[0] / "files").iterdir()} == {
        path.name for path in (last / "files").iterdir()
    }


def test_the_server_tells_its_status_sends_the_last_export_and_nothing_else(backups: Any, tmp_path: Path) -> None:
    backups.make_export()
    backups.make_pull()
    ssh = backups.backup / "etc/pull/ssh"
    with backups.serving():
        early = subprocess.run(
            ["rsync", "-rtp", "-e", ssh, "peer:last/", f"{tmp_path}/got"], capture_output=True, text=True, check=False
        )
        assert "error: there is no whole export yet. Wait for the first one." in early.stderr
        backups.export()
        assert json.loads(backups.ask("status").stdout)["generation"] == backups.exports()[0].name
        refused = backups.ask("id")
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "error: this key can read the status and the last export only. Ask for one of them." in refused.stderr
        for option in (["-W", f"127.0.0.1:{backups.port}"], ["-s", "sftp"]):
            assert backups.ask(*option).returncode
        subprocess.run(["rsync", "-rtp", "-e", ssh, "peer:last/", f"{tmp_path}/got"], check=True)
        assert (tmp_path / "got/files/one").read_text() == "1\n"
        (backups.data / "etc/export/authorized_keys").write_text("")
        assert "Permission denied (publickey)" in backups.ask("status").stderr


@pytest.mark.parametrize("text", ["id", "", "status x", "sh -c id", "rsync --server . last/", "'", "status; id"])
def test_other_commands_are_refused(capsys: Any, monkeypatch: Any, tmp_path: Path, text: str) -> None:
    monkeypatch.setenv("SSH_ORIGINAL_COMMAND", text)
    before = os.umask(0o077)
    try:
        assert backup_send.main(["--folder", str(tmp_path), "--rsync", "/bin/false", "--transfer-timeout", "9"]) == 1
    finally:
        os.umask(before)
    told = capsys.readouterr()
    assert told.out == ""
    assert "error: this key can read the status and the last export only. Ask for one of them." in told.err


def test_rsync_sends_nothing_but_the_last_export(backups: Any, tmp_path: Path) -> None:
    backups.make_export()
    backups.export()
    backups.come_near(backups.data / "etc/export/command")

    def rsync(*words: str) -> "subprocess.CompletedProcess[str]":
        words = ("rsync", "-rtp", "-e", str(backups.folder / "near-ssh"), *words)
        return subprocess.run(words, capture_output=True, text=True, check=False)

    for source in ("peer:/etc/passwd", "peer:last/../..", "peer:.", "peer:last/files/"):
        assert rsync(source, f"{tmp_path}/got").returncode
    assert rsync(f"{backups.content}/", "peer:last/").returncode
    assert rsync("--remove-source-files", "peer:last/", f"{tmp_path}/got").returncode
    (tmp_path / "secret").write_text("the secret\n")
    done = rsync(f"--filter=: {tmp_path}/secret", "peer:last/", f"{tmp_path}/got")
    assert done.returncode
    assert "filter rule" not in done.stderr
    log = backups.data / "srv/export/rsync.log"
    assert "filter rule" in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert not (tmp_path / "got").exists()


def test_folders_that_are_read_only_or_very_deep_go() -> None:
    program = (
        "import os, pathlib, sys, tempfile\n"
        "from allotment_recipes.resilience.generations import remove_tree\n"
        "from allotment_recipes.resilience.program import finish\n"
        "os.geteuid() or os.setuid(65534)\n"
        "top = pathlib.Path(tempfile.mkdtemp(), 'top')\n"
        "deep = top / 'shut' / '/'.join('a' * 1050)\n"
        "os.makedirs(deep) if sys.setrecursionlimit(9999) is None else 0\n"
        "sys.setrecursionlimit(1000)\n"
        "(top / 'shut').chmod(0o500)\n"
        "code = finish(lambda: remove_tree(top))\n"
        "sys.exit(code or top.exists())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "words",
    [
        "rsync --server --sender -tpre.iLsfxCIvu --copy-links . last/",
        "rsync --server --sender -vvtpre.iLsfxCIvu . last/",
        "rsync --server --sender -tprLe.iLsfxCIvu . last/",
        "rsync --server --sender -tpre.iLsfxCIvu --files-from=/etc/passwd . last/",
        "rsync --server --sender -stpre.iLsfxCIvu",
        "rsync --server --sender -tpre.iLsfxCIvu . last/ /etc",
        "rsync --server --sender --daemon . last/",
        "rsync --server --sender -tpre.iLsfxCIvu . ../last/",
        "rsync --server -tpre.iLsfxCIvu . last/",
        "rsync",
        "",
    ],
)
def test_other_words_for_rsync_are_refused(words: str) -> None:
    assert rsync_words(words.split(), "last/") is None
    good = ["rsync", "--server", "--sender", "-tpre.iLsfxCIvu", "--timeout=9", ".", "last/"]
    ours = ["--timeout=600", "--msgs2stderr", ".", "./"]
    assert rsync_words(good, "last/") == ["--server", "--sender", "-tpre.iLsfxCIvu", "--timeout=9", *ours]


def test_each_option_is_used_and_a_second_run_changes_nothing(backups: Any) -> None:
    options = {
        "folder": "copies",
        "frequency": "30 2 * * *",
        "time_zone": "Asia/Tokyo",
        "cron_entries": "jobs",
        "services": "run",
    }
    made = backups.make_export(**options)
    host_key = (backups.data / "etc/export/host_key").read_text()
    before = {path: path.read_bytes() for path in made.paths}
    assert sorted(str(path.relative_to(backups.data)) for path in made.paths) == [
        "bin/export", "etc/export/authorized_keys", "etc/export/command", "etc/export/sshd_config", "etc/promise/export.json", "jobs/export", "run/export",
    ]  # fmt: skip
    (job,) = read_entries("export", (backups.data / "jobs/export").read_text())
    assert isinstance(job, Job)
    assert (job.schedule.text, job.command, job.zone) == ("30 2 * * *", str(backups.data / "bin/export"), "Asia/Tokyo")
    assert made.raw["folder"] == str(backups.data / "copies")
    assert backups.make_export(**options).paths == made.paths
    assert {path: path.read_bytes() for path in made.paths} == before
    assert (backups.data / "etc/export/host_key").read_text() == host_key
    assert host_key not in str(made.raw)
    assert backup_export.Recipe.kept(made.raw) == [str(backups.data / "copies")]
    service = (backups.data / "run/export").read_text()
    backups.make_export(**options, host="127.0.0.2")
    assert (backups.data / "run/export").read_text() != service


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"commands": " "}, "[export] commands: is empty. Write commands that write files, such as: pg_dump -f db.sql."),
        ({"keep": "0"}, "[export] keep: 0 is not above zero. Write it like 2."),
        ({"port": "0"}, "[export] port: 0 is not a port. Write a number from 1 to 65535."),
        ({"host": "here"}, "[export] host: 'here' is not an address. Write it like 127.0.0.1."),
        ({"sshd_binary": "sshd"}, "[export] sshd-binary: sshd is not a whole path."),
        ({"rsync_binary": "/no/rsync"}, "[export] rsync-binary: /no/rsync can't be run."),
        ({"keygen_binary": "/no/keygen"}, "[export] keygen-binary: /no/keygen can't be run."),
        ({"authorized_keys": "me"}, "[export] authorized-keys: 'me' is not an ed25519 key."),
        ({"frequency": "sometimes"}, "[export] frequency: 'sometimes' is neither five fields of cron"),
        ({"time_zone": "Mars"}, "[export] time-zone: 'Mars' is not a time zone"),
        ({"timeout": "0"}, "[export] timeout: 0 is not above zero. Write seconds, like 3600."),
        ({"max_age": "-1"}, "[export] max-age: -1 is not above zero."),
        ({"environment": "A"}, "[export] environment: there is no section 'A'."),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(backups: Any, options: dict[str, str], message: str) -> None:
    with pytest.raises(AllotmentError, match=re.escape(message)):
        backups.make_export(**options)
    assert not (backups.data / "etc").exists()

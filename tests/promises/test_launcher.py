# SPDX-License-Identifier: Apache-2.0
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from allotment_promises import Metric
from allotment_promises.history import FOLDER, NAME, History
from allotment_promises.launcher import Launcher, LauncherError
from allotment_promises.result import MESSAGE_LIMIT, PromiseResult

Write = Callable[..., Path]
Eventually = Callable[[Callable[[], object]], None]


def _by_name(results: list[PromiseResult]) -> dict[str, tuple[str, str]]:
    return {result.name: (str(result.status), result.message) for result in results}


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def _children(parent: int | None) -> list[int]:
    """Return the pids of a process's children, ended ones that nobody has reaped included."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with contextlib.suppress(OSError):  # it may end while we look
                if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                    found.append(int(folder.name))
    return found


def test_partition_without_promises_has_no_results(launcher: Launcher, partition: Path, tmp_path: Path) -> None:
    assert launcher.run(partition) == []
    assert launcher.run(tmp_path / "nowhere") == []


def test_results_come_ordered_with_time_and_metrics(launcher: Launcher, partition: Path, promise: Write) -> None:
    before = time.time()
    for name in ("d", "b", "c", "a"):
        promise(name, how="meet")
    results = launcher.run(partition)
    assert [result.name for result in results] == ["a", "b", "c", "d"]
    assert all(before <= result.started <= time.time() and 0 <= result.seconds < 20 for result in results)
    assert results[0].metrics == {"peers": Metric(4.0)}


def test_promises_of_a_partition_run_side_by_side(launcher: Launcher, partition: Path, promise: Write) -> None:
    for name in ("a", "b", "c", "d"):
        promise(name, how="meet")
    assert {status for status, _ in _by_name(launcher.run(partition)).values()} == {"passed"}


def test_only_the_named_promises_run(launcher: Launcher, partition: Path, executable: Write) -> None:
    for name in ("one", "two"):
        executable(name, f"#!/bin/sh\ntouch {name}\n")
    assert _by_name(launcher.run(partition, names=["two", "tow"])) == {
        "two": ("passed", "ended with exit code 0"),
        "tow": ("error", "etc/promise has no 'tow'. Did you mean 'two'? Valid: one, two."),
    }
    assert not (partition / "one").exists()


def test_hanging_promise_fails_alone(launcher: Launcher, partition: Path, promise: Write) -> None:
    promise("hangs", how="sleep", timeout=0.3)
    promise("fine", "check_file_state", filename="etc")
    assert _by_name(launcher.run(partition)) == {
        "fine": ("passed", "etc is not-empty"),
        "hangs": ("failed", "did not end within 0.3 s"),
    }


def test_promise_that_holds_the_interpreter_fails_alone(launcher: Launcher, partition: Path, promise: Write) -> None:
    promise("a-holds", how="hold_interpreter", timeout=0.3)
    for name in ("b", "c"):
        promise(name, "check_file_state", filename="etc")
    results = _by_name(launcher.run(partition))
    assert results["a-holds"] == ("failed", "did not end within 0.3 s")
    assert results["b"] == results["c"] == ("passed", "etc is not-empty")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("crash", "the promise's process was killed by SIGSEGV before it had a result"),
        ("crash_in_real_time", "the promise's process was killed by signal 37 before it had a result"),
        ("leave", "the promise's process ended with exit code 3 before it had a result"),
    ],
)
def test_crashing_promise_is_an_error_and_the_others_have_results(
    launcher: Launcher, partition: Path, promise: Write, how: str, message: str
) -> None:
    promise("m-crashes", how=how)
    for name in ("a", "z"):
        promise(name, "check_file_state", filename="etc")
    assert _by_name(launcher.run(partition)) == {
        "a": ("passed", "etc is not-empty"),
        "m-crashes": ("error", message),
        "z": ("passed", "etc is not-empty"),
    }


@pytest.mark.parametrize(
    ("how", "start"),
    [
        ("raise_error", "KeyError: 'nothing' (misbehaving.py, line "),
        ("system_exit", "SystemExit: 0 (misbehaving.py, line "),
        ("no_measurement", "sense returned str, not a Measurement. Return one."),
    ],
)
def test_exception_is_an_error(launcher: Launcher, partition: Path, promise: Write, how: str, start: str) -> None:
    promise("bad", how=how)
    status, message = _by_name(launcher.run(partition))["bad"]
    assert status == "error"
    assert message.startswith(start)


@pytest.mark.parametrize(
    ("type", "options", "message"),
    [
        (
            "misbehave",
            {"hwo": "sleep"},
            "etc/promise/web.json: hwo: unknown option. Did you mean 'how'? Valid: file, how, token.",
        ),
        (
            "misbehave",
            {"file": "state"},
            "etc/promise/web.json: how: missing option. Add 'how = ...'.",
        ),
        (
            "check_socket_listening",
            {"host": "127.0.0.1", "port": "http"},
            "etc/promise/web.json: port: 'http' is not a whole number. Write it like 8080.",
        ),
        (
            "check_socket_listening",
            {"host": "127.0.0.1", "port": 0},
            "etc/promise/web.json: port: 0 is no TCP port. Write one between 1 and 65535.",
        ),
        (
            "gone",
            {},
            "etc/promise/web.json: promise type 'gone' of misbehaving 1.0 can't be used: no_such_module:Promise can't"
            " be imported: No module named 'no_such_module'. Install what it needs, or correct the name."
            " Mend or update the plugin.",
        ),
    ],
)
def test_wrong_options_name_file_option_and_fix(
    launcher: Launcher, partition: Path, promise: Write, type: str, options: dict[str, object], message: str
) -> None:
    promise("web", type, **options)
    assert _by_name(launcher.run(partition)) == {"web": ("error", message)}


def test_unknown_type_suggests_the_nearest(launcher: Launcher, partition: Path, promise: Write) -> None:
    promise("web", "check_url_avialable")
    status, message = _by_name(launcher.run(partition))["web"]
    assert status == "error"
    assert message.startswith("etc/promise/web.json: unknown promise type 'check_url_avialable'")
    assert "Did you mean 'check_url_available'? Valid: " in message


def test_executable_is_a_promise(launcher: Launcher, partition: Path, executable: Write) -> None:
    executable("good", "#!/bin/sh\necho all is well\npwd\n")
    executable("bad", "#!/bin/sh\necho not well >&2\nexit 4\n")
    executable("killed", "#!/bin/sh\nkill -9 $$\n")
    executable("text", "no program\n")
    assert _by_name(launcher.run(partition)) == {
        "good": ("passed", f"all is well\n{partition}"),
        "bad": ("failed", "ended with exit code 4: not well"),
        "killed": ("failed", "was killed by SIGKILL"),
        "text": (
            "error",
            "etc/promise/text can't be started: Exec format error."
            " Begin it with a line such as #!/bin/sh that names a program of this machine.",
        ),
    }


def test_broken_files_are_errors_and_others_run(launcher: Launcher, partition: Path, promise: Write) -> None:
    promise("fine", "check_file_state", filename="etc")
    (partition / "etc/promise/bad.json").write_text("{")
    statuses = {name: status for name, (status, _) in _by_name(launcher.run(partition)).items()}
    assert statuses == {"fine": "passed", "bad": "error"}


def test_output_is_bounded_and_shown_without_control_characters(
    launcher: Launcher, partition: Path, promise: Write, executable: Write
) -> None:
    promise("noise", how="noise")
    executable("flood", "#!/bin/sh\nhead -c 3000000 /dev/zero | tr '\\0' y\necho the end\nexit 1\n")
    results = _by_name(launcher.run(partition))
    for _, message in results.values():
        assert len(message) <= MESSAGE_LIMIT
        assert "\x1b" not in message
    assert results["flood"][1].endswith("the end")


def test_secret_option_is_in_no_message_and_no_file(launcher: Launcher, partition: Path, promise: Write) -> None:
    path = promise("leaks", how="leak", token={"$secret": "planted-in-options"})
    status, message = _by_name(launcher.run(partition))["leaks"]
    path.unlink()
    assert (status, message.partition(" (")[0]) == ("error", "ValueError: token is <secret>")
    with History(partition) as history:
        assert [item.message.partition(" (")[0] for item in history.newest("leaks", 2)] == [message.partition(" (")[0]]
    written = b"".join(file.read_bytes() for file in partition.rglob("*") if file.is_file())
    assert b"planted-in-options" not in written


def test_processes_hold_nothing_of_the_agents_environment(
    launcher: Launcher, partition: Path, executable: Write
) -> None:
    executable("environment", "#!/bin/sh\nenv\ncat /proc/$PPID/environ | tr '\\0' ' '\n")
    (result,) = launcher.run(partition)
    assert "PATH=" in result.message
    assert "correct-horse-battery" not in result.message
    assert launcher.zygote is not None
    assert b"correct-horse-battery" not in Path(f"/proc/{launcher.zygote}/environ").read_bytes()


def test_daemon_that_a_promise_leaves_is_killed(launcher: Launcher, partition: Path, promise: Write) -> None:
    promise("daemon", how="daemon")
    assert _by_name(launcher.run(partition))["daemon"] == ("passed", "left a daemon")
    assert not _is_alive(int((partition / "pid").read_text()))


def test_children_of_a_hanging_executable_are_killed(launcher: Launcher, partition: Path, executable: Write) -> None:
    executable("hangs", "#!/bin/sh\nsetsid sleep 300 &\necho $! > first\nsleep 300 &\necho $! > second\nexit 0\n")
    assert _by_name(launcher.run(partition))["hangs"][0] == "passed"
    assert not _is_alive(int((partition / "first").read_text()))
    assert not _is_alive(int((partition / "second").read_text()))


def test_anomaly_needs_two_failures_of_three_and_one_success_mends_it(
    launcher: Launcher, partition: Path, promise: Write, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    promise("flaps", how="from_file", file=str(state))
    found = []
    for text in ("ok", "bad", "ok", "bad", "bad", "bad", "ok", "bad"):
        state.write_text(text)
        found += launcher.run(partition, "anomaly")
    assert [str(result.status) for result in found] == [
        *("passed", "passed", "passed", "failed", "failed", "failed", "passed", "failed")
    ]
    assert found[1].message == "failed 1 of 3 times, tolerated below 2: bad"


def test_a_promise_file_counts_failures_otherwise(
    launcher: Launcher, partition: Path, promise: Write, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    for name, options in (("hangs", {"how": "sleep"}), ("flaps", {"how": "from_file", "file": str(state)})):
        promise(name, timeout=0.1 if name == "hangs" else 20.0, fields={"failures": 3, "window": 5}, **options)
    found = []
    for text in ("bad", "bad", "ok", "bad"):
        state.write_text(text)
        found.append({name: status for name, (status, _) in _by_name(launcher.run(partition, "anomaly")).items()})
    assert [item["flaps"] for item in found] == ["passed", "passed", "passed", "failed"]
    assert [item["hangs"] for item in found] == ["passed", "passed", "failed", "failed"]


def test_first_failure_counts_in_test_mode(launcher: Launcher, partition: Path, promise: Write, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("bad")
    promise("flaps", how="from_file", file=str(tmp_path / "state"))
    assert _by_name(launcher.run(partition, "test")) == {"flaps": ("failed", "bad")}


def test_history_of_removed_promises_is_dropped(launcher: Launcher, partition: Path, promise: Write) -> None:
    path = promise("old", "check_file_state", filename="etc")
    promise("kept", "check_file_state", filename="etc")
    launcher.run(partition)
    path.unlink()
    launcher.run(partition, names=["kept"])
    with History(partition) as history:
        assert history.names() == ["kept", "old"]
        launcher.run(partition)
        assert history.names() == ["kept"]


def test_a_failure_that_can_not_be_remembered_is_not_tolerated(
    launcher: Launcher, partition: Path, promise: Write, tmp_path: Path
) -> None:
    (tmp_path / "state").write_text("bad")
    promise("flaps", how="from_file", file=str(tmp_path / "state"))
    promise("fine", "check_file_state", filename="etc")
    folder = partition / ".allotment/promises"
    folder.parent.mkdir()
    folder.write_text("a file where the folder should be")
    problem = f"no failure is tolerated while its history can't be kept: {folder}: File exists"
    assert _by_name(launcher.run(partition, "anomaly")) == {
        "flaps": ("failed", f"failed 1 of 3 times, tolerated below 2: bad; {problem}"),
        "fine": ("passed", "etc is not-empty"),
    }
    folder.unlink()
    assert _by_name(launcher.run(partition, "anomaly"))["flaps"][0] == "passed"
    assert _by_name(launcher.run(partition, "anomaly"))["flaps"] == ("failed", "bad")


def test_results_come_even_when_the_history_has_no_place(launcher: Launcher, partition: Path, promise: Write) -> None:
    promise("fine", "check_file_state", filename="etc")
    (partition / ".allotment").write_text("a file where the folder should be")
    assert _by_name(launcher.run(partition)) == {"fine": ("passed", "etc is not-empty")}


def test_that_the_history_has_no_place_is_logged_once(
    launcher: Launcher, partition: Path, executable: Write, caplog: pytest.LogCaptureFixture
) -> None:
    (partition / ".allotment").write_text("no folder")
    executable("quick", "#!/bin/sh\n")
    executable("slow", "#!/bin/sh\nsleep 1\n")
    for _ in range(2):
        assert len(launcher.run(partition)) == 2
    assert len(caplog.records) == 1
    assert "the history of promises can't be kept" in caplog.text


def test_many_partitions_run_at_the_same_time(launcher: Launcher, tmp_path: Path) -> None:
    folders = [tmp_path / f"part{number}" for number in range(12)]
    for folder in folders:
        (folder / "etc/promise").mkdir(parents=True)
        (folder / "etc/promise/own").write_text(f"#!/bin/sh\necho {folder.name}\n")
        (folder / "etc/promise/own").chmod(0o755)
    with ThreadPoolExecutor(12) as pool:
        for folder, (result,) in zip(folders, pool.map(launcher.run, folders), strict=True):
            assert result.message == folder.name


def test_results_come_without_waiting_for_what_hangs(launcher: Launcher, partition: Path, promise: Write) -> None:
    promise("hangs", how="sleep", timeout=60.0)
    for name in ("a", "b"):
        promise(name, "check_file_state", filename="etc")
    launcher.run(partition, names=["a"])
    began = time.monotonic()
    groups = launcher.groups(partition)
    assert _by_name(next(filter(None, groups))) == {
        "a": ("passed", "etc is not-empty"),
        "b": ("passed", "etc is not-empty"),
    }
    assert time.monotonic() - began < 20.0
    groups.close()


def test_who_waits_for_what_hangs_alone_is_told_so(launcher: Launcher, partition: Path, promise: Write) -> None:
    promise("hangs", how="sleep", timeout=60.0)
    promise("a", "check_file_state", filename="etc")
    launcher.run(partition, names=["a"])
    began = time.monotonic()
    groups = launcher.groups(partition, names=["hangs"])
    assert next(groups) == []
    assert time.monotonic() - began < 20.0
    groups.close()


def test_what_is_given_up_is_ended(
    launcher: Launcher, partition: Path, promise: Write, executable: Write, eventually: Eventually
) -> None:
    executable("slow", "#!/bin/sh\necho $$ > pid\nexec sleep 300\n")
    promise("a", "check_file_state", filename="etc")
    groups = launcher.groups(partition)
    assert [result.name for result in next(filter(None, groups))] == ["a"]
    eventually(lambda: (partition / "pid").exists() and (partition / "pid").read_text())
    groups.close()
    eventually(lambda: not _is_alive(int((partition / "pid").read_text())))


def test_what_had_a_result_is_not_run_again_when_the_rest_is(
    partition: Path, executable: Write, eventually: Eventually
) -> None:
    executable("quick", "#!/bin/sh\necho >> quick\n")
    executable("slow", "#!/bin/sh\n[ -e pid ] && exit 0\necho $$ > pid\nexec sleep 300\n")
    with Launcher() as launcher:
        groups = launcher.groups(partition)
        assert [result.name for result in next(filter(None, groups))] == ["quick"]
        eventually(lambda: (partition / "pid").exists() and (partition / "pid").read_text())
        (keeper,) = _children(launcher.zygote)
        os.kill(keeper, signal.SIGKILL)
        assert [result.name for group in groups for result in group] == ["slow"]
    assert (partition / "quick").read_text() == "\n"


def test_idle_zygote_ends_and_the_next_batch_starts_another(
    partition: Path, promise: Write, eventually: Eventually
) -> None:
    promise("fine", "check_file_state", filename="etc")
    with Launcher(idle=0.1) as launcher:
        assert launcher.zygote is None
        assert len(launcher.run(partition)) == 1
        eventually(lambda: launcher.zygote is None)
        assert len(launcher.run(partition)) == 1


def test_killed_zygote_is_replaced(partition: Path, promise: Write) -> None:
    promise("fine", "check_file_state", filename="etc")
    with Launcher() as launcher:
        launcher.run(partition)
        assert launcher.zygote is not None
        os.kill(launcher.zygote, signal.SIGKILL)
        assert len(launcher.run(partition)) == 1


def test_batch_survives_the_death_of_the_zygote(
    misbehaving_plugin: None, partition: Path, promise: Write, eventually: Eventually
) -> None:
    for name in ("a", "b", "c"):
        promise(name, how="meet")
    with Launcher() as launcher, ThreadPoolExecutor(1) as pool:
        running = pool.submit(launcher.run, partition)
        eventually(lambda: len(list(partition.glob("here-*"))) == 3)
        assert launcher.zygote is not None
        os.kill(launcher.zygote, signal.SIGKILL)
        (partition / "here-d").touch()
        assert [str(result.status) for result in running.result(30)] == ["passed"] * 3


def test_batch_whose_keeper_is_killed_is_run_again(partition: Path, executable: Write, eventually: Eventually) -> None:
    executable("slow", "#!/bin/sh\n[ -e pid ] && exit 0\necho $$ > pid\nexec sleep 300\n")
    with Launcher() as launcher, ThreadPoolExecutor(1) as pool:
        running = pool.submit(launcher.run, partition)
        eventually(lambda: (partition / "pid").exists() and (partition / "pid").read_text())
        (keeper,) = _children(launcher.zygote)
        os.kill(keeper, signal.SIGKILL)
        assert _by_name(running.result(30)) == {"slow": ("passed", "ended with exit code 0")}
        eventually(lambda: not _is_alive(int((partition / "pid").read_text())))
        eventually(lambda: not _children(launcher.zygote))
        assert launcher.zygote is not None


KEEPER = """
parent() { cut -d ' ' -f 4 "/proc/$1/stat"; }
keeper=$(parent $PPID)
"""


def test_what_is_left_by_a_killed_keeper_ends_while_others_work(
    partition: Path, executable: Write, eventually: Eventually, tmp_path: Path
) -> None:
    executable("slow", "#!/bin/sh\ntouch began\nexec sleep 300\n")
    other = tmp_path / "other"
    (other / "etc/promise").mkdir(parents=True)
    killer = other / "etc/promise/killer"
    killer.write_text(f"#!/bin/sh\n{KEEPER}setsid sleep 300 & echo $! > pid\nkill -9 $keeper\nsleep 300\n")
    killer.chmod(0o755)
    with Launcher() as launcher, ThreadPoolExecutor(1) as pool:
        running = pool.submit(launcher.run, partition)
        eventually((partition / "began").exists)
        with pytest.raises(LauncherError):
            launcher.run(other)
        eventually(lambda: not _is_alive(int((other / "pid").read_text())))
        assert not running.done()
        eventually(lambda: len(_children(launcher.zygote)) == 1)
        launcher.close()
        with pytest.raises(LauncherError):
            running.result(30)


def test_a_keeper_that_is_stopped_is_killed_when_its_time_is_up(
    partition: Path, executable: Write, eventually: Eventually
) -> None:
    executable("stopper", f"#!/bin/sh\n{KEEPER}kill -STOP $keeper\necho $keeper > pid\nsleep 300\n")
    with Launcher(limit=3.0) as launcher:
        with pytest.raises(LauncherError, match="did not end within 3 seconds"):
            launcher.run(partition)
        eventually(lambda: not _is_alive(int((partition / "pid").read_text())))
        assert launcher.zygote is not None


def test_a_keeper_holds_neither_the_agents_terminal_nor_its_log(
    launcher: Launcher, partition: Path, executable: Write
) -> None:
    executable("look", f'#!/bin/sh\n{KEEPER}for n in 0 1 2; do readlink "/proc/$keeper/fd/$n"; done\n')
    assert _by_name(launcher.run(partition)) == {"look": ("passed", "\n".join(["/dev/null"] * 3))}


def test_a_history_that_is_set_aside_is_told_in_the_agents_log(
    launcher: Launcher, partition: Path, executable: Write, caplog: pytest.LogCaptureFixture
) -> None:
    executable("fine", "#!/bin/sh\n")
    (partition / FOLDER).mkdir(parents=True)
    (partition / FOLDER / NAME).write_bytes(b"nonsense" * 1000)
    launcher.run(partition)
    assert [record.getMessage().partition(": ")[0] for record in caplog.records] == [str(partition / FOLDER / NAME)]
    assert "and a new history begins" in caplog.text


def test_close_ends_what_runs(partition: Path, executable: Write, eventually: Eventually) -> None:
    executable("slow", "#!/bin/sh\necho $$ > pid\nexec sleep 300\n")
    launcher = Launcher()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(launcher.run, partition)
        eventually(lambda: (partition / "pid").exists() and (partition / "pid").read_text())
        launcher.close()
        with pytest.raises(LauncherError) as caught:
            running.result(30)
    assert str(caught.value) == "the promise launcher was closed. Start the promises again."
    assert not _is_alive(int((partition / "pid").read_text()))
    assert launcher.zygote is None
    with pytest.raises(LauncherError, match="is closed"):
        launcher.run(partition)


def test_batch_over_its_time_is_ended(partition: Path, executable: Write, eventually: Eventually) -> None:
    executable("slow", "#!/bin/sh\necho $$ > pid\nexec sleep 300\n")
    with Launcher() as launcher:
        launcher.run(partition, names=[])  # its start does not count
        launcher._limit = 1.0
        with pytest.raises(LauncherError) as caught:
            launcher.run(partition)
        assert str(caught.value) == "the promises did not end within 1 seconds. Look at the log."
        eventually(lambda: not _is_alive(int((partition / "pid").read_text())))


def test_nothing_is_left_when_the_agent_is_killed(
    partition: Path, executable: Write, eventually: Eventually, tmp_path: Path
) -> None:
    executable("slow", "#!/bin/sh\necho $$ > pid\nexec sleep 300\n")
    code = (
        "import sys, threading, time; from pathlib import Path; from allotment_promises.launcher import Launcher\n"
        "launcher = Launcher(); run = threading.Thread(target=launcher.run, args=(Path(sys.argv[1]),)); run.start()\n"
        "while launcher.zygote is None: time.sleep(0.01)\n"
        "Path(sys.argv[2]).write_text(str(launcher.zygote)); run.join()\n"
    )
    agent = subprocess.Popen([sys.executable, "-c", code, str(partition), str(tmp_path / "zygote")])
    try:
        eventually(lambda: (partition / "pid").exists() and (partition / "pid").read_text())
    finally:
        agent.kill()
        agent.wait(10)
    eventually(lambda: not _is_alive(int((tmp_path / "zygote").read_text())))
    eventually(lambda: not _is_alive(int((partition / "pid").read_text())))


def test_two_hundred_trivial_promises_run_within_the_budget(
    launcher: Launcher, partition: Path, promise: Write
) -> None:
    for number in range(200):
        promise(f"trivial-{number}", "check_file_state", filename="etc", state="not-empty")
    launcher.run(partition)
    seconds = []
    while min(seconds, default=1.0) > 0.3 and len(seconds) < 20:  # a busy machine gets several tries
        started = time.perf_counter()
        assert {str(result.status) for result in launcher.run(partition, "anomaly")} == {"passed"}
        seconds.append(time.perf_counter() - started)
    assert min(seconds) <= 0.3


def test_launcher_starts_no_thread_of_its_own(launcher: Launcher, partition: Path) -> None:
    before = threading.active_count()
    launcher.run(partition)
    assert threading.active_count() == before

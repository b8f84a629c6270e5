# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 (bad input and its message stand side by side, as a table)
"""Recipe ``wrapper``: its scripts are run, with real files, signals and processes."""

import os
import re
import resource
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.recipes.patience import until

from allotment.errors import AllotmentError
from allotment_recipes.programs import keeper, launch
from allotment_recipes.recipes import wrapper
from allotment_recipes.scripts import shell_script

Make = Callable[..., Any]
Start = Callable[..., "subprocess.Popen[str]"]
PYTHON = "/usr/bin/python3"
WORDS = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]))


@pytest.fixture
def script(make_recipe: Make) -> Callable[..., Path]:
    """Write a wrapper and return it."""

    def write(command: list[str] | str, **options: Any) -> Path:
        line = command if isinstance(command, str) else shlex.join(command)
        given = {"command-line": line, "wrapper-path": "bin/w", **options}
        (path,) = make_recipe(wrapper.Recipe, given).install()
        return Path(path)

    return write


@pytest.fixture
def start() -> Iterator[Start]:
    """Start programs that end with the test."""
    started: list[subprocess.Popen[str]] = []

    def run(path: Path, *words: str, **settings: Any) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [path, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **settings,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def python(code: str, *words: str) -> list[str]:
    return [sys.executable, "-ISuc", code, *words]


def test_arguments_and_environment_are_passed_on(script: Any) -> None:
    code = "import os, sys; print(sys.argv[1:], os.environ['A'])"
    path = script(python(code, "one two"), environment="A=x  $y 'z'\nB=")
    done = subprocess.run([path, "three"], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "['one two', 'three'] x  $y 'z'\n"


def test_a_plain_wrapper_is_a_shell_script_for_its_owner_only(script: Any, tmp_path: Path) -> None:
    path = script("serve 'a b' $HOME\n --port 1", environment="LANG = C.UTF-8")
    assert path == tmp_path / "bin/w"
    assert path.read_text() == "#!/bin/sh -e\nexport LANG=C.UTF-8\nexec serve 'a b' '$HOME' --port 1 \"$@\"\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_the_environment_may_be_a_section(make_recipe: Make) -> None:
    options = {"command-line": "printenv A B", "wrapper-path": "w", "environment": "variables"}
    recipe = make_recipe(wrapper.Recipe, options, variables={"A": "1", "B": "t w o"})
    (path,) = recipe.install()
    assert subprocess.run([path], capture_output=True, text=True, timeout=60, check=True).stdout == "1\nt w o\n"


@pytest.mark.parametrize("name", ["configuration.x", "ipv4-random", "A;touch evil"])
def test_a_section_of_other_things_is_no_environment(make_recipe: Make, name: str) -> None:
    options = {"command-line": "true", "wrapper-path": "w", "environment": "slap"}
    with pytest.raises(AllotmentError, match=rf"\[part\] environment: '{name}' can't be the name of a variable\."):
        make_recipe(wrapper.Recipe, options, slap={"recipe": "x", name: "1"})


def test_a_parameter_brings_no_variable_of_its_own(partition: Any) -> None:
    profile = """\
        [buildout]
        parts = w
        [slap]
        recipe = allotment.recipes:slapconfiguration
        [more]
        variables =
          B=b
          C=c
        [w]
        recipe = allotment.recipes:wrapper
        command-line = true
        wrapper-path = w
        environment =
          LEVEL=${slap:configuration.level}
        """
    partition.parameters = {"level": "1\nLD_PRELOAD=/evil.so"}
    fix = "Put it into a section, and name that here"
    assert partition.run(profile).error == f"[w] environment: a value has more than one line. {fix}."
    partition.parameters = {"level": "1"}
    assert partition.run(profile + "  ${more:variables}\n").error == ""
    assert "export LEVEL=1\nexport B=b\nexport C=c\n" in partition.text("w")


def test_a_second_run_writes_nothing(script: Any) -> None:
    before = script("true", pidfile="p").stat()
    assert script("true", pidfile="p").stat().st_ino == before.st_ino


def test_the_path_is_told_to_others(make_recipe: Make, tmp_path: Path) -> None:
    recipe = make_recipe(wrapper.Recipe, {"command-line": "true", "wrapper-path": "etc/service/x"})
    assert recipe.raw["wrapper-path"] == str(tmp_path / "etc/service/x")


def test_removing_the_section_removes_the_script(partition: Any) -> None:
    section = "[w]\nrecipe = allotment.recipes:wrapper\ncommand-line = true\nwrapper-path = etc/service/w\n"
    assert partition.run("[buildout]\nparts = w\n" + section).error == ""
    assert (partition.folder / "etc/service/w").is_file()
    assert partition.run("[buildout]\nparts =\n").error == ""
    assert not (partition.folder / "etc/service/w").exists()


@pytest.mark.parametrize(
    ("option", "fix"),
    [
        ("hash-files", "Let the part that writes it come first, by referring to it"),
        (
            "hash-existing-files",
            "Correct the path; a file that a section of this profile writes belongs into hash-files",
        ),
    ],
)
def test_the_script_changes_when_a_hashed_file_does(script: Any, tmp_path: Path, option: str, fix: str) -> None:
    with pytest.raises(AllotmentError) as caught:
        script("true", **{option: "conf"})
    what = f"[part] {option}: {tmp_path}/conf can't be read: No such file or directory"
    assert (caught.value.what, caught.value.fix) == (what, fix)
    texts = []
    for content in ("one", "two", "two"):
        (tmp_path / "conf").write_text(content)
        texts.append(script("true", **{option: "conf"}).read_text())
    assert texts[0] != texts[1] == texts[2]


def test_a_file_of_the_same_run_is_hashed(partition: Any) -> None:
    profile = """\
        [buildout]
        parts = conf w
        [conf]
        recipe = allotment.recipes:template.jinja2
        inline = CONTENT
        output = etc/conf
        [w]
        recipe = allotment.recipes:wrapper
        command-line = serve ${conf:output}
        wrapper-path = etc/service/w
        hash-files = ${conf:output}
        """
    existing = profile.replace("hash-files", "hash-existing-files")
    assert "belongs into hash-files" in partition.run(existing.replace("CONTENT", "one")).error
    texts = []
    for content in ("one", "two"):
        assert partition.run(profile.replace("CONTENT", content)).error == ""
        texts.append(partition.text("etc/service/w"))
    assert texts[0] != texts[1]


def test_it_waits_for_files_and_says_so(script: Any, start: Start, tmp_path: Path) -> None:
    path = script("echo on", **{"wait-for-files": "a b\n there"})

    def wait() -> float:
        """Return how many seconds are between the last file and the end."""
        process = start(path)
        assert process.stderr is not None
        assert process.stderr.readline() == f"launch: waiting for {tmp_path}/a b, {tmp_path}/there\n"
        (tmp_path / "there").write_text("")
        began = time.monotonic()
        (tmp_path / "a b").write_text("")
        assert process.communicate(timeout=30)[0] == "on\n"
        for name in ("a b", "there"):
            (tmp_path / name).unlink()
        return time.monotonic() - began

    assert any(wait() < 0.9 for _ in range(5)), "there is no second between the file and the start"


def test_a_second_start_is_told_that_the_first_runs(script: Any, start: Start, tmp_path: Path) -> None:
    path = script(["sleep", "60"], pidfile="run/x.pid")
    first = start(path)
    pid = int(until(lambda: (tmp_path / "run/x.pid").exists() and (tmp_path / "run/x.pid").read_text()))
    assert pid == first.pid, "what the supervisor sees is the service"
    second = start(path)
    assert second.communicate(timeout=60)[1] == f"launch: {tmp_path}/run/x.pid: it runs already, as process {pid}\n"
    assert second.returncode == 1
    first.kill()
    first.wait()
    third = start(path)
    until(lambda: (tmp_path / "run/x.pid").read_text() == f"{third.pid}\n")
    assert third.poll() is None, "a stale file stops nobody"


def test_of_several_that_start_at_once_one_runs(script: Any, start: Start, tmp_path: Path) -> None:
    path = script(["sleep", "60"], pidfile="x.pid")
    processes = [start(path) for _ in range(5)]
    until(lambda: sum(process.poll() is None for process in processes) == 1)
    (alive,) = [process for process in processes if process.poll() is None]
    assert (tmp_path / "x.pid").read_text() == f"{alive.pid}\n"


def test_an_interrupt_while_it_waits_is_no_traceback(script: Any, start: Start) -> None:
    process = start(script("true", **{"wait-for-files": "never"}))
    assert process.stderr is not None
    process.stderr.readline()
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == -signal.SIGINT


def test_a_number_that_another_process_has_now_stops_nobody(tmp_path: Path) -> None:
    pidfile = tmp_path / "x.pid"
    with subprocess.Popen(["sleep", "60"]) as other:
        try:
            launch.claim(pidfile)  # notes when we began
            (tmp_path / ".x.pid.began").write_text(f"{other.pid} some-boot 1")
            pidfile.write_text(f"{other.pid}\n")
            launch.claim(pidfile)
            assert pidfile.read_text() == f"{os.getpid()}\n"

            pidfile.write_text(f"{other.pid}\n")  # another program wrote it, just now
            with pytest.raises(launch.LaunchError, match=f"it runs already, as process {other.pid}"):
                launch.claim(pidfile)
            os.utime(pidfile, (1, 1))  # written long before that process began
            launch.claim(pidfile)
        finally:
            other.kill()


@pytest.mark.parametrize("content", ["", "x", "-1", "0", "99999999", "\x00\xff"])
def test_a_pidfile_that_holds_nonsense_stops_nobody(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.pid").write_text(content)
    launch.claim(tmp_path / "x.pid")
    assert (tmp_path / "x.pid").read_text() == f"{os.getpid()}\n"


def test_a_pidfile_that_can_not_be_written_is_named(script: Any, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    done = subprocess.run(
        [script("true", pidfile="run/x.pid")], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"launch: {tmp_path}/run")


def test_signals_are_ignored_from_the_start(script: Any) -> None:
    code = "from signal import *; print(*(getsignal(number) == SIG_IGN for number in (SIGHUP, SIGUSR1, SIGTERM)))"
    path = script([sys.executable, "-c", code], **{"sig-ign": "SIGHUP usr1"})
    done = subprocess.run([path], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "True True False\n"
    assert (
        subprocess.run([script("echo", **{"sig-ign": "HUP"})], capture_output=True, text=True, check=True).stdout
        == "\n"
    )


def test_the_signal_of_the_logs_may_be_ignored_by_the_program(script: Any, tmp_path: Path) -> None:
    code = "from signal import *; print(getsignal(SIGUSR1) == SIG_IGN)"
    options = {"sig-ign": "USR1", "redirect-signal": "USR1", "redirect-stdout": "log"}
    subprocess.run([script([sys.executable, "-c", code], **options)], timeout=60, check=True)
    assert (tmp_path / "log").read_text() == "True\n"


def test_broken_pipes_end_the_program_as_they_would_without_us(script: Any) -> None:
    path = script("cat /proc/self/status", **{"sig-ign": "HUP"})
    text = subprocess.run([path], capture_output=True, text=True, timeout=60, check=True).stdout
    (ignored,) = re.findall(r"SigIgn:\s*([0-9a-f]+)", text)
    assert int(ignored, 16) & (1 << (signal.SIGPIPE - 1)) == 0
    assert int(ignored, 16) & (1 << (signal.SIGHUP - 1))


def test_a_cpu_is_asked_for(script: Any, start: Start, tmp_path: Path) -> None:
    requests = tmp_path / launch.CPU_REQUESTS
    requests.write_text("99999999\nnonsense\n")
    path = script("sleep 60", **{"reserve-cpu": "true"})
    processes = [start(path, env={"HOME": str(tmp_path)}) for _ in range(2)]
    until(lambda: sorted(requests.read_text().split()) == sorted(str(process.pid) for process in processes))


def test_a_cpu_that_can_not_be_asked_for_is_said(script: Any, tmp_path: Path) -> None:
    path = script("true", **{"reserve-cpu": "true"})
    done = subprocess.run([path], capture_output=True, text=True, timeout=60, check=False, env={"HOME": "/nowhere"})
    assert done.returncode == 1
    assert (
        done.stderr
        == "launch: reserve-cpu: /nowhere/.slapos-cpu-exclusive can't be written: No such file or directory\n"
    )


def test_output_goes_to_files_and_the_program_takes_our_place(script: Any, tmp_path: Path) -> None:
    path = script("sh -c 'echo out; echo err >&2; echo $$'", **{"redirect-stdout": "o", "redirect-stderr": "e"})
    process = subprocess.Popen([path], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.communicate(timeout=60) == (b"", b"")
    assert (tmp_path / "o").read_text() == f"out\n{process.pid}\n"
    assert (tmp_path / "e").read_text() == "err\n"
    assert stat.S_IMODE((tmp_path / "o").stat().st_mode) & 0o027 == 0


LOOP = "import sys\nfor line in sys.stdin: print('got', line.strip(), flush=True)"


def test_files_are_opened_again_on_the_signal(script: Any, start: Start, tmp_path: Path) -> None:
    options = {"redirect-stdout": "log", "redirect-stderr": "log", "redirect-signal": "USR1"}
    process = start(script(python(LOOP), **options), stdin=subprocess.PIPE)
    assert process.stdin is not None

    def tell(word: str) -> None:
        process.stdin.write(f"{word}\n")  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]

    tell("one")
    until(lambda: (tmp_path / "log").exists() and (tmp_path / "log").read_text() == "got one\n")
    (tmp_path / "log").rename(tmp_path / "log.1")
    tell("two")
    until(lambda: (tmp_path / "log.1").read_text() == "got one\ngot two\n")
    process.send_signal(signal.SIGUSR1)
    until((tmp_path / "log").exists)
    tell("three")
    process.stdin.close()
    process.wait(60)
    assert process.returncode == 0
    assert (tmp_path / "log").read_text() == "got three\n"
    assert (tmp_path / "log.1").read_text() == "got one\ngot two\n"


STAYING = {"redirect-stdout": "log", "redirect-signal": "SIGUSR1"}
HANDLE = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
signal.signal(signal.SIGUSR2, lambda *_: print("usr2", flush=True))
print("ready", flush=True)
while True: time.sleep(60)
"""


def test_signals_reach_the_program_and_its_exit_code_is_ours(script: Any, start: Start, tmp_path: Path) -> None:
    process = start(script(python(HANDLE), **STAYING))
    until(lambda: (tmp_path / "log").exists() and "ready" in (tmp_path / "log").read_text())
    process.send_signal(signal.SIGUSR2)
    until(lambda: "usr2" in (tmp_path / "log").read_text())
    process.terminate()
    assert process.wait(60) == 7


def test_a_program_that_a_signal_kills_kills_us_by_the_same(script: Any, start: Start) -> None:
    process = start(script("sh -c 'kill -SEGV $$'", **STAYING))
    assert process.wait(60) == -signal.SIGSEGV


def test_a_program_that_is_missing_is_named(script: Any, start: Start) -> None:
    for options in ({"pidfile": "p"}, STAYING):
        process = start(script("/nowhere/at-all", **options))
        assert process.communicate(timeout=60)[1] == "launch: /nowhere/at-all can't be run: No such file or directory\n"
        assert process.returncode != 0


def test_the_program_does_not_outlive_us(script: Any, start: Start, tmp_path: Path) -> None:
    process = start(script(["sh", "-c", "echo $$; sleep 60"], **STAYING))
    child = int(until(lambda: (tmp_path / "log").exists() and (tmp_path / "log").read_text()))
    process.kill()
    process.wait(60)
    until(lambda: not launch._birth(child))


def test_what_a_daemon_left_behind_does_not_keep_us(script: Any, start: Start, tmp_path: Path) -> None:
    process = start(script(["sh", "-c", "sleep 60 & echo last; exit 3"], **STAYING))
    assert process.wait(30) == 3
    assert (tmp_path / "log").read_text() == "last\n"


def test_a_full_disk_costs_lines_and_says_how_many(tmp_path: Path) -> None:
    log = keeper.Log("/dev/full")
    log.write(b"lost\n")
    os.dup2(os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT), log.handle)
    log.write(b"kept\n")
    assert (tmp_path / "log").read_text() == "\n[launch: 5 bytes were lost: the disk was full]\nkept\n"


def test_on_a_disk_that_fills_up_each_byte_is_written_or_counted(tmp_path: Path) -> None:
    log = keeper.Log(str(tmp_path / "log"))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
        log.write(b"0123456")
        log.write(b"789abc")  # three of these find room
        log.write(b"def")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    log.write(b"end")
    assert (tmp_path / "log").read_text() == "0123456789\n[launch: 6 bytes were lost: the disk was full]\nend"


def test_a_log_whose_folder_went_goes_on_in_the_old_file(tmp_path: Path, capfd: Any) -> None:
    (tmp_path / "logs").mkdir()
    log = keeper.Log(str(tmp_path / "logs/x"))
    (tmp_path / "logs").rename(tmp_path / "old")
    log.reopen()
    log.write(b"still here\n")
    assert (tmp_path / "old/x").read_text() == "still here\n"
    assert "can't be opened again: No such file" in capfd.readouterr().err


def test_memory_that_only_the_service_sees(script: Any, tmp_path: Path) -> None:
    path = script(["sh", "-c", "touch own/seen; stat -f -c %T own"], **{"private-tmpfs": f"4m {tmp_path}/own"})
    done = subprocess.run([path], capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    if "namespace" in done.stderr:
        pytest.skip("this kernel gives no namespaces to us")
    assert done.stdout == "tmpfs\n"
    assert list((tmp_path / "own").iterdir()) == []


@pytest.mark.skipif(not Path(PYTHON).exists(), reason="nobody may have no way to our own Python")
def test_memory_without_root(short_path: Path) -> None:
    """A user of no rights gets it through a namespace of its own, or is told that there is none."""
    if os.getuid() != 0:  # for others than root the test above is this one already
        return
    package = Path(launch.__file__).parents[1]
    shutil.copytree(package / "programs", short_path / "allotment_recipes/programs")
    shutil.copy(package / "__init__.py", short_path / "allotment_recipes")
    for folder in (short_path, short_path / "own"):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o777)
    words = ["--tmpfs", "1m", "own", "--", "sh", "-c", "id -u; touch own/x; stat -f -c %T own"]
    command = [PYTHON, "-S", "-m", "allotment_recipes.programs.launch", *words]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, user=65534, group=65534, cwd=short_path
    )
    assert done.stdout == "65534\ntmpfs\n" or "private-tmpfs: no namespace: " in done.stderr
    assert list((short_path / "own").iterdir()) == []


def test_a_refused_namespace_is_said_with_its_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    import ctypes

    class Refusing:
        def unshare(self, flags: int) -> int:
            ctypes.set_errno(1)
            return -1

    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: Refusing())
    with pytest.raises(launch.LaunchError) as caught:
        launch._mount_private([["1m", "/x"]])
    assert str(caught.value) == (
        "private-tmpfs: no namespace: Operation not permitted. Let this kernel give namespaces to users, or drop it"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"command-line": "a 'b"}, "[part] command-line: No closing quotation in \"a 'b\". Close the quotation."),
        ({"command-line": " "}, "[part] command-line: is empty."),
        ({"environment": "1A=b"}, "[part] environment: '1A=b' is not NAME=value."),
        ({"environment": "nothing"}, "[part] environment: there is no section 'nothing'."),
        ({"environment": "A=a\0b"}, "[part] environment: A holds a NUL character."),
        ({"environment": "é=1"}, "[part] environment: 'é=1' is not NAME=value."),
        ({"environment": "a b"}, "[part] environment: 'a b' is neither NAME=value nor a section."),
        ({"sig-ign": "SIGHPU"}, "[part] sig-ign: 'SIGHPU' is not a signal that a program can handle. Did you mean 'HUP'?"),
        ({"sig-ign": "KILL"}, "[part] sig-ign: 'KILL' is not a signal that a program can handle."),
        ({"redirect-signal": "USR1"}, "[part] redirect-signal: there is no file to open again. Add redirect-stdout or redirect-stderr."),
        ({"redirect-signal": "X", "redirect-stdout": "o"}, "[part] redirect-signal: 'X' is not a signal"),
        ({"private-tmpfs": "var/x"}, "[part] private-tmpfs: 'var/x' is not a size and a folder. Write it like: 100m var/cache."),
        ({"private-tmpfs": "100m,uid=0 x"}, "[part] private-tmpfs: '100m,uid=0 x' is not a size and a folder."),
        ({"pidfile": ""}, "[part] pidfile: is empty. Write a path."),
        ({"reserve-cpu": "2"}, "[part] reserve-cpu: '2' is neither true nor false."),
        ({"wait-for-file": "a"}, "[part] wait-for-file: unknown option. Did you mean 'wait-for-files'?"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(make_recipe: Make, options: dict[str, str], message: str) -> None:
    with pytest.raises(AllotmentError, match=re.escape(message)):
        make_recipe(wrapper.Recipe, {"command-line": "true", "wrapper-path": "w", **options})


def test_the_path_is_needed(make_recipe: Make) -> None:
    with pytest.raises(
        AllotmentError, match=re.escape("[part] wrapper-path: missing option. Add 'wrapper-path = ...'")
    ):
        make_recipe(wrapper.Recipe, {"command-line": "a"})


def test_bad_options_of_the_program_are_told(capsys: Any) -> None:
    with pytest.raises(SystemExit):
        launch.main(["--pidfile", "x"])
    assert "no program after --" in capsys.readouterr().err


@given(
    st.lists(WORDS.filter(bool), min_size=1),
    st.dictionaries(st.from_regex(r"[A-Z_][A-Z0-9_]{0,8}", fullmatch=True), WORDS),
    WORDS,
)
def test_a_shell_reads_the_words_that_were_given(words: list[str], variables: dict[str, str], note: str) -> None:
    text = shell_script(words, variables, [note])
    lines = text.splitlines() if "\n" not in "".join([*words, *variables.values()]) else []
    assert not lines or len([line for line in text.split("\n") if line]) == 3 + len(variables)
    body = text.split("\n", 2)[2]
    read = shlex.split(body, comments=False)
    expected = [part for name, value in variables.items() for part in ("export", f"{name}={value}")]
    assert read == [*expected, "exec", *words, "$@"]

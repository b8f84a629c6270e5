# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 (bad files and their messages stand side by side, as a table)
"""Modules of SlapOS in etc/plugin: run unchanged, judged by their own rules, apart from the node and each other."""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from allotment_promises.catalogue import Timing, read
from allotment_promises.launcher import Launcher
from allotment_promises.modules.facts import is_known

Write = Callable[..., Path]
Run = Callable[..., dict[str, Any]]

FROM_FILE = """
def sense(self):
    text = open(self.getPartitionFolder() + "/state").read()
    if text == "ok":
        self.logger.info("state is %s", text)
    else:
        self.logger.error("state is %s", text)
"""
WINDOW = (
    FROM_FILE
    + """
def anomaly(self):
    return self._anomaly(result_count=3, failure_amount=2)
"""
)


def seen(result: Any) -> tuple[str, str]:
    return result.status, result.message


def test_what_is_logged_decides_and_the_module_counts_failures(partition: Path, module: Write, run: Run) -> None:
    module("web", WINDOW)
    (partition / "state").write_text("ok")
    assert seen(run()["web"]) == ("passed", "state is ok")
    (partition / "state").write_text("bad")
    assert seen(run("anomaly")["web"]) == ("passed", "state is bad"), "one failure of three is tolerated"
    assert seen(run("anomaly")["web"]) == ("failed", "state is bad")
    (partition / "state").write_text("ok")
    assert seen(run("anomaly")["web"]) == ("passed", "state is ok")


def test_what_a_module_is_told(partition: Path, module: Write, run: Run) -> None:
    body = """
def sense(self):
    found = [self.getConfig(key) for key in ("url", "partition-id", "promise-timeout", "no")]
    self.logger.info("%s %s %s %s", found, self.getName(), self.getTitle(), self.getLogFolder())
"""
    module("told", body, after="extra_config_dict = {'url': 'http://a/'}")
    text = f"['http://a/', 'part0', 20, None] told.py told {partition}/.slapgrid/promise/log"
    assert seen(run()["told"]) == ("passed", text)


def test_a_module_reads_what_earlier_runs_logged(partition: Path, module: Write, run: Run) -> None:
    body = (
        FROM_FILE
        + """
def anomaly(self):
    runs = self.getLastPromiseResultList(result_count=2)
    failures = self.getLastPromiseResultList(result_count=5, only_failure=True)
    text = [[(line["status"], line["message"]) for line in run] for run in runs]
    return TestResult(True, f"{text} {[len(run) for run in failures]} {runs[0][0]['date'].microsecond}")
"""
    )
    module("reader", body)
    for state in ("bad\nworse", "ok"):
        (partition / "state").write_text(state)
        result = run("anomaly")["reader"]
    text = "[[('INFO', 'state is ok')], [('ERROR', 'state is bad\\nworse')]] [0, 1] 0"
    assert seen(result) == ("failed", text)


def test_its_code_decides_how_often_and_when_it_runs_and_whether_it_bangs(
    partition: Path, module: Write, run: Run
) -> None:
    (partition / "state").write_text("ok")
    start = "def __init__(self, config):\n  super(RunPromise, self).__init__(config)\n"
    module("often", f"{start}  self.setPeriodicity(float(self.getConfig('frequency', 2)))\n{FROM_FILE}")
    module("later", f"{start}  self.setPeriodicity(0.5)\n  self.setTestLess()\n{FROM_FILE}")
    module("once", f"{start}  self.setAnomalyLess()\n  self.allowBang(False)\n{FROM_FILE}")
    module("quiet", FROM_FILE + "def anomaly(self):\n  return TestResult(True, 'bad')")
    path = module("given", FROM_FILE, after="extra_config_dict = {'frequency': '5', 'bang-on-failure': 'false'}")

    def facts() -> dict[str, tuple[float, str, bool]]:
        return {item.name: (item.file.period, item.file.only, item.file.bang) for item in read(partition)}

    assert facts()["given"] == (300.0, "", True), "before it has run, by its text"
    assert set(run()) == {"often", "later", "once", "quiet", "given"}
    assert set(run("anomaly")) == {"often", "later", "quiet", "given"}
    assert set(run()) == {"often", "once", "quiet", "given"}
    assert facts() == {
        "often": (120.0, "", True),
        "later": (30.0, "anomaly", True),
        "once": (120.0, "test", False),
        "quiet": (120.0, "", False),
        "given": (120.0, "", False),
    }
    state = partition / ".slapgrid/promise/facts/given.json"
    state.write_text('{"period": -1, "only": "never", "bang": true}')
    assert facts()["given"] == (300.0, "", True), "what a tenant wrote there is as if it were not there"
    path.unlink()
    assert "given" not in facts()


def test_when_a_module_runs_is_known_before_it_has_run(
    launcher: Launcher, partition: Path, module: Write, run: Run
) -> None:
    start = "def __init__(self, config):\n  super(RunPromise, self).__init__(config)\n  self.setTestLess()\n"
    path = module("rare", f"{start}  self.setPeriodicity(720)\n  self.allowBang(False)\n{FROM_FILE}")
    module("broken", "def __init__(self, config):\n  raise ValueError('no')\ndef sense(self): pass")

    def rare() -> Timing:
        (found,) = (item for item in launcher.timings(partition) if item.name == "rare")
        return found

    assert rare() == Timing("rare", 43200.0, only="anomaly", bang=False)
    assert not (partition / ".slapgrid/promise/log/rare.runs.jsonl").exists(), "it was not run for that"
    assert rare() == Timing("rare", 43200.0, only="anomaly", bang=False)
    path.write_text(path.read_text().replace("720", "5"))
    os.utime(path, ns=(0, time.time_ns() + 10**9))
    assert rare().period == 300.0, "it was written anew"
    assert is_known(partition, path) is False, "by its time it is still to come"
    os.utime(path)
    assert rare().period == 300.0
    assert is_known(partition, path)


NONSENSE = """
import os, stat
for fd in range(3, 50):
    try:
        if stat.S_ISSOCK(os.fstat(fd).st_mode):
            os.write(fd, b"{}" + bytes([10]))
    except OSError:
        pass
"""


@pytest.mark.parametrize("before", [NONSENSE, "#!/usr/bin/python3 'x\n"], ids=["nonsense", "quotation"])
def test_a_module_that_can_not_be_asked_hides_no_other(
    launcher: Launcher, partition: Path, module: Write, before: str
) -> None:
    module("odd", "def sense(self): pass", before=before)
    module("fine", "def sense(self): pass")
    assert [item.name for item in launcher.timings(partition)] == ["fine", "odd"]


def test_a_module_that_is_asked_may_not_use_all_memory(partition: Path, module: Write) -> None:
    start = "def __init__(self, config):\n  super(RunPromise, self).__init__(config)\n  self.setPeriodicity(5)\n"
    module("greedy", f"{start}  bytearray(1 << 28)\ndef sense(self): pass")
    with Launcher(memory=64 << 20) as launcher:
        assert [item.period for item in launcher.timings(partition)] == [120.0]
    with Launcher() as launcher:
        assert [item.period for item in launcher.timings(partition)] == [300.0]


def test_an_empty_result_passes(module: Write, run: Run) -> None:
    module("empty", "def sense(self): pass\ndef test(self): return EmptyResult()")
    assert seen(run()["empty"]) == ("passed", "logged nothing")


def test_an_exception_in_sense_is_a_failure_that_its_rules_judge(module: Write, run: Run) -> None:
    module("raises", "def sense(self):\n  return {}['key']\ndef anomaly(self): return self._anomaly(3, 2)")
    assert run("anomaly")["raises"].status == "passed"
    result = run("anomaly")["raises"]
    assert result.status == "failed"
    assert result.message.startswith("KeyError: 'key' (raises.py, line ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def (", "etc/plugin/broken.py, line 1: is no Python: invalid syntax. Mend the file."),
        ("import nowhere", "etc/plugin/broken.py: ModuleNotFoundError: No module named 'nowhere' (broken.py, line 1). Mend the module, or what it imports."),
        ("x = 1", "etc/plugin/broken.py: AttributeError: module 'broken' has no attribute 'RunPromise' (host.py, line "),
        ("RunPromise = dict", "etc/plugin/broken.py: TypeError: RunPromise is not a slapos.grid.promise.generic.GenericPromise"),
        ("extra_config_dict = {'name': 'x'}", "etc/plugin/broken.py: ValueError: extra_config_dict may not set name"),
        ("extra_config_dict = 5", "etc/plugin/broken.py: ValueError: extra_config_dict is no dictionary"),
        ("import sys\nsys.path[0:0] = [sys.prefix]", "etc/plugin/broken.py, line 2: sys.path[0:0] is no list of texts. Write the eggs' paths out."),
        ("#!/bin/sh", "etc/plugin/broken.py: the first line names no Python. Write one like #!/usr/bin/python3."),
        ("#!/nowhere/python", "etc/plugin/broken.py: its Python /nowhere/python can't be started: No such file or directory. Name one of this machine in its first line."),
        ("import os; os._exit(3)", "etc/plugin/broken.py: its process ended before it had a result. Look at what it does"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "etc/plugin/broken.py: its process ended before it had a result."),
    ],
)  # fmt: skip
def test_a_broken_module_is_an_error_and_hurts_no_other(
    partition: Path, module: Write, run: Run, text: str, message: str
) -> None:
    (partition / "state").write_text("ok")
    module("good", FROM_FILE)
    (partition / "etc/plugin/broken.py").write_text(text + "\n")
    results = run()
    assert results["broken"].status == "error"
    assert results["broken"].message.startswith(message)
    assert seen(results["good"]) == ("passed", "state is ok")


def test_a_module_that_may_not_run_at_all_is_an_error(module: Write, run: Run) -> None:
    start = "def __init__(self, config):\n  GenericPromise.__init__(self, config)\n"
    module("never", f"{start}  self.setTestLess()\n  self.setAnomalyLess()\ndef sense(self): pass")
    assert "it may run neither as test nor as anomaly" in run()["never"].message


def test_what_hangs_or_leaves_processes_behind_is_ended(partition: Path, module: Write, run: Run) -> None:
    body = """
def sense(self):
    import subprocess, time
    child = subprocess.Popen(["sleep", "300"])
    open(self.getPartitionFolder() + "/" + self.getTitle(), "w").write(str(child.pid))
    if self.getTitle() == "hangs":
        time.sleep(300)
"""
    module("hangs", body)
    module("leaves", body)
    results = run()
    assert seen(results["hangs"]) == ("failed", "did not end within 20 s")
    assert results["leaves"].status == "passed"
    for name in ("hangs", "leaves"):
        with pytest.raises(ProcessLookupError):
            os.kill(int((partition / name).read_text()), 0)


def egg(folder: Path, version: str) -> Path:
    """Write an egg with a namespace package, as SlapOS's distributions are."""
    package = folder / f"kit-{version}" / "slapos" / "kit"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").write_text("__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n")
    (package / "__init__.py").write_text(f"version = {version!r}\n")
    return folder / f"kit-{version}"


def test_modules_with_other_eggs_or_another_python_share_no_process(
    partition: Path, tmp_path: Path, module: Write, run: Run
) -> None:
    body = """
def sense(self):
    import os, sys
    import slapos.kit
    from slapos.grid.promise.generic import GenericPromise as again
    assert again is GenericPromise
    assert not [name for name in sys.modules if name.startswith("allotment")], "the node is in here"
    self.logger.info("%s %s %s", slapos.kit.version, sys.executable, os.getppid())
"""
    python = tmp_path / "python"
    python.symlink_to(sys.executable)
    site = [path for path in sys.path if path.endswith("site-packages")]
    for name, version, interpreter in (
        ("a1", "1.0", ""),
        ("a2", "1.0", ""),
        ("b", "2.0", ""),
        ("c", "1.0", f"#!{python}\n"),
    ):
        folder = tmp_path / f"kit-{version}"
        paths = [str(folder if folder.exists() else egg(tmp_path, version)), *site]
        module(name, body, before=f"{interpreter}import sys\nsys.path[0:0] = {paths!r}\n")
    found = {name: result.message.split() for name, result in run().items()}
    assert [found[name][:1] for name in ("a1", "a2", "b", "c")] == [["1.0"], ["1.0"], ["2.0"], ["1.0"]]
    assert found["a1"] == found["a2"], "the same process imported what they share"
    assert len({found[name][2] for name in ("a1", "b", "c")}) == 3
    assert found["c"][1] == str(python)


def test_our_classes_stand_in_for_slapos_core_and_the_rest_of_it_is_its_own(
    partition: Path, tmp_path: Path, module: Write, run: Run
) -> None:
    core = tmp_path / "core" / "slapos"
    (core / "grid" / "promise").mkdir(parents=True)
    (core / "__init__.py").write_text("__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n")
    (core / "grid" / "__init__.py").write_text("")
    (core / "grid" / "promise" / "__init__.py").write_text("raise ImportError('the launcher of SlapOS')\n")
    (core / "util.py").write_text("str2bytes = 'its own'\n")
    body = """
def sense(self):
    import slapos.util
    from slapos.grid.svcbackend import _getSupervisordSocketPath as path
    self.logger.info("%s %s", slapos.util.str2bytes, path("/run", self.logger))
"""
    paths = [str(tmp_path / "core"), *(path for path in sys.path if path.endswith("site-packages"))]
    module("web", body, before=f"import sys\nsys.path[0:0] = {paths!r}\n")
    assert seen(run()["web"]) == ("passed", "its own /run/sv.sock")


def test_what_is_no_python_but_called_so_is_an_error(tmp_path: Path, module: Write, run: Run) -> None:
    (tmp_path / "python").symlink_to("/bin/true")
    module("web", FROM_FILE, before=f"#!{tmp_path}/python\n")
    fix = "Look at what it does, and whether its first line names a Python 3.9 or newer."
    assert seen(run()["web"]) == ("error", f"etc/plugin/web.py: its process ended before it had a result. {fix}")


def test_the_log_of_a_module_stays_small(partition: Path, module: Write, run: Run) -> None:
    log = partition / ".slapgrid/promise/log/noisy.runs.jsonl"
    log.parent.mkdir(parents=True)
    line = json.dumps([[1.0, "ERROR", "x" * 1000]])
    log.write_text(f"{line}\n" * 600 + "half a li")
    module("noisy", "def sense(self):\n  for number in range(1000): self.logger.info('y' * 9999)")
    assert run("anomaly")["noisy"].status == "passed"
    assert log.stat().st_size < 2 * 1000 * 1000
    run("anomaly")
    run("anomaly")
    assert log.stat().st_size < 4 * 1000 * 1000


def test_other_files_beside_modules_are_passed_over(partition: Path, module: Write) -> None:
    path = module("web", FROM_FILE)
    for name in ("__init__.py", ".web.py.new", "notes.txt"):
        (path.parent / name).write_text("")
    (path.parent / "__pycache__").mkdir()
    assert [(item.name, item.kind) for item in read(partition)] == [("web", "module")]


def test_a_module_and_a_promise_of_one_name_are_a_problem(partition: Path, module: Write) -> None:
    module("web", FROM_FILE)
    (partition / "etc/promise/web.json").write_text('{"format": 1, "type": "x"}')
    (found,) = read(partition)
    assert found.problem == "etc/promise/web: web.json has the same name. Rename one of the two."

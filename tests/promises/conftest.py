# SPDX-License-Identifier: Apache-2.0
"""Fixtures: a partition, a way to write promises into it, a warm launcher with promise types that misbehave."""

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from allotment_promises.launcher import Launcher

MISBEHAVING = '''
import os, re, signal, subprocess, sys, threading, time
from dataclasses import dataclass
from pathlib import Path
from allotment.hookspecs import PromiseType, hookimpl
from allotment.secret import Secret
from allotment_promises import GenericPromise, Layer, Measurement

@dataclass(frozen=True)
class Options:
    how: str
    file: str = ""
    token: Secret = Secret("")

class Misbehave(GenericPromise[Options]):
    """Does what ``how`` says."""
    layer = Layer.NETWORK
    def target(self):
        return self.options.file
    def sense(self):
        return getattr(self, self.options.how)()
    def sleep(self):
        time.sleep(300)
    def hold_interpreter(self):
        re.match("(a+)+$", "a" * 64 + "b")
    def crash(self):
        os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(300)
    def crash_in_real_time(self):
        os.kill(os.getpid(), signal.SIGRTMIN + 3)
        time.sleep(300)
    def leave(self):
        os._exit(3)
    def raise_error(self):
        return {}["nothing"]
    def system_exit(self):
        sys.exit(0)
    def no_measurement(self):
        return "fine"
    def leak(self):
        raise ValueError("token is " + self.options.token.reveal())
    def meet(self):
        """Passes when four promises are here at the same time."""
        (self.partition / f"here-{self.name}").touch()
        while len(list(self.partition.glob("here-*"))) < 4:
            time.sleep(0.01)
        return Measurement.passed("met", peers=4)
    def daemon(self):
        code = "import os, sys, time; os.setsid(); os.fork() and os._exit(0);" \\
            "open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(300)"
        subprocess.run([sys.executable, "-c", code, str(self.partition / "pid")])
        while not (self.partition / "pid").exists() or not (self.partition / "pid").read_text():
            time.sleep(0.01)
        return Measurement.passed("left a daemon")
    def comet(self):
        """Leave a process that is another one all the time."""
        code = "import os" + chr(10) + "while True: os.fork() and os._exit(0)"
        subprocess.Popen([sys.executable, "-S", "-c", code], start_new_session=True).wait()
        return Measurement.passed("left a comet")
    def fork(self):
        """Leave a child that has what this process has, and the child's child."""
        if os.fork() == 0:
            os.fork()
            time.sleep(300)
        return Measurement.passed("left children")
    def fork_and_crash(self):
        if os.fork() == 0:
            time.sleep(300)
        os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(300)
    def print_much(self):
        for _ in range(10):
            sys.stdout.write("o" * (1 << 20))
            sys.stderr.write("e" * (1 << 20))
        return Measurement.passed("printed 20 MiB")
    def say_and_leave(self):
        sys.stderr.write("x" * 100000 + " token is " + self.options.token.reveal() + ", and the end")
        sys.stderr.flush()
        os._exit(3)
    def eat_memory(self):
        eaten = bytearray(1 << 30)
        return Measurement.passed("ate", bytes=len(eaten))
    def record(self):
        values = [value for _, value in self.series("number", 3600.0)]
        return Measurement.passed(str(values), number=float(len(values)))
    def noise(self):
        return Measurement.passed("\\x1b[31m" + "x" * 100000)
    def from_file(self):
        ok = Path(self.options.file).read_text() == "ok"
        return Measurement.passed("good") if ok else Measurement.failed("bad")

class OnlyTest(Misbehave):
    only = "test"

class Rare(Misbehave):
    period = 3600.0
    timeout = 0.3

class Patient(Misbehave):
    failures = 3
    window = 4
    over = 1000.0

@hookimpl
def allotment_promise_types():
    return (
        PromiseType("only_test", "misbehaving:OnlyTest"),
        PromiseType("patient", "misbehaving:Patient"),
        PromiseType("rare", "misbehaving:Rare"),
        PromiseType("misbehave", "misbehaving:Misbehave"),
        PromiseType("gone", "no_such_module:Promise"),
        PromiseType("no_promise", "misbehaving:Options"),
    )
'''


@pytest.fixture(scope="session")
def plugin_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "misbehaving.py").write_text(MISBEHAVING)
    info = folder / "misbehaving-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: misbehaving\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[allotment]\nmisbehaving = misbehaving\n")
    return folder


@pytest.fixture
def misbehaving_plugin(plugin_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin on PYTHONPATH, as if installed, for the zygotes that a test starts."""
    monkeypatch.setenv("PYTHONPATH", str(plugin_folder), prepend=os.pathsep)
    monkeypatch.setenv("PLANTED_SECRET", "correct-horse-battery")


@pytest.fixture(scope="session")
def warm_launcher() -> Iterator[Launcher]:
    with Launcher(idle=600.0, limit=60.0) as found:
        yield found


@pytest.fixture
def launcher(misbehaving_plugin: None, warm_launcher: Launcher) -> Launcher:
    """One launcher for all tests; its zygote starts in the first one, with the plugin in its environment."""
    return warm_launcher


@pytest.fixture
def partition(tmp_path: Path) -> Path:
    (tmp_path / "part0/etc/promise").mkdir(parents=True)
    return tmp_path / "part0"


@pytest.fixture
def promise(partition: Path) -> Callable[..., Path]:
    """Write a promise file; ``fields`` are those besides type, options and timeout."""

    def write(
        name: str, type: str = "misbehave", timeout: float = 20.0, fields: dict[str, Any] | None = None, **options: Any
    ) -> Path:
        path = partition / "etc/promise" / f"{name}.json"
        options = {key.replace("_", "-"): value for key, value in options.items()}
        data = {"format": 1, "type": type, "options": options, "timeout": timeout, **(fields or {})}
        path.write_text(json.dumps(data))
        return path

    return write


@pytest.fixture
def executable(partition: Path) -> Callable[[str, str], Path]:
    """Write an executable promise."""

    def write(name: str, text: str) -> Path:
        path = partition / "etc/promise" / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    return write


@pytest.fixture
def eventually() -> Callable[[Callable[[], object]], None]:
    """Wait, at most a minute, until something outside of this process has become true."""

    def wait(condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 60.0
        while not condition():
            assert time.monotonic() < deadline, "it did not become true within a minute"
            time.sleep(0.01)

    return wait

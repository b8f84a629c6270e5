# SPDX-License-Identifier: Apache-2.0
"""Child programs, with a clock that is moved by hand and real processes."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from allotment_testfarm.children import Child, stop_all

# Writes its ready file as the programs do, then waits until its standard input is closed or it is told to end.
PROGRAM = """
import json, os, pathlib, sys
ready, port = pathlib.Path(sys.argv[1]), int(sys.argv[2]) or 4711
temporary = ready.with_suffix(".new")
temporary.write_text(json.dumps({"pid": os.getpid(), "url": f"http://127.0.0.1:{port}"}))
temporary.rename(ready)
sys.stdin.read()
"""


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    ready = tmp_path / "child.json"
    found = Child("child", lambda port: (sys.executable, "-c", PROGRAM, str(ready), str(port)), ready)
    yield found
    stop_all([found], grace=5.0)


def test_a_started_child_says_where_it_is(child: Child, eventually: Callable[..., Any]) -> None:
    assert child.tend(0.0) is True
    eventually(lambda: child.tend(0.0))
    assert (child.url, child.port) == ("http://127.0.0.1:4711", 4711)
    assert child.tend(0.0) is False


def test_a_child_that_ends_is_started_again_at_its_port_after_a_growing_delay(
    child: Child, eventually: Callable[..., Any]
) -> None:
    child.tend(0.0)
    eventually(lambda: child.tend(0.0))
    pids = {child.pid}
    for delay in (0.2, 0.4, 0.8):
        assert child.process is not None
        child.process.kill()
        child.process.wait()
        assert child.tend(100.0) is False
        assert child.tend(100.0 + delay - 0.01) is False
        assert child.tend(100.0 + delay) is True
        pids.add(child.pid)
    assert len(pids) == 4
    eventually(lambda: child.ready.exists())
    assert json.loads(child.ready.read_text())["url"] == "http://127.0.0.1:4711"


def test_a_child_that_ran_for_long_is_restarted_soon(child: Child) -> None:
    for now in (0.0, 1000.0, 2000.0):
        child.tend(now)
        assert child.process is not None
        child.process.kill()
        child.process.wait()
        assert child.tend(now + 999.0) is False
        assert child.tend(now + 999.3) is True


def test_a_child_that_does_not_stop_is_killed(tmp_path: Path, eventually: Callable[..., Any]) -> None:
    started = tmp_path / "started"
    stubborn = (
        "import pathlib, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"pathlib.Path({str(started)!r}).touch()\n"
        "time.sleep(300)\n"
    )
    found = Child("stubborn", lambda port: (sys.executable, "-c", stubborn), tmp_path / "ready.json")
    found.tend(0.0)
    process: subprocess.Popen[bytes] | None = found.process
    assert process is not None
    eventually(started.exists)
    stop_all([found], grace=0.2)
    assert process.returncode == -9
    assert found.pid is None

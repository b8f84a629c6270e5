# SPDX-License-Identifier: Apache-2.0
"""The processes in which parts are built."""

import os
import select
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from allotment_recipes.graph.children import Child, fork


def test_a_child_whose_log_has_no_space_ends_as_one(tmp_path: Path) -> None:
    """It must not come back from `fork`, where it would answer beside its parent."""

    def work() -> str:
        sys.stdout = open("/dev/full", "w")  # noqa: SIM115
        sys.stdout.write("never written")
        return "built"

    child = _forked(tmp_path, work)
    while child.receive():
        pass
    assert (child.is_done, child.ended, child.failure) == (True, "built", None)
    assert not (tmp_path / "escaped").exists()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_whatever_a_child_raises_it_ends_as_one(tmp_path: Path, error: BaseException) -> None:
    def work() -> str:
        raise error

    child = _forked(tmp_path, work)
    while child.receive():
        pass
    assert child.failure is not None
    assert not (tmp_path / "escaped").exists()


def test_a_child_is_gone_though_what_it_left_keeps_its_pipe(tmp_path: Path) -> None:
    left = tmp_path / "left"

    def work() -> str:
        pid = os.fork()  # and nothing executed, which would close the pipe
        if pid == 0:
            while True:
                signal.pause()
        left.write_text(str(pid))
        os.kill(os.getpid(), signal.SIGKILL)
        return "built"

    child = _forked(tmp_path, work)
    try:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert select.select([child.pipe], [], [], 0)[0] == []
        assert child.is_gone()
        assert (child.signal, child.is_done) == (signal.SIGKILL, False)
    finally:
        os.kill(int(left.read_text()), signal.SIGKILL)


def _forked(place: Path, work: Callable[[], str]) -> Child:
    """Fork a child that leaves a mark if it ever comes back."""
    parent = os.getpid()
    try:
        return fork("part", place / "logs/part.log", work)
    finally:
        if os.getpid() != parent:
            (place / "escaped").touch()
            os._exit(1)

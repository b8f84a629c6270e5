# SPDX-License-Identifier: Apache-2.0
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from allotment.errors import AllotmentError
from allotment.program import FolderLock

HOLD = (
    "import sys; from pathlib import Path; from allotment.program import FolderLock\n"
    "with FolderLock(Path(sys.argv[1]), 'lock'): print(flush=True); sys.stdin.read()"
)


def hold(folder: Path) -> "subprocess.Popen[bytes]":
    """Start a process that holds the folder."""
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    return holder


def test_a_folder_is_held_by_one(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path, "lock")
    with hold(tmp_path) as other:
        with pytest.raises(AllotmentError) as error, lock:
            pass
        assert str(error.value) == (
            f"{tmp_path} is in use by process {other.pid}. "
            f"Stop that process first (kill {other.pid}), or give another --folder."
        )
        other.kill()
        other.wait()
        assert lock.holder() is None, "what a killed process wrote does not count"
        with lock:
            assert lock.holder() == os.getpid()
    assert lock.holder() is None


def test_the_holder_is_found_by_another_path_to_the_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    with hold(tmp_path / "link") as other:
        assert FolderLock(tmp_path / "link", "lock").holder() == other.pid
        assert FolderLock(tmp_path / "folder", "lock").holder() == other.pid
        other.kill()


def test_a_holder_that_can_t_be_seen_gets_no_pid(tmp_path: Path) -> None:
    with FolderLock(tmp_path, "lock"):
        (tmp_path / "lock").write_text("")
        with pytest.raises(AllotmentError) as error, FolderLock(tmp_path, "lock"):
            pass
    assert str(error.value) == f"{tmp_path} is in use by another process. Stop it, or give another --folder."


def test_locks_of_different_programs_do_not_meet(tmp_path: Path) -> None:
    with FolderLock(tmp_path / "new", "a", 0o700), FolderLock(tmp_path / "new", tmp_path / "beside"):
        assert (tmp_path / "beside").exists()
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


def test_a_lock_that_can_t_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "victim")
    with pytest.raises(AllotmentError) as error, FolderLock(tmp_path, "lock"):
        pass
    assert str(error.value) == (
        f"{tmp_path}/lock can't be opened: Too many levels of symbolic links. "
        "Give a folder that this user may write to."
    )
    assert not (tmp_path / "victim").exists()
    (tmp_path / "file").touch()
    with pytest.raises(AllotmentError, match=r"/file can't be opened: File exists"), FolderLock(tmp_path / "file", "l"):
        pass


def test_programs_log_lines_with_time_and_place_but_not_each_request() -> None:
    code = (
        "import logging; from allotment.program import log_to_stderr; log_to_stderr()\n"
        "logging.getLogger('httpx2').info('GET'); logging.getLogger('a.b').info('begun')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO a\.b: begun\n", done.stderr)


def test_a_signal_that_comes_while_waiting_begins_is_not_lost() -> None:
    code = (
        "import os, signal, sys, threading\n"
        "from allotment.program import StopSignals\n"
        "told = StopSignals()\n"
        "def interrupt(frame, event, _):\n"  # at each line of Python that runs while waiting begins
        "    signal.raise_signal(signal.SIGTERM)\n"
        "    return interrupt\n"
        "sys.settrace(interrupt)\n"
        "told.wait()\n"
        "sys.settrace(None)\n"
        "told = StopSignals()\n"
        "threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGINT]).start()\n"  # and when it waits already
        "told.wait()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_a_signal_that_another_thread_gets_is_not_lost() -> None:
    """After SIGSTOP and SIGCONT the kernel chooses the thread."""
    code = (
        "import signal, threading, time\n"
        "from allotment.program import StopSignals\n"
        "told, stopping = StopSignals(), threading.Event()\n"
        "def stop():\n"
        "    told.wait()\n"
        "    stopping.set()\n"
        "def interrupt():\n"
        "    time.sleep(0.1)\n"  # the main thread waits by now: a later signal would be seen by it
        "    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)\n"
        "for call in (stop, interrupt):\n"
        "    threading.Thread(target=call, daemon=True).start()\n"
        "stopping.wait()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)

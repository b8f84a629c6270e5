# SPDX-License-Identifier: Apache-2.0
"""Reading a history of another user: never as root."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from allotment.errors import AllotmentError
from allotment_promises.history import FOLDER, NAME, History, HistoryError, Record
from allotment_promises.history.reader import read
from allotment_promises.identity import become_owner

NOBODY = 65534


def _write(partition: Path) -> None:
    with History(partition) as history:
        history.append_all([("web", Record(1.8e9, 0.1, False, "refused"))])


def _ask(history: History) -> object:
    return {"messages": [item.message for item in history.newest("web", 5)], "users": os.getresuid()}


@pytest.fixture
def foreign() -> Iterator[Path]:
    """A partition of nobody with a history that nobody wrote."""
    base = Path(tempfile.mkdtemp(prefix="ap-"))
    base.chmod(0o755)
    partition = base / "part0"
    partition.mkdir(mode=0o700)
    os.chown(partition, NOBODY, NOBODY)
    pid = os.fork()
    if pid == 0:
        try:
            become_owner(partition)
            _write(partition)
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
    yield partition
    shutil.rmtree(base)


def test_own_history_is_read_in_this_process(partition: Path) -> None:
    _write(partition)
    assert read(partition, _ask) == {"messages": ["refused"], "users": os.getresuid()}
    assert read(partition, lambda history: os.getpid()) == os.getpid()


def test_partition_that_is_not_there_has_no_history(tmp_path: Path) -> None:
    assert read(tmp_path / "none", lambda history: history.names()) == []


@pytest.mark.root
def test_foreign_history_is_read_as_its_owner(foreign: Path) -> None:
    assert read(foreign, _ask) == {"messages": ["refused"], "users": [NOBODY] * 3}
    owners = {path.stat().st_uid for path in (foreign / ".allotment").rglob("*")}
    assert owners == {NOBODY}


@pytest.mark.root
def test_who_reads_as_the_owner_has_no_terminal_of_roots(foreign: Path) -> None:
    null = Path(os.devnull).stat().st_rdev
    assert read(foreign, lambda history: [os.fstat(handle).st_rdev for handle in (0, 1, 2)]) == [null] * 3


@pytest.mark.root
def test_root_itself_refuses_to_open_a_foreign_history(foreign: Path) -> None:
    with pytest.raises(HistoryError, match=r"history\.sqlite3 belongs to another user\. Open it as its owner\."):
        History(foreign).newest("web", 5)


@pytest.mark.root
def test_link_in_a_foreign_partition_leads_to_nothing_of_roots(foreign: Path) -> None:
    target = foreign.parent / "secret"
    _write(target)
    (target / FOLDER / NAME).chmod(0o600)
    (foreign / FOLDER / NAME).unlink()
    (foreign / FOLDER / NAME).symlink_to(target / FOLDER / NAME)
    assert read(foreign, lambda history: history.names()) == []
    assert (target / FOLDER / NAME).is_file()


@pytest.mark.root
@pytest.mark.parametrize(
    ("ask", "problem"),
    [
        (lambda history: time.sleep(60), "did not answer"),
        (lambda history: os._exit(0), "did not answer"),
        (lambda history: {}["nothing"], "can't be read: KeyError: 'nothing'"),
        (lambda history: bytearray(1 << 32), "can't be read: MemoryError"),
        (lambda history: (_ for _ in ()).throw(AllotmentError("wrong", "Mend it")), r"^wrong\. Mend it\.$"),
    ],
)
def test_what_goes_wrong_in_the_child_is_an_error_of_the_parent(foreign: Path, ask: object, problem: str) -> None:
    before = psutil.Process().children()
    with pytest.raises(HistoryError, match=problem):
        read(foreign, ask, seconds=1.0)  # type: ignore[arg-type]  # the questions are wrong on purpose
    assert psutil.Process().children() == before


@pytest.mark.root
def test_owner_of_the_partition_can_not_look_into_the_child(foreign: Path) -> None:
    """The child was forked from a process of root, and still holds what that knew."""

    # The kernel gives the files of a process that may not be traced to root.
    assert read(foreign, lambda history: Path("/proc/self/mem").stat().st_uid) == 0

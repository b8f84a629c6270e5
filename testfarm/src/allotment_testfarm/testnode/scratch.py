# SPDX-License-Identifier: Apache-2.0
"""A job's scratch folder: everything that a job writes is in it, and nothing of it outlives the job.

The temporary folder has a short path of its own, for unix sockets (108 bytes); the scratch folder remembers it.
"""

import contextlib
import os
import secrets
import shutil
import signal
import stat
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TEMPORARY = "temporary-path"
_KILL_SECONDS = 5.0


@dataclass(frozen=True)
class Scratch:
    """The places of one job."""

    folder: Path

    @property
    def source(self) -> Path:
        """The revision's files."""
        return self.folder / "source"

    @property
    def work(self) -> Path:
        """What the job itself makes: builds, embedded master and node."""
        return self.folder / "work"

    @property
    def report(self) -> Path:
        """What the job process tells: steps, result, closure."""
        return self.folder / "report"

    @property
    def log(self) -> Path:
        """The job's output, secrets already replaced."""
        return self.folder / "log"

    @property
    def temporary(self) -> Path:
        """TMPDIR of the job."""
        return Path((self.folder / _TEMPORARY).read_text())


def create(folder: Path) -> Scratch:
    """Make a job's scratch folder, empty, readable by this user only."""
    remove(folder)
    folder.mkdir(parents=True, mode=0o700)
    temporary = Path(tempfile.gettempdir()) / f"job-{secrets.token_hex(4)}"
    (folder / _TEMPORARY).write_text(str(temporary))  # before it is made: whoever dies in between leaves nothing
    temporary.mkdir(mode=0o700)
    scratch = Scratch(folder)
    scratch.work.mkdir()
    scratch.report.mkdir()
    (folder / "home").mkdir()
    return scratch


def remove(folder: Path) -> None:
    """Remove a scratch folder and its temporary folder, whatever modes the job left behind."""
    try:
        temporary = (folder / _TEMPORARY).read_text()
    except OSError:
        temporary = ""
    if temporary and Path(temporary).name.startswith("job-"):
        _remove_tree(Path(temporary))
    _remove_tree(folder)


def kill_leftovers(scratch: Scratch) -> None:
    """Kill what still runs of a job whose guard was killed too: each process that has the job's own TMPDIR.

    The guard does better; this is for the one case in which it can't.
    """
    try:
        mark = f"TMPDIR={scratch.temporary}".encode()
    except OSError:
        return
    deadline = time.monotonic() + _KILL_SECONDS
    while (found := _with_variable(mark)) and time.monotonic() < deadline:
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def _with_variable(variable: bytes) -> list[int]:
    """Return the processes that were started with ``NAME=value``, as far as this user may look."""
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with contextlib.suppress(OSError):
                if variable in (path / "environ").read_bytes().split(b"\0"):
                    found.append(int(path.name))
    return found


def names(folder: Path) -> list[str]:
    """Return the names of the scratch folders in a folder."""
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def sweep(folder: Path, stale: Iterable[str]) -> list[str]:
    """Remove scratch folders that nobody works in any more, and what still runs of them; return those that are gone."""
    gone = []
    for name in stale:
        kill_leftovers(Scratch(folder / name))
        remove(folder / name)
        gone += [] if (folder / name).exists() else [name]
    return gone


def _remove_tree(folder: Path) -> None:
    if not folder.is_symlink() and folder.is_dir():
        shutil.rmtree(folder, onerror=_retry_with_rights)


def _retry_with_rights(function: Callable[..., Any], path: str, _error: Any) -> None:
    """Give this user all rights on what could not be removed, and try once more; what stays is found at next start."""
    try:
        parent = Path(path).parent
        parent.chmod(stat.S_IRWXU)
        if Path(path).is_dir() and not Path(path).is_symlink():
            Path(path).chmod(stat.S_IRWXU)
            shutil.rmtree(path, ignore_errors=True)
        else:
            os.unlink(path)  # noqa: PTH108 (a path that came from os functions)
    except OSError:
        pass

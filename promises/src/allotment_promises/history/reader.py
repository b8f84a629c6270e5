# SPDX-License-Identifier: Apache-2.0
"""Read a history that may be another user's: only a process of that user ever opens the file."""

import contextlib
import json
import os
import resource
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from allotment.errors import AllotmentError
from allotment_promises import process
from allotment_promises.history.file import HistoryError
from allotment_promises.history.store import History
from allotment_promises.identity import become_owner

Json = Any
_ANSWER_LIMIT: Final = 1 << 26  # bytes
_MEMORY_LIMIT: Final = 1 << 31  # bytes of address space


def read(partition: Path, ask: Callable[[History], Json], seconds: float = 30.0) -> Json:
    """Return what ``ask`` returns of a partition's history: JSON data only.

    Under root it is called in a forked child that has become the partition's user, with limits and a deadline; so call
    this from a process of one thread, such as a command. Raises :class:`HistoryError`, and what ``ask`` raises.
    """
    if _is_own(partition):
        with History(partition) as history:
            return ask(history)
    reading, writing = os.pipe2(os.O_CLOEXEC)
    parent, pid = os.getpid(), os.fork()
    if pid == 0:
        code = 1
        with contextlib.suppress(BaseException):  # whatever it is, this copy of the caller must not go on as one
            with open(writing, "wb") as file:
                file.write(json.dumps(_answer(partition, ask, parent)).encode() + b"\n")
            code = 0
        os._exit(code)
    os.close(writing)
    try:
        data = _receive(reading, time.monotonic() + seconds)
    finally:
        os.close(reading)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return _understood(partition, data)


def _is_own(partition: Path) -> bool:
    try:
        return os.geteuid() != 0 or partition.lstat().st_uid == 0
    except FileNotFoundError:
        return True  # nothing is there to be opened


def _answer(partition: Path, ask: Callable[[History], Json], parent: int) -> Json:
    """Return the answer, in the child."""
    try:
        with open(os.devnull, "r+b") as nowhere:  # for the caller's terminal
            for handle in (0, 1, 2):
                os.dup2(nowhere.fileno(), handle)
        become_owner(partition, is_hidden=True)  # the caller's memory is still in this process
        process.die_with(parent)
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_LIMIT, _MEMORY_LIMIT))
        with History(partition) as history:
            return {"answer": ask(history)}
    except AllotmentError as error:
        return {"what": error.what, "fix": error.fix}
    except Exception as error:  # of a file that somebody else wrote: the parent tells it
        return {"what": f"the history of {partition} can't be read: {type(error).__name__}: {error}", "fix": ""}


def _receive(handle: int, deadline: float) -> bytes:
    """Return what comes until the end; what is too much or too late is left out."""
    data = b""
    while len(data) <= _ANSWER_LIMIT and select.select([handle], [], [], max(0.0, deadline - time.monotonic()))[0]:
        chunk = os.read(handle, 1 << 20)
        if not chunk:
            break
        data += chunk
    return data


def _understood(partition: Path, data: bytes) -> Json:
    """Return the answer of the child, which another user may have disturbed."""
    try:
        answer = json.loads(data) if data.endswith(b"\n") else {}
        if "answer" in answer:
            return answer["answer"]
        what, fix = str(answer["what"])[:2000], str(answer["fix"])[:2000]
    except (ValueError, TypeError, KeyError, RecursionError):
        what, fix = f"the history of {partition} did not answer", "Look at its size and its owner"
    raise HistoryError(what, fix)

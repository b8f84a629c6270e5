# SPDX-License-Identifier: Apache-2.0
"""A forked process ends where its work does, whatever is raised in it and whenever it gets a signal."""

import os
import signal
from collections.abc import Callable, Iterator

import pytest

from allotment_recipes.forking import forked


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Let SIGINT raise, also where a shell has begun us in the background, deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def _raise(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    ("work", "code"),
    [
        (lambda: None, 0),
        (lambda: _raise(KeyboardInterrupt()), 1),
        (lambda: _raise(MemoryError()), 1),
        (lambda: _raise(SystemExit(0)), 1),
        (lambda: os.kill(os.getpid(), signal.SIGINT), 1),
        (lambda: os.close(2) or _raise(OSError(28, "No space left on device")), 1),
    ],
)
def test_whatever_is_raised_nothing_comes_back(work: Callable[[], object], code: int) -> None:
    assert _ended(work) == code


def test_a_signal_that_comes_at_the_fork_ends_the_process_as_well() -> None:
    """A handler that raises runs where Python comes to it first: in the one that was forked."""

    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGINT)

    os.register_at_fork(after_in_child=lambda: interrupt() if _IS_HIT else None)
    _IS_HIT.append(True)
    try:
        assert _ended(lambda: None) == 1
    finally:
        _IS_HIT.clear()


_IS_HIT: list[bool] = []


def _ended(work: Callable[[], object]) -> int:
    parent = os.getpid()
    try:
        pid = forked(work)
    except BaseException:
        if os.getpid() != parent:
            os._exit(99)
        raise
    if os.getpid() != parent:
        os._exit(98)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

# SPDX-License-Identifier: Apache-2.0
"""How a process is forked that never comes back as if it were its parent."""

import os
import signal
import sys
from collections.abc import Callable


def forked(work: Callable[[], object]) -> int:
    """Do ``work`` in a new process, and return its id; it ends with 0, or with 1 when anything is raised in it.

    No signal is taken before it is where nothing leads back: a handler may raise, as that of Ctrl-C does.
    """
    signals = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                signal.pthread_sigmask(signal.SIG_SETMASK, signals)
                work()
                status = 0
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(status)
        return pid
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, signals)

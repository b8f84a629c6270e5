# SPDX-License-Identifier: Apache-2.0
"""``python -m allotment_promises.zygote FD IDLE LIMIT MEMORY``: imports promise types, forks a keeper for each batch.

The launcher execs it with a clean environment, so that it holds no secret of the agent, and passes it one end of a
socket pair: each byte on it comes with the socket of one request. It ends when the other end is closed, or after
``IDLE`` seconds without a request. The promises of a process may use ``MEMORY`` bytes. A keeper that is there for
longer than ``LIMIT`` seconds, because a process of its user has stopped it, is killed; so is what a keeper leaves that
such a process has killed.
"""

import gc
import os
import select
import signal
import socket
import sys
import time
import traceback

from allotment.plugins import plugins
from allotment_promises import process
from allotment_promises.keeper import keep
from allotment_promises.registry import PromiseTypes

_TICK = 0.5  # seconds between two looks for keepers that have ended
_PATIENCE = 5.0  # seconds that keepers get to end after the launcher has gone


class Zygote:
    """Forks keepers until nobody needs it."""

    def __init__(self, control: socket.socket, idle: float, limit: float, memory: int, types: PromiseTypes) -> None:
        self._control = control
        self._idle = idle
        self._limit = limit
        self._memory = memory
        self._types = types
        self._keepers: dict[int, float] = {}  # pid -> until when it may be there, on the monotonic clock

    def serve(self) -> None:
        """Serve until the launcher has gone or nothing was asked for ``idle`` seconds."""
        asked = time.monotonic()
        while self._keepers or time.monotonic() - asked < self._idle:
            seconds = _TICK if self._keepers else asked + self._idle - time.monotonic()
            if select.select([self._control], [], [], max(0.0, seconds))[0]:
                data, handles, _, _ = socket.recv_fds(self._control, 1, 1)
                if not data:
                    break
                asked = time.monotonic()
                for handle in handles:
                    self._fork(handle)
            self._reap()
        self._end()

    def _fork(self, handle: int) -> None:
        pid = os.fork()
        if pid:
            os.close(handle)
            self._keepers[pid] = time.monotonic() + self._limit + _PATIENCE
            return
        code = 1
        try:
            self._control.close()
            keep(socket.socket(fileno=handle), self._types, self._memory)
            code = 0
        except BaseException:  # whatever it is, this copy of the zygote must not go on as a second zygote
            traceback.print_exc()
        os._exit(code)

    def _reap(self) -> None:
        """Reap keepers that have ended, and orphans that came here from a keeper that was killed."""
        try:
            while pid := os.waitpid(-1, os.WNOHANG)[0]:
                self._keepers.pop(pid, None)
        except ChildProcessError:
            return
        for pid, until in self._keepers.items():
            if until <= time.monotonic():
                os.kill(pid, signal.SIGKILL)
        if not self._keepers:
            process.kill_children()  # all keepers have ended: whoever is left is an orphan
        else:
            process.kill_others(self._keepers)

    def _end(self) -> None:
        """Wait for the keepers, which see that their launcher has gone; kill what is left."""
        self._control.close()  # a request that came too late is dropped now, and its launcher starts another zygote
        deadline = time.monotonic() + _PATIENCE
        while self._keepers and time.monotonic() < deadline:
            time.sleep(0.01)
            self._reap()
        process.kill_children()


def main() -> None:
    """Import everything, then serve."""
    handle, idle, limit, memory = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the launcher decides when this ends
    process.adopt_orphans()
    types = PromiseTypes(plugins())
    gc.collect()
    gc.freeze()  # forked keepers then share these pages
    Zygote(socket.socket(fileno=handle), idle, limit, memory, types).serve()


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""Child programs that are kept running: restarted with back-off, stopped together, never left behind.

Each child holds the reading end of a pipe as its standard input; the kernel closes the pipe when this process ends in
whatever way, and the child (``--lifeline``) then ends too.
"""

import contextlib
import json
import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

FIRST_DELAY = 0.2  # seconds before the first restart
LONGEST_DELAY = 15.0  # seconds; the delay doubles with each restart
STEADY = 20.0  # seconds after which a child counts as well, and the delay begins anew
_log = logging.getLogger(__name__)


@dataclass
class Child:
    """One program; ``arguments(port)`` is its command line for a port, 0 until it has taken one."""

    name: str
    arguments: Callable[[int], Sequence[str]]
    ready: Path  # the file that it writes when it answers: pid, url
    port: int = 0
    process: "subprocess.Popen[bytes] | None" = None
    url: str = ""
    _delay: float = field(default=FIRST_DELAY, repr=False)
    _started: float = field(default=0.0, repr=False)
    _next: float = field(default=0.0, repr=False)

    def tend(self, now: float) -> bool:
        """Start the program if it does not run and its delay is over; True when pid or url have changed."""
        if self.process is not None and self.process.poll() is not None:
            self._bury(now)
        if self.process is None:
            if now < self._next:
                return False
            self._start(now)
            return True
        return self._read()

    def terminate(self) -> None:
        """Ask the program to stop."""
        if self.process is not None:
            self.process.terminate()

    def wait(self, grace: float) -> None:
        """Wait until the program has stopped; after ``grace`` seconds it is killed."""
        if self.process is None:
            return
        try:
            self.process.wait(grace)
        except subprocess.TimeoutExpired:
            _log.warning("%s did not stop in %.0f s and is killed", self.name, grace)
            self.process.kill()
            self.process.wait()
        self._close()

    @property
    def pid(self) -> int | None:
        """The running program's process."""
        return None if self.process is None else self.process.pid

    def _start(self, now: float) -> None:
        self.ready.unlink(missing_ok=True)  # a killed one has left it
        self.process = subprocess.Popen(
            self.arguments(self.port),
            stdin=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the parent, which then stops its children in order
        )
        self._started = now
        _log.info("%s started, process %d", self.name, self.process.pid)

    def _bury(self, now: float) -> None:
        assert self.process is not None  # the caller has looked
        if now - self._started > STEADY:
            self._delay = FIRST_DELAY
        _log.warning("%s ended with %d, restart in %.1f s", self.name, self.process.returncode, self._delay)
        self._next = now + self._delay
        self._delay = min(self._delay * 2, LONGEST_DELAY)
        self._close()

    def _close(self) -> None:
        assert self.process is not None  # as above
        if self.process.stdin is not None:
            self.process.stdin.close()
        # Its own group: a git that waits for a silent server is not left behind by an engine that was killed.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process = None

    def _read(self) -> bool:
        try:
            document = json.loads(self.ready.read_bytes())
        except (OSError, ValueError):
            return False
        if self.process is None or document["pid"] != self.process.pid or document["url"] == self.url:
            return False
        self.url = document["url"]
        self.port = int(self.url.rpartition(":")[2])
        return True


def stop_all(children: Sequence[Child], grace: float = 15.0) -> None:
    """Stop all at the same time."""
    for child in children:
        child.terminate()
    end = time.monotonic() + grace
    for child in children:
        child.wait(max(0.1, end - time.monotonic()))

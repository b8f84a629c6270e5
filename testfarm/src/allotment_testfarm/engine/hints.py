# SPDX-License-Identifier: Apache-2.0
"""The engine's end of the hints: see :mod:`allotment_testfarm.hints`."""

import logging
import os
from collections.abc import Callable
from pathlib import Path

from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

_log = logging.getLogger(__name__)
_READ = 4096  # bytes: as many hints are one


@implementer(IReadDescriptor)
class Hints:
    """A pipe at ``path``; ``on_hint`` is called when somebody has written to it."""

    def __init__(self, reactor: IReactorFDSet, path: Path, on_hint: Callable[[], None]) -> None:
        self._reactor = reactor
        self._path = path
        self._on_hint = on_hint
        self._handle: int | None = None

    def start(self) -> None:
        """Make the pipe; one that an engine has left which was killed is replaced."""
        try:
            self._path.unlink(missing_ok=True)
            os.mkfifo(self._path, 0o600)
            # For writing, too: else it would be at its end, and readable, whenever nobody else has it open.
            self._handle = os.open(self._path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:  # a file system without pipes
            _log.warning("what other programs let wait is seen a second later: %s", error)
            return
        self._reactor.addReader(self)

    def stop(self) -> None:
        """Remove the pipe; it may be stopped without having been started."""
        if self._handle is not None:
            self._reactor.removeReader(self)
            os.close(self._handle)
            self._handle = None
            self._path.unlink(missing_ok=True)

    def fileno(self) -> int:
        return -1 if self._handle is None else self._handle

    def logPrefix(self) -> str:
        return type(self).__name__

    def doRead(self) -> None:
        """Somebody has written."""
        os.read(self.fileno(), _READ)
        self._on_hint()

    def connectionLost(self, reason: Failure) -> None:
        """The reactor has ended."""
        self.stop()

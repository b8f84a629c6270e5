# SPDX-License-Identifier: Apache-2.0
"""One zygote and the socket to it: requests go there as lines of JSON, and each answer to whoever asked."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from allotment.errors import AllotmentError

# What a run may see of our environment: where programs and sources are, never a token or a password of ours.
_ENVIRONMENT = frozenset(
    {
        "HOME",
        "LANG",
        "LANGUAGE",
        "LOGNAME",
        "PATH",
        "PYTHONPATH",
        "SOURCE_DATE_EPOCH",
        "TMPDIR",
        "TZ",
        "XDG_CONFIG_HOME",
    }
)
_ENVIRONMENT_PREFIXES = (
    "ALLOTMENT_SOURCE_",
    "LC_",
    "PIP_",
    "SSL_CERT_",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
)


class EngineError(AllotmentError):
    """The zygote can't be started, or died."""


class NotAcceptedError(Exception):
    """The zygote ended before it took the request."""


@dataclass
class _Asked:
    is_accepted: bool = False
    answer: "Future[dict[str, Any]]" = field(default_factory=Future)


class Connection:
    """A zygote of ours and the thread that reads its answers."""

    def __init__(self, idle: float) -> None:
        self.is_closed = False
        self._lock = threading.Lock()
        self._asked: dict[int, _Asked] = {}
        self._next = 0
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "allotment_recipes.zygote", str(theirs.fileno()), str(idle)],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env=_environment(),
                cwd="/",
            )
        threading.Thread(target=self._read, name="build-engine", daemon=True).start()

    def ask(self, request: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        """Return the answer; ``NotAcceptedError`` says that the run was not begun."""
        asked = _Asked()
        with self._lock:
            if self.is_closed:
                raise NotAcceptedError
            self._next += 1
            number = self._next
            self._asked[number] = asked
            try:
                self._socket.sendall(json.dumps({**request, "id": number}).encode() + b"\n")
            except OSError as error:
                del self._asked[number]
                raise NotAcceptedError from error
        try:
            return asked.answer.result(timeout)
        except TimeoutError:
            raise EngineError(f"the build process did not answer within {timeout:g} s", "Try again") from None

    def close(self) -> None:
        """End the zygote and with it all its runs."""
        with contextlib.suppress(OSError):  # it has ended already
            self._socket.shutdown(socket.SHUT_RDWR)
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _read(self) -> None:
        try:
            with self._socket.makefile("rb") as lines:
                for line in lines:
                    self._take(json.loads(line))
        except (OSError, ValueError):
            pass  # closed under us, or cut in the middle of a line
        with self._lock:
            self.is_closed = True
            left, self._asked = self._asked, {}
        self._socket.close()
        self._process.wait()
        for asked in left.values():
            if asked.is_accepted:
                asked.answer.set_exception(EngineError("the build process ended in the middle of the run", "Try again"))
            else:
                asked.answer.set_exception(NotAcceptedError())

    def _take(self, message: dict[str, Any]) -> None:
        number = message.pop("id")
        with self._lock:
            asked = self._asked[number]
            if message.get("accepted"):
                asked.is_accepted = True
                return
            del self._asked[number]
        asked.answer.set_result(message)


def _environment() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if name in _ENVIRONMENT or name.startswith(_ENVIRONMENT_PREFIXES)
    }

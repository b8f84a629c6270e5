# SPDX-License-Identifier: Apache-2.0
"""The processes in which modules run: one for each Python and list of eggs, while a batch lasts.

They are descendants of the process that runs the batch, and end with it: modules run as their partition's user, beside
nobody else's, and their eggs are never in a process of the node.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from allotment_promises.command import PATH
from allotment_promises.modules.header import Header

_ANSWER_LIMIT = 1 << 22  # bytes
_FOLDER = Path(__file__).parent
_START = "import sys; sys.path.insert(0, sys.argv[3]); from slapos_host import host; del sys.path[0]; host.main()"


class Hosts:
    """The hosts of this process, started when they are first needed; used by many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hosts: dict[tuple[Header, Path], tuple[subprocess.Popen[bytes], socket.socket]] = {}

    def connect(self, header: Header, imports: Sequence[str], partition: Path, deadline: float) -> "Child":
        """Return a new child of the host; an OSError means that its Python can't be started."""
        ours, theirs = socket.socketpair()
        with self._lock, theirs:
            key = (header, partition)
            if key not in self._hosts or self._hosts[key][0].poll() is not None:
                self._hosts[key] = _start(header, partition)
            with contextlib.suppress(OSError):  # it has just ended: whoever reads finds nothing, and says so
                socket.send_fds(self._hosts[key][1], [json.dumps(imports).encode()], [theirs.fileno()])
        return Child(ours, deadline)


class Child:
    """One module's process, asked in JSON lines; it lives until :meth:`end`."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline  # on the monotonic clock
        self._rest = b""
        self._pid = 0

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return its answer; TimeoutError when its time is up, EOFError when it has ended."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # then there is nothing to read either
            self._connection.sendall(json.dumps(request).encode() + b"\n")
        if not self._pid:
            pid = self._answer().get("pid")
            if not isinstance(pid, int) or pid <= 1:
                raise EOFError
            self._pid = pid
        return self._answer()

    def end(self) -> None:
        """Kill it, and what it has started in its session."""
        self._connection.close()
        if self._pid:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, signal.SIGKILL)

    def _answer(self) -> dict[str, Any]:
        while b"\n" not in self._rest:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._connection.settimeout(left)
            try:
                chunk = self._connection.recv(1 << 16)
            except ConnectionResetError:
                chunk = b""
            if not chunk or len(self._rest) > _ANSWER_LIMIT:
                raise EOFError
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError) as error:  # the module's own code has written there
            raise EOFError from error
        if not isinstance(answer, dict):
            raise EOFError
        return answer


def _start(header: Header, partition: Path) -> tuple[subprocess.Popen[bytes], socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        code = ["-I", "-c", _START, str(theirs.fileno()), json.dumps(header.paths), str(_FOLDER)]
        try:
            process = subprocess.Popen(
                [*header.interpreter, *code],
                cwd=partition,
                env={"PATH": PATH, "HOME": str(partition), "LANG": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
            )
        except OSError:
            ours.close()
            raise
    return process, ours


SHARED = Hosts()  # of all modules of this process; a process that forks has not used it before

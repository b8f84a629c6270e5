# SPDX-License-Identifier: Apache-2.0
"""The supervisord of one node folder as a process: how it is started, found again and ended."""

import contextlib
import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from allotment import atomic
from allotment.errors import AllotmentError
from allotment_node import allot_exec
from allotment_node.supervisor import SupervisorOptions
from allotment_node.supervisord_rpc import SupervisordRPC
from allotment_node.supervisord_text import main_text

_START_TIMEOUT: Final = 20.0  # seconds until a new supervisord answers
_STOP_TIMEOUT: Final = 30.0  # seconds until it has ended, and all services with it
_log = logging.getLogger(__name__)


class SupervisordProcess:
    """Attached, it ends with this process; detached, it outlives it. One thread at a time calls its methods."""

    def __init__(self, options: SupervisorOptions, rpc: SupervisordRPC) -> None:
        self.pid_file = options.folder / "supervisord.pid"
        self._options = options
        self._rpc = rpc
        self._config = options.folder / "supervisord.conf"
        self._log_file = options.folder / "supervisord.log"
        self._child: subprocess.Popen[bytes] | None = None
        self._lifeline: int | None = None

    @property
    def is_child(self) -> bool:
        """Whether this process has started it."""
        return self._child is not None

    def launch(self) -> None:
        """Start supervisord and wait until it answers."""
        self.end_mute()
        self._options.folder.mkdir(mode=0o700, exist_ok=True)
        text = main_text(self._options, self._rpc.path, self.pid_file, self._log_file)
        atomic.write_bytes(self._config, text.encode(), 0o600)
        command = [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(self._config)]
        if self._options.attached:
            self._child = self._spawn_attached(command)
        else:
            self._child = self._spawn(command)
        self._await_answer(self._child)

    def _spawn_attached(self, command: list[str]) -> "subprocess.Popen[bytes]":
        """Start it in the shim with a lifeline: a pipe that ends when this process does, however it ends."""
        if self._lifeline is not None:
            os.close(self._lifeline)
        inner, self._lifeline = os.pipe()
        try:
            return self._spawn([*shim(), "--lifeline", str(inner), "--grace", "15", "--", *command], inner)
        finally:
            os.close(inner)

    def _spawn(self, command: list[str], *handles: int) -> "subprocess.Popen[bytes]":
        # supervisord and the services get nothing of our environment: tokens may be in it.
        environment = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        with self._log_file.open("ab") as log:
            return subprocess.Popen(
                command,
                cwd="/",
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=handles,
            )

    def _await_answer(self, child: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + _START_TIMEOUT
        while not self._rpc.is_alive():
            if child.poll() is not None or time.monotonic() > deadline:
                tail = self._log_file.read_text(errors="replace").splitlines()[-5:]
                raise AllotmentError(f"supervisord did not start: {' / '.join(tail)}", f"See {self._log_file}")
            time.sleep(0.01)

    def end_attached(self) -> None:
        """End what :meth:`launch` has started attached, and wait for it; one that is detached is let go."""
        child, self._child = self._child, None
        lifeline, self._lifeline = self._lifeline, None
        if lifeline is None or child is None:
            return
        with contextlib.suppress(OSError):  # it has died already
            self._rpc.attempt("shutdown")
        deadline = time.monotonic() + _STOP_TIMEOUT
        while child.poll() is None and time.monotonic() < deadline:
            self._rpc.is_alive()  # asking wakes supervisord, which by itself looks once a second
            time.sleep(0.02)
        os.close(lifeline)
        try:
            child.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def end_detached(self) -> None:
        """End a supervisord that was started when services were detached: it would outlive us."""
        pid = self._living()
        self._rpc.attempt("shutdown")
        deadline = time.monotonic() + _STOP_TIMEOUT
        while pid is not None and self._is_ours(pid) and time.monotonic() < deadline:
            self._rpc.is_alive()  # wakes it, as above
            time.sleep(0.02)

    def end_mute(self) -> None:
        """A supervisord of this folder that lives and does not answer is killed, so that there are never two."""
        pid = self._living()
        if pid is not None:
            _log.warning("supervisord %d does not answer and is killed", pid)
            os.kill(pid, 9)

    def _living(self) -> int | None:
        """Return the pid of this folder's supervisord, None when there is none."""
        try:
            pid = int(self.pid_file.read_text())
        except (OSError, ValueError):
            return None
        return pid if self._is_ours(pid) else None

    def _is_ours(self, pid: int) -> bool:
        """Whether a process is this folder's supervisord and has not ended."""
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return str(self._config).encode() in command and pid != os.getpid()


def shim() -> list[str]:
    """Return the words that start ``allot-exec``."""
    return [sys.executable, "-I", "-S", allot_exec.__file__]

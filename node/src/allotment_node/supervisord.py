# SPDX-License-Identifier: Apache-2.0
"""Services under supervisord: one for the node, reached by a unix socket, each service in the ``allot-exec`` shim."""

import contextlib
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from allotment import atomic
from allotment.errors import AllotmentError
from allotment_node import allot_exec
from allotment_node.supervisor import Service, ServiceState, ServiceStatus, SupervisorOptions
from allotment_node.supervisord_rpc import Fault, SupervisordRPC, socket_path
from allotment_node.supervisord_text import main_text, partition_text

_START_TIMEOUT: Final = 20.0  # seconds until a new supervisord answers
_STOP_TIMEOUT: Final = 30.0  # seconds until all services have ended
_YOUNG: Final = 0.5  # seconds in which a program surely gets from fork to exec
_STATES: Final = {
    "STARTING": ServiceStatus.STARTING,
    "BACKOFF": ServiceStatus.STARTING,
    "RUNNING": ServiceStatus.RUNNING,
    "STOPPING": ServiceStatus.STOPPED,
    "STOPPED": ServiceStatus.STOPPED,
    "EXITED": ServiceStatus.ENDED,
    "FATAL": ServiceStatus.FAILED,
    "UNKNOWN": ServiceStatus.FAILED,
}
_log = logging.getLogger(__name__)


class Supervisord:
    """A supervisord of our own for one node folder.

    Each service is a group called ``<partition>.<service>``, because supervisord adds and removes whole groups: so a
    new service never restarts its neighbours. One file a partition holds them; what supervisord has loaded differs
    from the files only until the next :meth:`apply` of that partition, also after a crash in between.
    """

    def __init__(self, options: SupervisorOptions) -> None:
        self._options = options
        self._config = options.folder / "supervisord.conf"
        self._groups = options.folder / "groups"
        self._log_file = options.folder / "supervisord.log"
        self._pid_file = options.folder / "supervisord.pid"
        self._socket = socket_path(options.folder)
        self._rpc = SupervisordRPC(self._socket)
        self._lock = threading.RLock()  # of the files, and of what supervisord has loaded from them
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline: int | None = None
        self._in_step: set[str] = set()  # partitions whose file is loaded, as far as this process knows

    def start(self) -> None:
        """Start supervisord unless it runs, or there is nothing to run."""
        with self._lock:
            if self._rpc.is_alive():
                if not self._options.attached or self._process is not None:
                    return
                self._end_detached()
            if self._groups.is_dir() and any(self._groups.glob("*.conf")):
                self._launch()

    def apply(self, partition: str, services: Iterable[Service]) -> None:
        services = tuple(services)
        if not services:
            self.remove(partition)
            return
        text = partition_text(self._options, self._shim, partition, services)
        with self._lock:
            self._groups.mkdir(mode=0o700, exist_ok=True)
            changed = atomic.write_bytes(self._groups / f"{partition}.conf", text.encode(), 0o600)
            if changed:
                self._in_step.discard(partition)  # until it is loaded: this may be interrupted
            if not self._rpc.is_alive():
                self._launch()
            reload = changed or partition not in self._in_step
        if reload:
            self._load(partition)
        for service in services:  # all: one that runs is left alone, one that was given up gets another try
            self._start_group(f"{partition}.{service.name}")

    def remove(self, partition: str) -> None:
        with self._lock:
            file = self._groups / f"{partition}.conf"
            if file.exists():
                file.unlink()
                self._in_step.discard(partition)
            elif partition in self._in_step:
                return
            if not self._rpc.is_alive():
                return  # its services have died with it
        self._load(partition)

    def states(self) -> list[ServiceState]:
        try:
            return [_state(item) for item in self._rpc.call("getAllProcessInfo")]
        except OSError:
            return []

    def restart_failed(self) -> None:
        try:
            groups = [item["group"] for item in self._rpc.call("getAllProcessInfo") if item["statename"] == "FATAL"]
        except OSError:
            return
        for group in groups:
            self._start_group(group)

    def end(self) -> None:
        self.close()
        with self._lock:
            if self._rpc.is_alive():
                self._stop_groups(sorted({f"{item.partition}.{item.name}" for item in self.states()}))
                self._end_detached()
            self._end_mute()

    def close(self) -> None:
        with self._lock:
            process, self._process = self._process, None
            lifeline, self._lifeline = self._lifeline, None
        if lifeline is None or process is None:
            return
        with contextlib.suppress(OSError):  # it has died already
            self._quietly("shutdown")
        deadline = time.monotonic() + _STOP_TIMEOUT
        while process.poll() is None and time.monotonic() < deadline:
            self._rpc.is_alive()  # wakes it, as in _stop_groups
            time.sleep(0.02)
        os.close(lifeline)
        try:
            process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _load(self, partition: str) -> None:
        """Bring supervisord in step with a partition's file; slow stops happen outside the lock."""
        with self._lock:
            added, changed, removed = self._differences(partition)
        self._stop_groups([*changed, *removed])
        with self._lock:
            if changed or removed:  # other partitions' loads may have come in between
                added, changed, removed = self._differences(partition)
            for group in (*changed, *removed):
                self._quietly("removeProcessGroup", group)
            for group in (*added, *changed):
                self._quietly("addProcessGroup", group)
            self._in_step.add(partition)

    def _stop_groups(self, groups: list[str]) -> None:
        """End groups together and wait for it. Asking wakes supervisord, which by itself looks once a second.

        A SIGTERM that meets a program between supervisord's fork and exec is lost; so young ones are sent it again.
        """
        left = [f"{group}:{group.partition('.')[2]}" for group in groups]
        for group in groups:
            self._quietly("stopProcessGroup", group, False)
        deadline = time.monotonic() + _STOP_TIMEOUT
        again = time.monotonic() + _YOUNG
        while left and time.monotonic() < deadline:
            ages = {process: self._age(process) for process in left}
            left = [process for process, age in ages.items() if age is not None]
            if time.monotonic() > again:
                again = time.monotonic() + _YOUNG
                for process in left:
                    if (ages[process] or 0.0) < 10 * _YOUNG:
                        self._quietly("signalProcess", process, "TERM")
            time.sleep(0.02 if left else 0.0)

    def _age(self, process: str) -> float | None:
        """Return for how many seconds a process has been there, None when it is not."""
        try:
            found = self._rpc.call("getProcessInfo", process)
        except Fault:
            return None
        return float(found["now"] - found["start"]) if found["pid"] else None

    def _differences(self, partition: str) -> tuple[list[str], list[str], list[str]]:
        try:
            [[added, changed, removed]] = self._rpc.call("reloadConfig")
        except Fault as error:
            raise AllotmentError(
                f"supervisord can't read the services of {partition}: {error.faultString}", "See its log"
            ) from error
        prefix = f"{partition}."
        return (
            [name for name in added if name.startswith(prefix)],
            [name for name in changed if name.startswith(prefix)],
            [name for name in removed if name.startswith(prefix)],
        )

    def _start_group(self, group: str) -> None:
        """Start at once: supervisord by itself would look at a new group within a second only."""
        self._quietly("startProcess", f"{group}:{group.partition('.')[2]}", False)

    def _quietly(self, method: str, *arguments: Any, timeout: float = 10.0) -> None:
        """Call; what supervisord refuses (already started, already gone, can't be spawned) its states will tell."""
        try:
            self._rpc.call(method, *arguments, timeout=timeout)
        except Fault as error:
            _log.debug("supervisord %s %s: %s", method, arguments, error.faultString)

    def _shim(self, usage: Path) -> list[str]:
        """Return the words before a service's own command."""
        return [
            *_python(allot_exec.__file__),
            *("--parent", str(self._pid_file)),
            *("--usage", str(usage)),
            *("--grace", "10"),
        ]

    def _launch(self) -> None:
        """Start supervisord and wait until it answers; called with the lock held."""
        self._end_mute()
        self._options.folder.mkdir(mode=0o700, exist_ok=True)
        self._groups.mkdir(mode=0o700, exist_ok=True)
        text = main_text(self._options, self._socket, self._pid_file, self._log_file)
        atomic.write_bytes(self._config, text.encode(), 0o600)
        command = [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(self._config)]
        # supervisord and the services get nothing of our environment: tokens may be in it.
        environment = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        with self._log_file.open("ab") as log:
            if self._options.attached:
                self._process = self._launch_attached(command, environment, log)
            else:
                self._process = subprocess.Popen(
                    command,
                    cwd="/",
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        self._in_step = {file.stem for file in self._groups.glob("*.conf")}
        self._await_answer()

    def _launch_attached(self, command: list[str], environment: dict[str, str], log: Any) -> "subprocess.Popen[bytes]":
        """Start supervisord in the shim with a lifeline: a pipe that ends when this process does, however it ends."""
        if self._lifeline is not None:
            os.close(self._lifeline)
        inner, self._lifeline = os.pipe()
        shim = [*_python(allot_exec.__file__), "--lifeline", str(inner), "--grace", "15", "--"]
        try:
            return subprocess.Popen(
                [*shim, *command],
                cwd="/",
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=(inner,),
            )
        finally:
            os.close(inner)

    def _await_answer(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT
        while not self._rpc.is_alive():
            if (self._process is not None and self._process.poll() is not None) or time.monotonic() > deadline:
                tail = self._log_file.read_text(errors="replace").splitlines()[-5:]
                raise AllotmentError(f"supervisord did not start: {' / '.join(tail)}", f"See {self._log_file}")
            time.sleep(0.01)

    def _end_detached(self) -> None:
        """End a supervisord that was started when services were detached: it would outlive us."""
        pid = self._living()
        self._quietly("shutdown")
        deadline = time.monotonic() + _STOP_TIMEOUT
        while pid is not None and self._is_ours(pid) and time.monotonic() < deadline:
            self._rpc.is_alive()  # wakes it, as in _stop_groups
            time.sleep(0.02)

    def _end_mute(self) -> None:
        """A supervisord of this folder that lives and does not answer is killed, so that there are never two."""
        pid = self._living()
        if pid is not None:
            _log.warning("supervisord %d does not answer and is killed", pid)
            os.kill(pid, 9)

    def _living(self) -> int | None:
        """Return the pid of this folder's supervisord, None when there is none."""
        try:
            pid = int(self._pid_file.read_text())
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


def _python(script: str) -> list[str]:
    return [sys.executable, "-I", "-S", script]


def _state(item: dict[str, Any]) -> ServiceState:
    status = _STATES.get(item["statename"], ServiceStatus.FAILED)
    detail = str(item["description"] if status is not ServiceStatus.FAILED else item["spawnerr"] or item["description"])
    if item["statename"] == "EXITED" and item["exitstatus"] != 0:
        status, detail = ServiceStatus.FAILED, f"exited with {item['exitstatus']}"
    partition, _, name = str(item["group"]).partition(".")
    return ServiceState(partition, name, status, item["pid"] or None, detail)

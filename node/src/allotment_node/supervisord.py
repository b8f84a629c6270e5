# SPDX-License-Identifier: Apache-2.0
"""Services under supervisord: one for the node, reached by a unix socket, each service in the ``allot-exec`` shim."""

import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from allotment import atomic
from allotment.errors import AllotmentError
from allotment_node.supervisor import Service, ServiceState, ServiceStatus, SupervisorOptions
from allotment_node.supervisord_process import SupervisordProcess, shim
from allotment_node.supervisord_rpc import Fault, SupervisordRPC, socket_path
from allotment_node.supervisord_text import partition_text

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


class Supervisord:
    """A supervisord of our own for one node folder.

    Each service is a group called ``<partition>.<service>``, because supervisord adds and removes whole groups: so a
    new service never restarts its neighbours. One file a partition holds them; what supervisord has loaded differs
    from the files only until the next :meth:`apply` of that partition, also after a crash in between.
    """

    def __init__(self, options: SupervisorOptions) -> None:
        self._options = options
        self._groups = options.folder / "groups"
        self._rpc = SupervisordRPC(socket_path(options.folder))
        self._process = SupervisordProcess(options, self._rpc)
        self._lock = threading.RLock()  # of the files, and of what supervisord has loaded from them
        self._in_step: set[str] = set()  # partitions whose file is loaded, as far as this process knows

    def start(self) -> None:
        """Start supervisord unless it runs, or there is nothing to run."""
        with self._lock:
            if self._rpc.is_alive():
                if not self._options.attached or self._process.is_child:
                    return
                self._process.end_detached()
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
                self._process.end_detached()
            self._process.end_mute()

    def close(self) -> None:
        with self._lock:
            self._process.end_attached()

    def _load(self, partition: str) -> None:
        """Bring supervisord in step with a partition's file; slow stops happen outside the lock."""
        with self._lock:
            added, changed, removed = self._differences(partition)
        self._stop_groups([*changed, *removed])
        with self._lock:
            if changed or removed:  # other partitions' loads may have come in between
                added, changed, removed = self._differences(partition)
            for group in (*changed, *removed):
                self._rpc.attempt("removeProcessGroup", group)
            for group in (*added, *changed):
                self._rpc.attempt("addProcessGroup", group)
            self._in_step.add(partition)

    def _stop_groups(self, groups: list[str]) -> None:
        """End groups together and wait for it. Asking wakes supervisord, which by itself looks once a second.

        A SIGTERM that meets a program between supervisord's fork and exec is lost; so young ones are sent it again.
        """
        left = [f"{group}:{group.partition('.')[2]}" for group in groups]
        for group in groups:
            self._rpc.attempt("stopProcessGroup", group, False)
        deadline = time.monotonic() + _STOP_TIMEOUT
        again = time.monotonic() + _YOUNG
        while left and time.monotonic() < deadline:
            ages = {process: self._age(process) for process in left}
            left = [process for process, age in ages.items() if age is not None]
            if time.monotonic() > again:
                again = time.monotonic() + _YOUNG
                for process in left:
                    if (ages[process] or 0.0) < 10 * _YOUNG:
                        self._rpc.attempt("signalProcess", process, "TERM")
            time.sleep(0.02 if left else 0.0)

    def _age(self, process: str) -> float | None:
        """Return for how many seconds a process has been there, None when it is not."""
        try:
            found = self._rpc.call("getProcessInfo", process)
        except Fault:
            return None
        return float(found["now"] - found["start"]) if found["pid"] else None

    def _launch(self) -> None:
        """Start supervisord; called with the lock held."""
        self._process.launch()
        self._in_step = {file.stem for file in self._groups.glob("*.conf")}

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
        self._rpc.attempt("startProcess", f"{group}:{group.partition('.')[2]}", False)

    def _shim(self, usage: Path) -> list[str]:
        """Return the words before a service's own command."""
        return [*shim(), "--parent", str(self._process.pid_file), "--usage", str(usage), "--grace", "10"]


def _state(item: dict[str, Any]) -> ServiceState:
    status = _STATES.get(item["statename"], ServiceStatus.FAILED)
    detail = str(item["description"] if status is not ServiceStatus.FAILED else item["spawnerr"] or item["description"])
    if item["statename"] == "EXITED" and item["exitstatus"] != 0:
        status, detail = ServiceStatus.FAILED, f"exited with {item['exitstatus']}"
    partition, _, name = str(item["group"]).partition(".")
    return ServiceState(partition, name, status, item["pid"] or None, detail)

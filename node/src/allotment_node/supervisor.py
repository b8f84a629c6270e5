# SPDX-License-Identifier: Apache-2.0
"""What the node asks of a process supervisor; ``allotment_supervisors`` registers implementations."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol

from allotment.errors import AllotmentError

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}(\.[A-Za-z0-9_-]+)*")


@dataclass(frozen=True)
class Service:
    """One program of a partition."""

    name: str
    program: Path
    fingerprint: str  # of the program's bytes: another one is started anew
    once: bool = False  # from etc/run: started at each processing and not again when it ends


class ServiceStatus(StrEnum):
    """Where a service is."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPED = "stopped"
    ENDED = "ended"  # a program of etc/run that did its work
    FAILED = "failed"  # keeps ending, or a program of etc/run ended with another code than 0


@dataclass(frozen=True)
class ServiceState:
    """What the supervisor says of a service."""

    partition: str
    name: str
    status: ServiceStatus
    pid: int | None
    detail: str


@dataclass(frozen=True)
class SupervisorOptions:
    """What an implementation is made with."""

    folder: Path  # its own, inside the node's folder
    partitions: Path  # partition directories by name
    usage: Path  # folder of usage files, ``<partition>.<service>.json``
    logs: Path  # folder of the services' output, ``<partition>.<service>.log``
    capacity: int  # partitions of the node
    limits: Mapping[str, int]  # rlimits of every service, such as {"nofile": 1024}; they can only be lowered
    attached: bool  # everything dies with this process, even when it is killed; else services outlive it


class Supervisor(Protocol):
    """Runs services by partition. Made with :class:`SupervisorOptions`; all methods may be called from any thread,
    for one partition by one thread at a time. Each raises AllotmentError when the supervisor itself can't be used.
    """

    def start(self) -> None:
        """Make sure that the supervisor runs with all services it was given; adopts one that runs already."""

    def apply(self, partition: str, services: Iterable[Service]) -> None:
        """Make ``services`` all that a partition runs: start new, restart changed, end others, run once programs."""

    def remove(self, partition: str) -> None:
        """End all services of a partition and forget them; returns when they have ended."""

    def states(self) -> list[ServiceState]:
        """Return every service's state; empty when the supervisor does not run."""

    def restart_failed(self) -> None:
        """Give services that were given up another try."""

    def end(self) -> None:
        """End all services, and whatever keeps them running; :meth:`start` runs them again. No agent may run."""

    def close(self) -> None:
        """The agent ends: detached services go on, attached ones have ended when this returns."""


def read_services(partition: Path) -> tuple[Service, ...]:
    """Return the programs of a partition's ``etc/service`` and ``etc/run``, by name.

    Files that can't be executed, and hidden ones, are passed over.
    """
    found: dict[str, Service] = {}
    for folder, once in ((partition / "etc" / "service", False), (partition / "etc" / "run", True)):
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.name.startswith(".") or not path.is_file() or not path.stat().st_mode & 0o100:
                continue
            if not _NAME.fullmatch(path.name):
                raise AllotmentError(f"{path} is not a service's name", "Use letters, digits, '-', '_' and '.'")
            if path.name in found:
                raise AllotmentError(f"{path.name} is in etc/service and in etc/run", "Rename one of the two")
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            found[path.name] = Service(path.name, path, digest[:16], once)
    return tuple(found.values())

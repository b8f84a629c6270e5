# SPDX-License-Identifier: Apache-2.0
"""The build engine: asks a warm zygote for buildout runs, starting it when it is needed."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from allotment.errors import AllotmentError
from allotment_recipes.zygote_connection import Connection, EngineError, NotAcceptedError

_GRACE = 30.0  # seconds beyond a run's own time limit


@dataclass(frozen=True)
class BuildRequest:
    """A software release to build."""

    closure: Path  # root of the unpacked profiles
    profile: str  # software.cfg's place in it
    folder: Path  # where the release is installed
    sources: Path  # blob folder: the source cache
    timeout: float  # seconds
    development: bool = False
    store: Path | None = None  # of the parts that all releases share; default: the release's own
    stores: tuple[str, ...] = ()  # folders of further stores, only read: whole parts there are used where they are
    caches: tuple[Mapping[str, Any], ...] = ()  # binary caches, in order: {"url": ..., "keys": [public keys trusted]}
    compiler: str = ""  # as in a manifest: parts are known by it, whatever compiles here; default: this machine's
    jobs: int = 0  # commands of all parts that run at the same time; 0: as many as there are cores
    keep_going: bool = False  # after a failure, build all that does not depend on what failed


@dataclass(frozen=True)
class BuildResult:
    """How a build ended; ``parts`` maps each part to the hash of its inputs."""

    ok: bool
    error: str
    parts: Mapping[str, str]
    seconds: float
    distributions: tuple[Mapping[str, str], ...] = ()  # name, version, sha256 of what the recipes came from
    cause: Literal["software", "machine"] = "software"  # of an error: what was asked for, or where


@dataclass(frozen=True)
class InstanceRun:
    """A partition to process; its input is in ``<partition>/.allotment/instance.json``."""

    software: Path  # folder of the installed release
    partition: Path
    profile: str = "instance.cfg"
    timeout: float = 600  # seconds


@dataclass(frozen=True)
class InstanceResult:
    """How a run ended; ``waiting`` lists ``"part: reason"`` in the order of the profile."""

    outcome: Literal["done", "waiting", "failed"]
    error: str
    waiting: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class Recorded:
    """What came of recording: how many sources are in ``allot.lock`` now, how many of them are new, how many went."""

    sources: int
    new: int
    gone: int


@dataclass(frozen=True)
class ProfileFiles:
    """What a profile reads: ``profiles`` by extending, ``named`` the files its options name."""

    profiles: tuple[Path, ...]
    named: tuple[Path, ...]


class BuildEngine:
    """Thread-safe; runs go side by side. The zygote ends by itself when ``idle`` seconds pass, or when we are gone."""

    def __init__(self, idle: float = 60.0) -> None:
        self._idle = idle
        self._lock = threading.Lock()
        self._connection: Connection | None = None

    def build(self, request: BuildRequest, log: Path) -> BuildResult:
        """Build a release; ``log`` gets what the recipes and their programs print."""
        answer = self._ask("build", vars(request), request.timeout, log)
        error = answer.get("error", "")
        distributions = tuple(answer.get("distributions", ()))
        parts, seconds, cause = answer.get("parts", {}), answer.get("seconds", 0.0), answer.get("cause", "software")
        return BuildResult(not error, error, parts, seconds, distributions, cause)

    def survey(self, request: BuildRequest, log: Path) -> Mapping[str, Any]:
        """Return what a build would find of each part: its inputs, whether it is there; nothing is built."""
        return self._answer("survey", vars(request), request.timeout, log)

    def check(self, request: BuildRequest, parts: Sequence[str], log: Path) -> Sequence[Mapping[str, Any]]:
        """Build parts of a release that has been built again, by default all that are compiled; return how they differ.

        Each has ``part``, ``location`` and ``differences``: path, what, details.
        """
        answer = self._answer("check", {**vars(request), "parts": list(parts)}, request.timeout, log)
        found: Sequence[Mapping[str, Any]] = answer["parts"]
        return found

    def instance(self, run: InstanceRun, log: Path) -> InstanceResult:
        """Process a partition; a failure is a result and leaves the partition's files as they were."""
        answer = self._ask("instance", vars(run), run.timeout, log)
        error = answer.get("error", "")
        waiting = tuple(answer.get("waiting", ()))
        outcome: Literal["done", "waiting", "failed"] = "failed" if error else "waiting" if waiting else "done"
        return InstanceResult(outcome, error, waiting, answer.get("seconds", 0.0))

    def read(self, profile: Path, scratch: Path, sources: Path, log: Path) -> ProfileFiles:
        """Read a software profile without running recipes; ``scratch`` is a folder that may be written to.

        What it extends by a URL is brought into ``sources``.
        """
        answer = self._answer("read", {"profile": profile, "folder": scratch, "sources": sources}, 300.0, log)
        return ProfileFiles(tuple(map(Path, answer["profiles"])), tuple(map(Path, answer["named"])))

    def lock(self, profile: Path, root: Path, scratch: Path, sources: Path, timeout: float, log: Path) -> Recorded:
        """Record in ``allot.lock`` beside the profile what it has no sha256 for.

        ``root`` is the tree that the profile is of; ``scratch`` is a folder that may be written to.
        """
        fields = {"profile": profile, "closure": root, "folder": scratch, "sources": sources}
        answer = self._answer("lock", fields, timeout, log)
        return Recorded(answer["sources"], answer["new"], answer["gone"])

    def sources(
        self, profile: Path, root: Path, scratch: Path, sources: Path, timeout: float, log: Path, *, fetch: bool
    ) -> tuple[tuple[Mapping[str, Any], ...], str]:
        """Return what a profile's parts want of the source cache, and why what was to be fetched can't be had.

        ``root`` is the tree that the profile is of; ``scratch`` is a folder that may be written to.
        """
        fields = {"profile": profile, "closure": root, "folder": scratch, "sources": sources, "fetch": fetch}
        answer = self._answer("sources", fields, timeout, log)
        return tuple(answer["wanted"]), answer["lost"]

    def close(self) -> None:
        """End the zygote and all its runs; a later call starts a new one."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def __enter__(self) -> "BuildEngine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answer(self, kind: str, fields: Mapping[str, Any], timeout: float, log: Path) -> dict[str, Any]:
        """Ask for a run whose failure is no result."""
        answer = self._ask(kind, fields, timeout, log)
        if "error" in answer:
            raise AllotmentError(answer["error"].removesuffix("."))
        return answer

    def _ask(self, kind: str, fields: Mapping[str, Any], timeout: float, log: Path) -> dict[str, Any]:
        log.parent.mkdir(parents=True, exist_ok=True)
        plain = {key: str(value.absolute()) if isinstance(value, Path) else value for key, value in fields.items()}
        request = {**plain, "kind": kind, "log": str(log.absolute()), "timeout": timeout}
        for _ in range(3):
            try:
                return self._connected().ask(request, timeout + _GRACE)
            except NotAcceptedError:
                continue  # it ended, idle, just when we asked: ask a new one
        raise EngineError("the build process ends at once", f"See {log} and try 'python -m allotment_recipes.zygote'")

    def _connected(self) -> Connection:
        with self._lock:
            if self._connection is None or self._connection.is_closed:
                self._connection = Connection(self._idle)
            return self._connection

# SPDX-License-Identifier: Apache-2.0
"""What does the work: the build engine of recipes and the launcher of promises, each started when first needed."""

import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from allotment.messages.manifest import ReleaseManifest, SignedManifest
from allotment_node.config import NodeConfig, binary_caches
from allotment_node.promises import Result
from allotment_node.schedule import Mode, Timing

if TYPE_CHECKING:
    from allotment_promises.launcher import Launcher
    from allotment_recipes.engine import BuildEngine, BuildResult, InstanceResult


class Engines(Protocol):
    """All that the agent hands to others; tests hand in their own."""

    def install(
        self, manifest: ReleaseManifest, closure: Path, folder: Path, sources: Path, log: Path, development: bool
    ) -> "BuildResult": ...
    def verify(self, signed: SignedManifest, trusted: Iterable[str]) -> None: ...
    def process(self, software: Path, partition: Path, profile: str, log: Path) -> "InstanceResult": ...
    def launch(self, partition: Path, mode: Mode, names: Iterable[str] | None) -> Iterable[Sequence[Result]]: ...
    def timings(self, partition: Path) -> Sequence[Timing]: ...
    def close(self) -> None: ...


class RealEngines:
    """The engines of ``allotment.recipes`` and ``allotment.promises``, imported at the first use of each."""

    def __init__(self, config: NodeConfig, store: Path | None = None, folder: Path = Path()) -> None:
        """``folder`` is the node's, from which relative paths of the configuration are taken."""
        self._config = config
        self._folder = folder
        self._store = store  # of the parts that releases share
        self._lock = threading.Lock()
        self._builder: BuildEngine | None = None
        self._launcher: Launcher | None = None

    def install(
        self, manifest: ReleaseManifest, closure: Path, folder: Path, sources: Path, log: Path, development: bool
    ) -> "BuildResult":
        """Install a verified release."""
        from allotment_recipes.manifest import install_release

        return install_release(
            manifest,
            closure,
            folder,
            sources,
            self._engine(),
            log,
            timeout=self._config.build_timeout,
            development=development,
            store=self._store,
            stores=tuple(map(Path, self._config.system_stores)),
            caches=binary_caches(self._config, self._folder),
        )

    def verify(self, signed: SignedManifest, trusted: Iterable[str]) -> None:
        """Raise SignatureError unless a trusted key has signed."""
        from allotment_recipes.signing import verify

        verify(signed, trusted)

    def process(self, software: Path, partition: Path, profile: str, log: Path) -> "InstanceResult":
        """Run a partition's recipes."""
        from allotment_recipes.engine import InstanceRun

        return self._engine().instance(InstanceRun(software, partition, profile, self._config.instance_timeout), log)

    def launch(self, partition: Path, mode: Mode, names: Iterable[str] | None) -> Iterable[Sequence[Result]]:
        """Run promises; what hangs does not keep back the results of others."""
        return self._promises().groups(partition, mode, names)

    def timings(self, partition: Path) -> Sequence[Timing]:
        """Return when promises run."""
        return self._promises().timings(partition)

    def close(self) -> None:
        """End what runs."""
        with self._lock:
            if self._builder is not None:
                self._builder.close()
            if self._launcher is not None:
                self._launcher.close()

    def _engine(self) -> "BuildEngine":
        with self._lock:
            if self._builder is None:
                from allotment_recipes.engine import BuildEngine

                self._builder = BuildEngine()
            return self._builder

    def _promises(self) -> "Launcher":
        with self._lock:
            if self._launcher is None:
                from allotment_promises.launcher import Launcher

                self._launcher = Launcher(memory=self._config.promise_memory << 20)
            return self._launcher

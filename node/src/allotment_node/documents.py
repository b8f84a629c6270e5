# SPDX-License-Identifier: Apache-2.0
"""Desired state as it came from a master, on disk: the node works from these alone, whoever is away."""

import dataclasses
import logging
import re
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from allotment import atomic
from allotment.codec import dumps, loads
from allotment.errors import MessageError
from allotment.messages.desired_state import DesiredState, NodeDesiredState, Supply, SupplyState

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Changes:
    """What a master's answer has changed."""

    partitions: tuple[str, ...] = ()
    supplies: tuple[str, ...] = ()  # manifests


class Documents:
    """The newest document of each partition, and the supplies.

    An older generation never replaces a newer one, whichever master sends it. A partition that an answer does not
    name stays as it is: silence never destroys anything.
    """

    def __init__(self, folder: Path, partitions: Iterable[str]) -> None:
        self._folder = folder
        self._names = frozenset(partitions)
        self._lock = threading.Lock()
        self._partitions: dict[str, DesiredState] = {}
        self._supplies: dict[str, Supply] = {}
        self._refused: set[tuple[str, int]] = set()  # said once, not at each poll
        self._untold: list[str] = []  # partitions whose document is stored, and not yet returned by apply()
        self._load()

    def get(self, partition: str) -> DesiredState | None:
        """Return what is wanted of a partition; None: it was never used."""
        with self._lock:
            return self._partitions.get(partition)

    def partitions(self) -> tuple[DesiredState, ...]:
        """Return the documents of all partitions."""
        with self._lock:
            return tuple(self._partitions.values())

    def supply(self, manifest: str) -> Supply | None:
        """Return the supply of a release, also one that is to be removed."""
        with self._lock:
            return self._supplies.get(manifest)

    def supplies(self) -> tuple[Supply, ...]:
        """Return all supplies."""
        with self._lock:
            return tuple(self._supplies.values())

    def apply(self, desired: NodeDesiredState) -> Changes:
        """Store a master's answer; return what is new in it, also what a call that raised has stored already."""
        with self._lock:
            for item in desired.partitions:
                if self._take(item):
                    self._untold.append(item.partition)
            supplies = self._take_supplies(desired.supplies)
            partitions, self._untold = tuple(self._untold), []
        return Changes(partitions, supplies)

    def _take_supplies(self, listed: Iterable[Supply]) -> tuple[str, ...]:
        """Return the manifests whose supply is another now."""
        # A manifest's sha256 becomes a file's name here: another text could be a path to elsewhere.
        supplies = {item.manifest: item for item in listed if _SHA256.fullmatch(item.manifest)}
        for manifest, old in self._supplies.items():
            if manifest not in supplies:  # no longer listed means no longer wanted: it is nothing but a cache
                supplies[manifest] = dataclasses.replace(old, state=SupplyState.REMOVED)
        new = tuple(manifest for manifest, item in supplies.items() if self._supplies.get(manifest) != item)
        if new:
            self._write_supplies(supplies.values())
            self._supplies = supplies
        return new

    def forget_release(self, manifest: str) -> None:
        """A removed release is gone from disk."""
        with self._lock:
            found = self._supplies.get(manifest)
            if found is not None and found.state is SupplyState.REMOVED:
                self._write_supplies(item for item in self._supplies.values() if item is not found)
                del self._supplies[manifest]

    def bury(self, document: DesiredState) -> None:
        """Keep of a destroyed instance only what holds older generations off; its parameters may be secret."""
        stone = dataclasses.replace(document, parameters={}, shared=(), answers={})
        with self._lock:
            if self._partitions.get(document.partition) == document:
                self._write(stone)
                self._partitions[document.partition] = stone

    def _take(self, document: DesiredState) -> bool:
        known = self._partitions.get(document.partition)
        if document.partition not in self._names:
            self._refuse(document, f"this node has no partition {document.partition}; raise 'partitions' in node.toml")
            return False
        if known is not None and document.generation <= known.generation:
            if document.generation < known.generation:
                self._refuse(document, f"generation {known.generation} of {known.issuer} is stored")
            return False
        if not _SHA256.fullmatch(document.manifest):
            self._refuse(document, f"its manifest {document.manifest[:100]!r} is not a sha256")
            return False
        self._write(document)  # first: what a full disk has kept from being stored is new again at the next poll
        self._partitions[document.partition] = document
        return True

    def _refuse(self, document: DesiredState, reason: str) -> None:
        key = (document.partition, document.generation)
        if key not in self._refused:
            self._refused.add(key)
            _log.warning(
                "%s: generation %d of %s is ignored: %s",
                document.partition,
                document.generation,
                document.issuer,
                reason,
            )

    def _write(self, document: DesiredState) -> None:
        atomic.write_bytes(self._folder / f"{document.partition}.json", dumps(document), 0o600)

    def _write_supplies(self, supplies: Iterable[Supply]) -> None:
        listed = NodeDesiredState(0, tuple(supplies))
        atomic.write_bytes(self._folder / "supplies.json", dumps(listed), 0o600)

    def _load(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in sorted(self._folder.glob("*.json")):
            try:
                if path.name == "supplies.json":
                    found = loads(NodeDesiredState, path.read_bytes(), str(path))
                    self._supplies = {item.manifest: item for item in found.supplies}
                elif path.stem in self._names:
                    self._partitions[path.stem] = loads(DesiredState, path.read_bytes(), str(path))
            except MessageError as error:
                # The master has it still, and the first poll asks for everything.
                _log.error("%s It is put aside and asked for again", error)
                path.replace(path.with_suffix(".broken"))

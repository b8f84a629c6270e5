# SPDX-License-Identifier: Apache-2.0
"""How much disk the parts of a store take, and how much of that each release would free if it went."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from allotment_recipes.stores import roots
from allotment_recipes.stores.keeping import Graph

_BLOCK = 512  # bytes, of st_blocks


@dataclass(frozen=True)
class PartUsage:
    """One part; ``bytes`` as they are on disk."""

    store: str
    name: str
    bytes: int
    releases: int  # that need it


@dataclass(frozen=True)
class ReleaseUsage:
    """One release: ``unique`` are the bytes that no other release needs, ``shared`` the others."""

    folder: str
    parts: int
    unique: int
    shared: int


@dataclass(frozen=True)
class Usage:
    """All of some stores; ``other`` is what is neither a part nor needed by one: sources of failed builds, logs."""

    parts: tuple[PartUsage, ...]
    releases: tuple[ReleaseUsage, ...]
    other: int

    @property
    def bytes(self) -> int:
        """Bytes on disk of everything."""
        return self.other + sum(part.bytes for part in self.parts)

    @property
    def unneeded(self) -> int:
        """Bytes of the parts that no release needs."""
        return sum(part.bytes for part in self.parts if not part.releases)


def disk_usage(paths: Iterable[Path]) -> int:
    """Return the bytes on disk of some files and folders; what has several names counts once."""
    seen: set[tuple[int, int]] = set()
    size = 0
    for path in paths:
        for place in _walk(path):
            try:
                status = os.lstat(place)
            except FileNotFoundError:  # somebody removes it meanwhile
                continue
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                size += status.st_blocks * _BLOCK
    return size


def usage(stores: Sequence[Path]) -> Usage:
    """Return what the parts of these stores take; the user's own is the first."""
    graph = Graph(stores)
    sizes = {part: disk_usage([part]) for root in stores for part in graph.parts(root)}
    needs: dict[str, set[Path]] = {}
    for root in stores:
        for release in roots.releases(root):
            needs.setdefault(release.name, set()).update(graph.closure(graph.named(release.parts, root)))
    users = Counter(part for parts in needs.values() for part in parts)
    parts = [PartUsage(str(part.parent), part.name, size, users[part]) for part, size in sizes.items()]
    releases = [
        ReleaseUsage(
            folder,
            len(needed),
            sum(sizes[part] for part in needed if users[part] == 1),
            sum(sizes[part] for part in needed if users[part] > 1),
        )
        for folder, needed in sorted(needs.items())
    ]
    other = sum(disk_usage(root.glob(".*")) for root in stores)
    return Usage(tuple(sorted(parts, key=lambda part: (-part.bytes, part.name))), tuple(releases), other)


def _walk(path: Path) -> Iterable[str]:
    yield str(path)
    if path.is_dir() and not path.is_symlink():
        for folder, folders, files in os.walk(path):
            yield from (f"{folder}/{name}" for name in (*folders, *files))

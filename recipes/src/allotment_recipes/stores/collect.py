# SPDX-License-Identifier: Apache-2.0
"""Garbage collection: what no root reaches goes, first its name, then its bytes; a collection may be killed any time.

A part is renamed to ``.<name>.gone`` while nobody can register, so a build that comes later finds it missing and makes
it anew. What a killed collection has left under such names is removed by the next one.
"""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from allotment.errors import AllotmentError, MachineError
from allotment_recipes.part_locks import try_lock
from allotment_recipes.shared_store import Store, remove
from allotment_recipes.stores import contents, roots
from allotment_recipes.stores.keeping import Graph, part_names
from allotment_recipes.stores.notes import is_unregistered
from allotment_recipes.stores.usage import disk_usage

GONE = ".gone"
_TRACES = ((".work", ""), (".work", ".unfinished"), (".log", ".log"), (".built", ".json"), (contents.FOLDER, ".json"))


@dataclass(frozen=True)
class Collected:
    """What a collection removed, or would remove."""

    parts: tuple[tuple[str, int], ...]  # name, and bytes on disk
    leftovers: int  # bytes of builds that failed or were killed, and of an earlier collection
    kept: int  # parts
    busy: tuple[str, ...] = ()  # parts that nobody needs and somebody builds
    unknown: tuple[str, ...] = ()  # kept: built before releases were registered, and no registered one needs them

    @property
    def freed(self) -> int:
        """Bytes on disk."""
        return self.leftovers + sum(size for _, size in self.parts)


def collect(
    root: Path,
    *,
    older_than: float = 0.0,
    unregistered: bool = False,
    dry_run: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> Collected:
    """Remove what no root reaches and no build has asked for in the last ``older_than`` seconds.

    What was built before releases were registered is removed only when ``unregistered``: some may still need it.
    """
    check_collectable(root)
    graph = Graph([root], say)
    graph.read_all()
    if dry_run:
        kept, unknown = _kept(graph, root, older_than, unregistered=unregistered)
        return _summary(root, graph, kept, unknown)
    with store_of_user(root):
        left = finish(root, say)
        Store(root).sweep()
        with roots.locked(root, alone=True):
            graph.look_again()
            kept, unknown = _kept(graph, root, older_than, unregistered=unregistered)
            roots.forget_gone(root)
            garbage = [part.name for part in graph.parts(root) if part.name not in kept]
            moved = [name for name in garbage if set_aside(root, name)]
        stale = [name for name in _traced(root) if name not in kept and name not in garbage]
        left += sum(_clear_traces(root, name) for name in stale)
        found = _remove_all(root, moved, garbage, left, len(graph.parts(root)) - len(garbage), say)
        return replace(found, unknown=unknown)


def check_store(root: Path) -> None:
    """Raise where there is no store."""
    if not root.is_dir():
        raise AllotmentError(f"{root.parent} holds no store", "Give the folder that builds were given as --store")


def check_collectable(root: Path) -> None:
    """Raise where there is no store, or nobody knows what its parts are for."""
    check_store(root)
    if not (root / roots.FOLDER).is_dir():
        raise AllotmentError(
            f"no release is registered in the store {root.parent}: which parts are needed is not known",
            "Build the releases that are needed once more; what is whole is reused",
        )


def set_aside(root: Path, name: str) -> bool:
    """Take a part's name from it; False when somebody builds it. ``remove_aside`` removes its bytes."""
    with _all_locks(root, name) as is_ours:
        if is_ours:
            (root / name).rename(root / f".{name}{GONE}")
        return is_ours


def remove_aside(root: Path, name: str) -> int:
    """Remove the bytes of a part that was set aside, and what was noted of it; return the bytes on disk."""
    place = root / f".{name}{GONE}"
    size = disk_usage([place])
    remove(place)
    return size + _clear_traces(root, name)


def _remove_all(
    root: Path, moved: list[str], garbage: list[str], left: int, kept: int, say: Callable[[str], None]
) -> Collected:
    removed = []
    for number, name in enumerate(moved, 1):
        size = remove_aside(root, name)
        removed.append((name, size))
        say(f"removed {number} of {len(moved)}: {name}, {size / 1e6:.1f} MB")
    return Collected(tuple(removed), left, kept, tuple(sorted(set(garbage) - set(moved))))


def _kept(graph: Graph, root: Path, older_than: float, *, unregistered: bool) -> tuple[set[str], tuple[str, ...]]:
    """Return the names that are needed, also of what is not built yet or not any more; and those that may be."""
    names = part_names(root)
    found = [*roots.releases(root), *roots.processes(root)]
    if older_than > 0:
        found += roots.recent(root, names, older_than)
    named = {name for item in found for name in item.parts}
    kept = named | {part.name for part in graph.closure(graph.named(named, root))}
    unknown = () if unregistered else tuple(name for name in names if name not in kept and is_unregistered(root, name))
    needed = graph.closure(graph.named(unknown, root))
    return kept | {part.name for part in needed}, unknown


def _summary(root: Path, graph: Graph, kept: set[str], unknown: tuple[str, ...]) -> Collected:
    garbage = [part for part in graph.parts(root) if part.name not in kept]
    stale = {name for name in _traced(root) if name not in kept} - {part.name for part in garbage}
    left = disk_usage([*root.glob(f".*{GONE}"), *(path for name in stale for path in _traces(root, name))])
    parts = tuple((part.name, disk_usage([part, *_traces(root, part.name)])) for part in garbage)
    return Collected(parts, left, len(graph.parts(root)) - len(garbage), unknown=unknown)


def finish(root: Path, say: Callable[[str], None] = lambda line: None) -> int:
    """Remove what a killed collection has set aside; return the bytes."""
    found = sorted(root.glob(f".*{GONE}"))
    if found:
        say(f"finishing an earlier collection: {len(found)} parts")
    size = 0
    for path in found:
        size += disk_usage([path])
        remove(path)
    return size


def _traced(root: Path) -> list[str]:
    """Return the names of all parts of which something is noted or left."""
    found = set()
    for folder, suffix in _TRACES:
        with contextlib.suppress(FileNotFoundError):
            names = (path.name for path in (root / folder).iterdir())
            found |= {name.removesuffix(suffix) for name in names if name.endswith(suffix)}
    return sorted(name.removesuffix(".unfinished") for name in found if name[0] != ".")


def _traces(root: Path, name: str) -> Iterator[Path]:
    yield from (path for folder, suffix in _TRACES if os.path.lexists(path := root / folder / f"{name}{suffix}"))


def _clear_traces(root: Path, name: str) -> int:
    """Remove what is noted or left of a part that is not there; nothing while somebody builds it."""
    with _all_locks(root, name) as is_ours:
        if not is_ours or os.path.lexists(root / name):
            return 0
        found = list(_traces(root, name))
        size = disk_usage(found)
        for path in found:
            if path.is_dir() and not path.is_symlink():
                remove(path)
            else:
                path.unlink(missing_ok=True)
        return size


@contextlib.contextmanager
def _all_locks(root: Path, name: str) -> Iterator[bool]:
    """Hold what keeps others from building a part; give False when somebody is at it."""
    places = [root / ".lock" / name, *(path for path in [root / ".work" / f"{name}.unfinished"] if path.is_file())]
    (root / ".lock").mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        yield all(stack.enter_context(try_lock(place)) is not None for place in places)


@contextlib.contextmanager
def store_of_user(root: Path) -> Iterator[None]:
    """Let the block remove parts, alone; what the system refuses is told as what the user can mend."""
    try:
        (root / ".lock").mkdir(exist_ok=True)
        with try_lock(root / ".lock" / ".collection") as lock:
            if lock is None:
                raise MachineError(f"another collection is at work in {root.parent}", "Wait until it has ended")
            yield
    except OSError as error:
        reason = f"{error.filename or root}: {os.strerror(error.errno or 0)}"
        fix = "Mend that and try again: what was begun is finished then"
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            fix = "Do this as the user who owns the store, where it can be written to"
        raise MachineError(f"nothing can be removed from the store {root.parent}: {reason}", fix) from error

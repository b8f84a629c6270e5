# SPDX-License-Identifier: Apache-2.0
"""Roots: what parts are kept for. Releases register themselves before they are built; programs at work count too.

A release that is built or installed has a file in ``<root>/.roots/``, good as long as its folder is there, or a link in
its place, and as long as the disk on which it was is not mounted. The folder's lock is shared by those who register and
alone for who collects: parts go only while nobody learns that they are there.
"""

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from allotment.atomic import read_limited, write_bytes
from allotment.errors import AllotmentError, MachineError
from allotment_recipes.context import RunContext
from allotment_recipes.shared_store import is_whole

FOLDER: Final = ".roots"
_LIMIT: Final = 16 << 20  # bytes of a root's file, which another user may have written
_PATIENCE: Final = 60.0  # seconds for the lock
_logger = logging.getLogger("store")


@dataclass(frozen=True)
class Root:
    """Something that parts are kept for, and the parts that it names itself."""

    kind: str  # release, process or recent
    name: str  # the release's folder, or the program
    parts: frozenset[str]


def register(buildout: Any) -> None:
    """Let the parts of a release be kept, those that it had before too, until :func:`settle`.

    Called by our driver before any of them is used. In a lower store this is done as far as this user may write there.
    """
    run, places = buildout.run, _places(buildout)
    for root in sorted({place.parent for place in places}):
        try:
            enter(root, run.folder, _names(places, root), adds=True)
        except (OSError, MachineError) as error:
            if root not in run.lower_roots:
                raise _refusal(root, error) from error
            _logger.debug("%s does not learn that %s uses it: %s", root, run.folder, error)
    for place in places:
        if place.parent in run.lower_roots and not is_whole(place):
            raise MachineError(f"{place} has just been removed from its store", "Build again")


def settle(buildout: Any) -> None:
    """Let only these parts be kept for a release: it has been built, and needs no other."""
    places = _places(buildout)
    for root in _shared_roots(buildout.run):
        if _file(root, buildout.run.folder).exists():
            with contextlib.suppress(OSError, MachineError):  # more is kept than needed
                enter(root, buildout.run.folder, _names(places, root), adds=False)


def registrations(buildout: Any) -> list[Path]:
    """Return the files by which the stores know a release."""
    roots = sorted({place.parent for place in _places(buildout)})
    return [path for path in (_file(root, buildout.run.folder) for root in roots) if path.exists()]


def enter(root: Path, release: Path, names: Iterable[str], *, adds: bool) -> None:
    """Write down which parts of a store a release needs, these alone or those too that it had before."""
    wanted = set(names)
    (root / FOLDER).mkdir(parents=True, exist_ok=True)
    path = _file(root, release)
    with locked(root, alone=False):
        for half_written in path.parent.glob(f".{path.name}.*.new"):  # by a build of this release that was killed
            half_written.unlink()
        if adds:
            with contextlib.suppress(MachineError):  # it is damaged, and whole again after this
                before = _read(path)
                wanted |= before[0].parts if before is not None else frozenset()
        document = {"format": 1, "folder": str(release), "disk": _disk(release), "parts": sorted(wanted)}
        write_bytes(path, json.dumps(document, indent=1).encode() + b"\n")
        for name in wanted:
            with contextlib.suppress(OSError):  # it is not built yet, or another user's
                os.utime(root / ".built" / f"{name}.json")


def releases(root: Path) -> list[Root]:
    """Return the releases that are there, of those that were registered."""
    return [found for _, found, is_there in _read_all(root) if is_there]


def forget_gone(root: Path) -> None:
    """Remove the files of releases that are gone, and what writers that were killed have left; with the lock held."""
    for path, _, is_there in _read_all(root):
        if not is_there:
            path.unlink(missing_ok=True)
    for path in (root / FOLDER).glob(".*.new"):
        path.unlink(missing_ok=True)


def processes(root: Path) -> list[Root]:
    """Return the running programs that use parts of the store: those that this user may look at."""
    pattern = re.compile(re.escape(os.fsencode(root)) + rb"/([A-Za-z0-9][-A-Za-z0-9._+]*)")
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            parts = {os.fsdecode(name) for data in _traces(folder) for name in pattern.findall(data)}
            if parts:
                name = f"process {folder.name} ({_word(folder)})"
                found.append(Root("process", name, frozenset(parts)))
    return sorted(found, key=lambda item: item.name)


def recent(root: Path, names: Iterable[str], seconds: float) -> list[Root]:
    """Return the parts that a build has made, or asked for, in the last ``seconds``."""
    now = time.time()
    return [
        Root("recent", "asked for not long ago", frozenset({name}))
        for name in names
        if now - _asked_for(root, name) < seconds
    ]


@contextlib.contextmanager
def locked(root: Path, *, alone: bool) -> Iterator[None]:
    """Hold the lock of a store's roots."""
    handle = os.open(root / FOLDER, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + _PATIENCE
        while not _take(handle, fcntl.LOCK_EX if alone else fcntl.LOCK_SH):
            if time.monotonic() > deadline:
                raise MachineError(
                    f"{root / FOLDER} is locked by another process for {_PATIENCE:.0f} s",
                    f"See 'fuser {root / FOLDER}' and try again",
                )
            time.sleep(0.02)
        yield
    finally:
        os.close(handle)


def _refusal(root: Path, error: OSError | MachineError) -> MachineError:
    if isinstance(error, MachineError):
        return error
    reason = f"{error.filename or root}: {os.strerror(error.errno or 0)}"
    return MachineError(f"nothing can be built: {reason}", "Mend that and build again: what is whole is kept")


def _shared_roots(run: RunContext) -> tuple[Path, ...]:
    try:
        return run.shared_roots
    except AllotmentError:  # its path is too long: said to whoever wants to build there
        return ()


def _places(buildout: Any) -> list[Path]:
    """Return where all parts of a release are that are in a shared store."""
    roots = _shared_roots(buildout.run)
    found = (Path(place) for name in buildout._parts if (place := buildout[name].get("location")))
    return [place for place in found if place.parent in roots]


def _names(places: Iterable[Path], root: Path) -> list[str]:
    return [place.name for place in places if place.parent == root]


def _file(root: Path, release: Path) -> Path:
    return root / FOLDER / f"{hashlib.sha256(os.fsencode(release)).hexdigest()[:32]}.json"


def _read_all(root: Path) -> Iterator[tuple[Path, Root, bool]]:
    for path in sorted((root / FOLDER).glob("[!.]*.json")):
        found = _read(path)
        if found is not None:
            release, disk = found
            yield path, release, _is_there(release.name) or not Path(disk).is_mount()


def _read(path: Path) -> tuple[Root, str] | None:
    """Return a release, and where the disk that its folder is on was mounted."""
    try:
        data = read_limited(path, _LIMIT)
        if data is None:
            return None
        document = json.loads(data)
        release = Root("release", str(document["folder"]), frozenset(map(str, document["parts"])))
        return release, str(document.get("disk", "/"))
    except (AllotmentError, ValueError, KeyError, TypeError) as error:
        raise MachineError(
            f"{path} is damaged, and nobody knows what it keeps: {error}",
            "Remove it, and build its release once more",
        ) from error


def _is_there(folder: str) -> bool:
    """Whether a folder exists; one that can't be looked at may, and so may what a link leads to."""
    try:
        mode = os.lstat(folder).st_mode
        return stat.S_ISDIR(mode) or stat.S_ISLNK(mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


def _disk(folder: Path) -> str:
    """Return where the disk is mounted that a folder is on."""
    return next(str(place) for place in (folder, *folder.parents) if place.is_mount())


def _asked_for(root: Path, name: str) -> float:
    for path in (root / ".built" / f"{name}.json", root / name):
        with contextlib.suppress(OSError):
            return path.stat().st_mtime
    return 0.0


def _take(handle: int, kind: int) -> bool:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _traces(process: Path) -> Iterator[bytes]:
    """Yield all in which a program may name a part: what it runs, has open or mapped, and was started with."""
    for name in ("exe", "cwd"):
        with contextlib.suppress(OSError):
            yield os.fsencode((process / name).readlink())
    for name in ("maps", "cmdline", "environ"):
        with contextlib.suppress(OSError):
            yield (process / name).read_bytes()
    with contextlib.suppress(OSError):
        for link in (process / "fd").iterdir():
            with contextlib.suppress(OSError):
                yield os.fsencode(link.readlink())


def _word(process: Path) -> str:
    try:
        return (process / "comm").read_text(errors="replace").strip()
    except OSError:
        return "ended"

# SPDX-License-Identifier: Apache-2.0
"""The store of built parts: one builds a part and the others wait, and what has its final name is whole.

While a part is built, its final name is a link to the temporary folder beside it: programs are configured for the
final name, install there, and may be run at once. At the end the folder takes the link's place. A link, then, is a
build at work or one that was killed; a real folder is a whole part.

    <root>/zlib-1.3.1-<hash>/        a part, read-only
    <root>/.zlib-1.3.1-<hash>.new/   what is being installed
    <root>/.work/zlib-1.3.1-<hash>/  its sources and the like; kept when the build fails
    <root>/.log/, .lock/, .built/    its log, its lock, and a note of how it was built
    <root>/.sums/                    the sha256 of each of its files
    <root>/.roots/                   the releases that need parts
    <root>/.root                     the path of the root itself, by which all parts know each other
"""

import contextlib
import glob
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from allotment.atomic import sync_file_system, write_bytes
from allotment.errors import AllotmentError, MachineError
from allotment_recipes.free_space import is_full
from allotment_recipes.part_locks import Idle, try_lock, wait_for_lock


@dataclass(frozen=True)
class Place:
    """Where one part is being built."""

    location: Path  # its final name; already usable
    work: Path  # a folder for what is needed to build it
    log: Path
    lock: int  # for the programs that build: as long as one of them lives, nobody else builds this part


_ROOT = ".root"  # file that holds the root for which the parts were built


class Store:
    """One store, used by any number of processes at a time."""

    def __init__(self, root: Path, *, seals: bool = True) -> None:
        self.root = root
        self._seals = seals  # makes parts read-only: not where upstream's command must be able to remove them

    def holds(self, location: Path) -> bool:
        """Tell whether a part is there, whole."""
        return is_whole(location)

    def work(self, location: Path) -> Path:
        """Return the folder in which a part is, or was, built."""
        return self.root / ".work" / location.name

    def log(self, location: Path) -> Path:
        """Return the log of the last build of a part."""
        return self.root / ".log" / f"{location.name}.log"

    @property
    def is_moved(self) -> bool:
        """Whether the parts were built for another root: they know it by its path, and none of them works here."""
        note = self.root / _ROOT
        return note.is_file() and note.read_text() != str(self.root)

    @contextlib.contextmanager
    def building(
        self,
        location: Path,
        builder: str,
        say: Callable[[str], None],
        *,
        keep_work: bool = False,
        idle: Idle = contextlib.nullcontext,
    ) -> Iterator[Place | None]:
        """Give the place to build a part in, or None when it is there already, perhaps since another built it now.

        ``builder`` is what others read who wait for us; we wait within ``idle``. The work folder stays when the block
        raises, unless the disk is full.
        """
        if self.holds(location) and not self.lacks_others(location):
            yield None
            return
        try:
            for name in (".work", ".log", ".lock", ".built"):
                (self.root / name).mkdir(parents=True, exist_ok=True)
            write_bytes(self.root / _ROOT, str(self.root).encode())
            with wait_for_lock(self.root / ".lock" / location.name, builder, say, idle) as lock:
                if self.holds(location) and not self.lacks_others(location):
                    yield None
                    return
                if self.holds(location):
                    say(f"{location.name} is built anew: it refers to parts of another store that are gone")
                    location.rename(self._temporary(location))  # a folder that the build removes first
                yield from self._build(location, lock, keep_work)
        except OSError as error:
            reason = f"{error.filename or self.root}: {os.strerror(error.errno or 0)}"
            raise AllotmentError(
                f"{location.name} can't be built: {reason}", "Mend that and build again: what is whole is kept"
            ) from error

    def sweep(self) -> None:
        """Remove what builds that were killed have left; a part that somebody is building is let alone.

        A store that was moved is an error.
        """
        if not self.root.is_dir():
            return
        if self.is_moved:
            raise MachineError(
                f"the store {self.root} was moved: its parts were built for {(self.root / _ROOT).read_text()}",
                "Move it back, or remove it: what is needed is built anew",
            )
        for folder in self.root.glob(".*.new"):
            if not folder.is_dir():  # the note of the root, half-written, perhaps at this moment
                continue
            name = folder.name[1 : -len(".new")]
            with try_lock(self.root / ".lock" / name) as lock:
                if lock is not None:
                    remove(self.root / ".work" / name)
                    self._clear(self.root / name)

    def note(self, location: Path, fields: Mapping[str, Any]) -> None:
        """Write down how a part was built: ``seconds``, ``bytes``, and in ``references`` the parts that it refers to.

        When it is sealed, ``digest`` is added, and what its bytes say: more ``references``, and in ``outside`` the
        paths of parts in other stores.
        """
        text = json.dumps({"format": 1, **fields}, sort_keys=True, indent=2)
        write_bytes(self.root / ".built" / f"{location.name}.json", text.encode() + b"\n")

    def record(self, location: Path, folder: Path) -> None:
        """Record what a sealed part is made of, for ``allot store``; ``folder`` is where it is now."""
        from allotment_recipes.stores import contents, notes

        found = contents.look(folder)
        contents.record(self.root, location.name, found)
        note = notes.read_note(self.root, location.name)
        if note is not None:
            inside, outside = notes.split(self.root, location.name, found.paths)
            note |= {"references": sorted(inside.union(note.get("references", ()))), "outside": sorted(outside)}
            self.note(location, {**note, "digest": found.digest})

    def lacks_others(self, location: Path) -> bool:
        """Whether a part names parts of other stores that are not there any more; it must be built anew then."""
        from allotment_recipes.stores import notes

        note = notes.read_note(self.root, location.name) or {}
        return not all(is_whole(path) for path in note.get("outside", ()))

    def _build(self, location: Path, lock: int, keep_work: bool) -> Iterator[Place]:
        self._clear(location)
        folder, work = self._temporary(location), self.work(location)
        try:
            folder.mkdir()  # first: by it a later sweep finds all the rest
            remove(work)
            work.mkdir(parents=True)
            location.symlink_to(folder.name)
            yield Place(location, work, self.log(location), lock)
            if self._seals:
                seal(folder)
                self.record(location, folder)
            sync_file_system(folder)
            if not keep_work:
                remove(work)  # before the part has its name: nobody would look for it any more
            location.unlink()
            folder.rename(location)
            _sync_folder(self.root)
        except BaseException:
            self._clear(location)
            if is_full(self.root):
                remove(work)  # it may be what has filled the disk, and the next build could not even begin
            raise

    def _clear(self, location: Path) -> None:
        """Remove the link, the temporary folder and half-written notes; the caller holds the lock."""
        if location.is_symlink():
            location.unlink()
        for place in (".built", ".sums"):
            for path in (self.root / place).glob(f".{glob.escape(location.name)}.json.*.new"):
                path.unlink(missing_ok=True)
        remove(self._temporary(location))

    def _temporary(self, location: Path) -> Path:
        return self.root / f".{location.name}.new"


def built_parts(root: Path) -> list[dict[str, Any]]:
    """Return the name, version, seconds and bytes of every whole part of a store, as noted by who built it."""
    found = []
    for path in sorted(root.glob(".built/*.json")):
        if Store(root).holds(root / path.stem):
            note = json.loads(path.read_bytes())
            found.append({"name": note["part"], **{key: note[key] for key in ("version", "seconds", "bytes")}})
    return found


def seal(folder: Path) -> None:
    """Make all of a part read-only, for everybody: what its builder could run anyone can; links are let alone."""
    for name, _, files in os.walk(folder, topdown=False):
        for path in (*(Path(name, file) for file in files), Path(name)):
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode):
                continue
            path.chmod(0o555 if stat.S_ISDIR(status.st_mode) or status.st_mode & 0o111 else 0o444)


def remove(folder: Path) -> None:
    """Remove a folder of ours, also a read-only one; none there is fine."""
    if not folder.exists():
        return
    import shutil

    folder.chmod(0o700)
    for name, folders, _ in os.walk(folder):
        for path in (Path(name, item) for item in folders):  # before os.walk looks into them
            if not path.is_symlink():
                path.chmod(0o700)
    shutil.rmtree(folder)


def is_whole(location: Path | str) -> bool:
    """Tell whether a part is at ``location``, and no link to one that is being built."""
    try:
        return stat.S_ISDIR(os.lstat(location).st_mode)  # asked twice, a link that goes in between would be a folder
    except (FileNotFoundError, NotADirectoryError):
        return False


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

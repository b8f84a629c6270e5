# SPDX-License-Identifier: Apache-2.0
"""What a run wants to write and remove, applied by rename after the whole run succeeded."""

import errno
import json
import logging
import os
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Final

from allotment.atomic import read_limited, write_bytes, write_link
from allotment.errors import AllotmentError
from allotment_recipes.changes import Change, File, Link, compare
from allotment_recipes.free_space import FULL, FullDiskError, check_space

_NOTE_LIMIT: Final = 16 << 20  # bytes of the note of a run


class Journal:
    """Files and symbolic links by final path; nothing on disk changes before :meth:`apply`, unless it is ``immediate``.

    A build is immediate, because its parts run commands on each other's files; an instance's run is not, so a run
    that fails leaves the files of the generation before it.
    """

    def __init__(self, *, immediate: bool) -> None:
        self.immediate = immediate
        self.scrub: Callable[[str], str] = str  # blanks secrets out of what is said of changes
        self._entries: dict[Path, File | Link] = {}
        self._removals: set[Path] = set()
        self._kept: set[Path] = set()
        self._read: set[Path] = set()  # as they were before this run
        self._actions: list[Callable[[], object]] = []
        self.before_flush: Callable[[], None] = lambda: None  # lets a run note what it is about to write
        self.before_new: Callable[[Path], None] = lambda path: None  # the same of a build, for each new file or link

    def write(self, path: Path, data: bytes, mode: int, section: str, profile: str = "") -> None:
        """Enter a file; two sections that write the same path are an error.

        Those of one name in two profiles may both write the same there: it is in what both extend.
        """
        self._enter(path, File(data, mode, section, profile))

    def link(self, path: Path, target: str, section: str, profile: str = "") -> None:
        """Enter a symbolic link that holds ``target`` as it is written; it need not exist."""
        self._enter(path, Link(target, section, profile))

    def _enter(self, path: Path, entry: File | Link) -> None:
        earlier = self._entries.get(path)
        if earlier is not None and earlier.section != entry.section:
            raise AllotmentError(
                f"[{entry.section}] writes {path}, as [{earlier.section}] does", "Give one another path"
            )
        is_others = earlier is not None and earlier.profile != entry.profile
        if earlier is not None and is_others and replace(earlier, profile=entry.profile) != entry:
            raise AllotmentError(
                f"[{entry.section}] writes {path}, as the section of that name in another profile does",
                "Give one another path",
            )
        if earlier is None and path in self._read:
            raise AllotmentError(
                f"[{entry.section}] writes {path}, which another section has read before, as it was",
                f"Let that section come later, by referring to [{entry.section}]",
            )
        self._entries[path] = entry
        self._removals.discard(path)
        if self.immediate and (change := compare(path, entry, self.scrub)) is not None:
            if change.kind == "new" and path not in self._kept:
                self.before_new(path)
            self._put(path, entry, change)

    def remove(self, path: Path) -> None:
        """Enter the removal of a file or link; writing it later in the same run keeps it."""
        if self.immediate:
            _remove(path)
        elif path not in self._entries:
            self._removals.add(path)

    def keep(self, path: Path) -> None:
        """Let a file stay that no part owns, also when the run that made it fails or is killed."""
        self._kept.add(path)

    def is_leaving(self, path: Path) -> bool:
        """Say whether ``path`` is removed at the end of the run."""
        return path in self._removals

    def flush(self) -> None:
        """Write what is entered so far: a command that runs now needs it. It stays written when the run fails."""
        if not self.immediate:
            self.before_flush()
            self._put_all()

    def release(self, path: Path) -> None:
        """Do a removal now that was to be done at the end: a command is about to make the file anew."""
        if path in self._removals:
            self._removals.remove(path)
            _remove(path)

    def before_removals(self, action: Callable[[], object]) -> None:
        """Do ``action`` once the run has succeeded and its files are written; at once when the journal is immediate."""
        if self.immediate:
            action()
        else:
            self._actions.append(action)

    @property
    def paths(self) -> frozenset[Path]:
        """Every file and link that is written."""
        return frozenset(self._entries)

    def paths_of(self, sections: Collection[str]) -> frozenset[Path]:
        """Return the files and links that these sections have written."""
        return frozenset(path for path, entry in self._entries.items() if entry.section in sections)

    @property
    def made(self) -> frozenset[Path]:
        """The files and links that are not there yet, without those to be kept: what goes when the run fails."""
        return frozenset(path for path in self._entries if path not in self._kept and not os.path.lexists(path))

    def read(self, path: Path) -> bytes:
        """Return what ``path`` holds once the journal is applied; links are followed.

        Who reads a file before it is written in the same run would go by an old one: writing it is an error then.
        """
        path, entry = self._follow(path)
        if entry is not None:
            return entry.data
        data = path.read_bytes()
        self._read.add(path)
        return data

    def mode(self, path: Path) -> int:
        """Return the permissions that ``path`` has once the journal is applied; links are followed."""
        path, entry = self._follow(path)
        return entry.mode if entry is not None else path.stat().st_mode & 0o7777

    def _follow(self, path: Path) -> tuple[Path, File | None]:
        seen: set[Path] = set()
        while isinstance(entry := self._entries.get(path), Link):
            if path in seen:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
            seen.add(path)
            path = Path(os.path.normpath(path.parent / entry.target))
        return path, entry

    def changes(self) -> list[Change]:
        """Return what :meth:`apply` would change now, files and links first."""
        written = (compare(path, entry, self.scrub) for path, entry in self._entries.items())
        removed = (Change("removed", path, "") for path in sorted(self._removals) if os.path.lexists(path))
        return [change for change in (*written, *removed) if change is not None]

    def apply(self) -> None:
        """Write all files and links, then remove what has gone; running it twice does no harm.

        Each change is logged by its section.
        """
        if not self.immediate:
            self._put_all()
        while self._actions:
            self._actions.pop(0)()
        written = {_real(path) for path in self._entries} if self._removals else set()
        for path in sorted(self._removals):
            if _real(path) not in written:  # the same file by another path
                _remove(path)

    def _put_all(self) -> None:
        """Write what is not as it should be; when the disk has no space for all of it, nothing is changed."""
        found = ((path, compare(path, entry, self.scrub)) for path, entry in self._entries.items())
        changes = {path: change for path, change in found if change is not None}
        entries = {path: self._entries[path] for path in changes}
        check_space((path, len(entry.data)) for path, entry in entries.items() if isinstance(entry, File))
        for path, entry in entries.items():
            self._put(path, entry, changes[path])

    def _put(self, path: Path, entry: File | Link, change: Change) -> None:
        for parent in path.parents:
            self.release(parent)  # what was a file is a folder now
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(entry, Link):
                write_link(path, entry.target)
            else:
                write_bytes(path, entry.data, entry.mode, sync=False)  # a lost file is made again by the next run
        except OSError as error:
            what = f"[{entry.section}] can't write {path}: {os.strerror(error.errno) if error.errno else error}"
            if error.errno in FULL:
                raise FullDiskError(what, "Make space") from error
            raise AllotmentError(what, "Check the path and its owner") from error
        logging.getLogger(entry.section).info("%s", change)


def _remove(path: Path) -> None:
    """Remove a file or link; what has become a folder is somebody else's."""
    if not os.path.lexists(path) or (path.is_dir() and not path.is_symlink()):
        return
    try:
        path.unlink()
    except OSError as error:
        raise AllotmentError(f"{path} can't be removed: {error.strerror}", "Check the owner of its folder") from error
    logging.getLogger("zc.buildout").info("%s", Change("removed", path, ""))


def is_inside(path: Path, folder: Path) -> bool:
    """Whether what ``path`` names is below ``folder``, wherever links on the way lead."""
    return path.name not in ("", "..") and Path(os.path.realpath(path.parent)).is_relative_to(os.path.realpath(folder))


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path.parent), path.name)


class Unfinished:
    """The note of a run that is applying its journal: what a killed run has written is known to the next one.

    Without it a file that was written, but not yet recorded in ``.installed.cfg``, would stay when its part goes. What
    was there before is not noted: it is recorded, or it is data that no part owns.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._earlier = _read_note(path)
        self._noted = set(self._earlier)
        self._is_kept = False

    def begin(self, journal: Journal, recorded: Collection[str] = (), *, is_complete: bool) -> None:
        """Note what is about to be written; a complete run removes what a killed one left and nobody writes now.

        The paths that are ``recorded`` as some part's stay: a part need not write its files at each run.
        """
        self._noted.update(map(str, journal.made))
        if is_complete:
            for left in map(Path, set(self._earlier).difference(recorded)):
                if is_inside(left, self._path.parent.parent):
                    journal.remove(left)
        self._is_kept = not is_complete and bool(self._earlier)
        write_bytes(self._path, json.dumps(sorted(self._noted)).encode(), 0o600, sync=False)

    def end(self) -> None:
        """Forget: all is recorded. A partial run keeps the note of a killed one for a complete run."""
        if not self._is_kept:
            self._path.unlink()


def _read_note(path: Path) -> list[str]:
    """Return the paths of a note; of one that was cut short by a loss of power, or that others wrote, none."""
    try:
        found = json.loads(read_limited(path, _NOTE_LIMIT) or b"[]")
    except (AllotmentError, ValueError, RecursionError):
        return []
    names = found if isinstance(found, list) else []
    return [name for name in names if isinstance(name, str) and "\0" not in name]

# SPDX-License-Identifier: Apache-2.0
"""The file system that a build sees: the system's compilers and libraries, and the few folders that it is given."""

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from allotment_recipes.hermetic import kernel

HOST_FOLDERS: Final = (Path("/usr/bin"), Path("/bin"))  # where the machine's programs are
_SYSTEM: Final = ("etc", "usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32")
_NOT_OF_THE_SYSTEM: Final = ("local", "games")  # of /usr: compilers look into /usr/local, and nobody declared it
_DEVICES: Final = ("null", "zero", "full", "random", "urandom", "tty")
# Of /proc: what root could tell the machine there, whatever namespaces he is in.
_OF_THE_MACHINE: Final = ("acpi", "bus", "fs", "irq", "mtrr", "scsi", "sys", "sysrq-trigger")
_OLD: Final = Path("/.old")
_TEMPORARY: Final = Path("/tmp")  # there it is each build's own


def real_programs(folder: Path) -> Path:
    """Return where the programs of a folder of ``HOST_FOLDERS`` are when links to some have taken its place.

    It is beside it: gcc looks for its other half from where it is.
    """
    return folder.with_name(f".{folder.name}")


def is_of_the_system(path: Path) -> bool:
    """Tell whether a path without links is seen by all builds, or is the root itself."""
    _, top, *more = (*path.parts, "")
    return not top or (top in _SYSTEM and not (top == "usr" and more[0] in _NOT_OF_THE_SYSTEM))


@dataclass(frozen=True)
class Root:
    """A root folder that is put together from parts of the one that there is."""

    places: Sequence[tuple[Path, Path, bool]]  # path without links, its name, whether it may be written to; outer first
    programs: Path | None  # what takes the place of HOST_FOLDERS; links in it lead to real_programs
    whole: Sequence[tuple[Path, Path]]  # programs without links, and what they are called
    secret: Sequence[tuple[Path, bool]]  # what only some may read in the folders of the system; whether it is a folder

    def enter(self) -> None:
        """Make it the root of this process, which has a namespace of mounts of its own, and of processes."""
        kernel.mount("", "/", "", kernel.RECURSIVE | kernel.PRIVATE)
        old = Path(f"{_TEMPORARY}{_OLD}")
        kernel.mount("build", _TEMPORARY, "tmpfs", kernel.NO_SUID | kernel.NO_DEVICES, "mode=0755")
        old.mkdir()
        kernel.change_root(_TEMPORARY, old)
        os.chdir("/")
        for name in _SYSTEM:
            self._show(Path("/", name))
        _make_proc_and_dev()
        for folder in (_TEMPORARY, Path("/dev/shm")):
            folder.mkdir()
            kernel.mount("build", folder, "tmpfs", kernel.NO_SUID | kernel.NO_DEVICES, "mode=1777")
        Path("/var").mkdir()
        Path("/var/tmp").symlink_to(_TEMPORARY)
        self._hide_secrets()
        for source, target in self.whole:
            _bind(source, target)
        for source, target, may_write in self.places:
            _bind(source, target, may_write=may_write)
        kernel.unmount(_OLD)
        _OLD.rmdir()
        kernel.make_read_only(Path("/"), recursive=False)

    def _show(self, path: Path) -> None:
        """Let a folder of the system be seen."""
        old = _before(path)
        if old.is_symlink():
            path.symlink_to(old.readlink())
        elif path == Path("/usr"):
            path.mkdir()
            for child in old.iterdir():
                if child.name not in _NOT_OF_THE_SYSTEM:
                    self._show(path / child.name)
        elif path in HOST_FOLDERS and self.programs is not None:
            _bind(path, real_programs(path))
            _bind(self.programs, path)
        elif old.is_dir():
            _bind(path, path)

    def _hide_secrets(self) -> None:
        """Let root too see only what everybody may read, but for the folders that ``places`` are in."""
        shown = {target.parts[:3] for _, target, _ in self.places}
        for path, is_folder in self.secret:
            if path.parts[:3] in shown:
                continue
            with contextlib.suppress(FileNotFoundError):  # taken away meanwhile
                if is_folder:
                    kernel.mount("build", path, "tmpfs", kernel.NO_SUID | kernel.NO_DEVICES, "mode=0755")
                    kernel.make_read_only(path)
                else:
                    kernel.mount("/dev/null", path, "", kernel.BIND)


def secrets(folder: Path) -> Sequence[tuple[Path, bool]]:
    """Return what not everybody may read in a folder, and whether it is one itself.

    It is looked for once, as long as nothing comes into the folder or goes.
    """
    known = _SECRETS.get(folder)
    if known is None or any(_changed(path) != changed for path, changed in known[0].items()):
        folders: dict[str, int] = {}
        found = tuple(_secrets(str(folder), folders)) if folder.is_dir() and not folder.is_symlink() else ()
        known = _SECRETS[folder] = (folders, found)
    return known[1]


_SECRETS: Final[dict[Path, tuple[dict[str, int], Sequence[tuple[Path, bool]]]]] = {}


def _secrets(folder: str, folders: dict[str, int]) -> Iterator[tuple[Path, bool]]:
    folders[folder] = _changed(folder)
    with os.scandir(folder) as entries:
        for entry in entries:
            is_folder = entry.is_dir(follow_symlinks=False)
            wanted = stat.S_IROTH | stat.S_IXOTH if is_folder else stat.S_IROTH
            with contextlib.suppress(FileNotFoundError):  # taken away meanwhile
                if entry.is_symlink():
                    continue
                if entry.stat(follow_symlinks=False).st_mode & wanted != wanted:
                    yield Path(entry), is_folder
                elif is_folder:
                    yield from _secrets(entry.path, folders)


def _changed(folder: str) -> int:
    """Return when something has come into a folder, or has gone."""
    try:
        return Path(folder).stat().st_mtime_ns
    except OSError:
        return 0


def _make_proc_and_dev() -> None:
    proc, dev = Path("/proc"), Path("/dev")
    proc.mkdir()
    try:
        kernel.mount("proc", proc, "proc", kernel.NO_SUID | kernel.NO_DEVICES | kernel.NO_PROGRAMS)
    except PermissionError:  # in a container that hides some of it: all see all processes then
        kernel.mount(_before(proc), proc, "", kernel.BIND | kernel.RECURSIVE)
    for name in _OF_THE_MACHINE:
        if (proc / name).exists():
            kernel.mount(proc / name, proc / name, "", kernel.BIND | kernel.RECURSIVE)
            kernel.make_read_only(proc / name)
    dev.mkdir()
    for name in _DEVICES:
        if _before(dev / name).exists():
            _bind(dev / name, dev / name, may_write=True)
    (dev / "pts").mkdir()
    kernel.mount("build", dev / "pts", "devpts", kernel.NO_SUID | kernel.NO_PROGRAMS, "newinstance,ptmxmode=0666")
    (dev / "ptmx").symlink_to("pts/ptmx")
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        (dev / name).symlink_to(f"/proc/self/fd/{number}")
    (dev / "fd").symlink_to("/proc/self/fd")


def _bind(source: Path, target: Path, *, may_write: bool = False) -> None:
    """Show what was ``source`` as ``target``."""
    old = _before(source)
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        if old.is_dir():
            target.mkdir()
        else:
            target.touch()
    kernel.mount(old, target, "", kernel.BIND | kernel.RECURSIVE)
    if not may_write:
        kernel.make_read_only(target)


def _before(path: Path) -> Path:
    """Return where a path of the root before is while the new one is made."""
    return Path(f"{_OLD}{path}")

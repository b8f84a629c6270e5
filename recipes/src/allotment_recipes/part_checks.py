# SPDX-License-Identifier: Apache-2.0
"""What is checked of a part when it is built: its libraries are the store's, and nothing remembers where it was built.

The loader would find a library that the machine happens to have, on this machine; so each one is looked for here as
the loader does, but only in the folders that the file itself names.
"""

import os
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from allotment.errors import AllotmentError
from allotment_recipes import elf
from allotment_recipes.hermetic.named_places import configuration_problems, interpreter_problem
from allotment_recipes.shared_store import Store
from allotment_recipes.stores.notes import references_of

# libc's family: the platform in every part's hash names it, and parts are built for it. libcrypt was glibc's own and
# is still on every system with its loader; libgcc_s and libstdc++ belong to the compiler. With another number it is
# another library, such as libnsl.so.2.
LIBC_FAMILY: Final = re.compile(
    r"(ld-linux[-\w]*\.so\.[123]|ld64\.so\.[12]|lib(c|m|stdc\+\+)\.so\.6|lib(dl|resolv)\.so\.2|libpthread\.so\.0"
    r"|lib(mvec|rt|util|anl|nsl|crypt|gcc_s|atomic)\.so\.1|ld-musl-\w+\.so\.1|libc\.musl-\w+\.so\.1)"
)
FIRST_LINE: Final = 255  # bytes of a script's first line that a kernel (5.1 or later) reads
SHOWN: Final = 10  # problems that an error lists
_TEXT_SAMPLE: Final = 8192  # bytes without a NUL make a file a text


class PartError(AllotmentError):
    """A built part must not go into the store."""


@dataclass(frozen=True)
class _Part:
    location: Path
    roots: Collection[Path]
    traces: tuple[Path, ...]
    built_in: tuple[Path, ...]
    declared: frozenset[str] | None  # names of the parts' folders
    programs: Collection[str]

    def objection(self, path: Path) -> str:
        """Return why this part may not use a path without links, which is not in itself; empty when it may."""
        for own in (self.location, self.location.resolve()):
            if path.is_relative_to(own):
                return ""
        for root in self.roots:
            inside = path.relative_to(root).parts if path.is_relative_to(root) else ()
            if inside and inside[0][0] != "." and Store(root).holds(root / inside[0]):
                if self.declared is None or inside[0] in self.declared:
                    return ""
                return f"a part that the section does not refer to (write ${{{_section(inside[0])}:location}} in it)"
        return "which is no part of the store"


def check_part(
    name: str,
    location: Path,
    roots: Collection[Path],
    traces: Iterable[Path],
    *,
    built_in: Iterable[Path] = (),
    parts: Iterable[Path] | None = None,
    programs: Collection[str] = (),
) -> None:
    """Raise unless the part at ``location`` needs only the stores at ``roots``, and no text of it names a ``traces``.

    ``traces`` are folders that go away, or are another release's: the sources' folder, the release's. Those that it was
    ``built_in`` are looked for in files that are no texts too. It may use only ``parts`` and what these refer to;
    without them all that is in the stores. ``programs`` of the machine may run its scripts.
    """
    declared = None if parts is None else with_references(parts, roots)
    part = _Part(location, roots, tuple(traces), tuple(built_in), declared, programs)
    problems = [problem for path in _files(location) for problem in _problems(path, part)]
    if problems:
        more = f"\n  and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        listed = "".join(f"\n  {problem}" for problem in problems[:SHOWN])
        raise PartError(f"[{name}] is built, but is not fit for the store:{listed}{more}")


def with_references(parts: Iterable[Path], roots: Collection[Path]) -> frozenset[str]:
    """Return the names of the parts and of all that these refer to, as was noted when they were built."""
    found: set[str] = set()
    todo = [part.name for part in parts]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            root = next((root for root in roots if Store(root).holds(root / name)), None)
            todo += references_of(root, name).names if root is not None else ()
    return frozenset(found)


def _section(folder: str) -> str:
    """Return the section's name of a part's folder, which has its version and hash as well."""
    return folder.rsplit("-", 2)[0]


def _files(location: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(f"{location}/"):  # with the slash: it is a link while it is built
        folders.sort()
        for name in sorted(files):
            yield Path(folder, name)
        yield from (Path(folder, name) for name in folders if Path(folder, name).is_symlink())


def _problems(path: Path, part: _Part) -> Iterator[str]:
    name = path.relative_to(part.location).as_posix()
    if path.is_symlink():
        target = str(path.readlink()).encode()
        yield from (f"{name} is a link into {trace}: link inside the part" for trace in _named(target, part.traces))
        return
    if not path.is_file():
        yield f"{name} is neither a file nor a folder: remove it in post-install"
        return
    try:
        asked = elf.read(path)
    except ValueError as error:
        yield f"{name} is {error}: remove it in post-install"
        return
    if asked is not None:
        yield from _search_problems(name, path, asked, part)
        yield from _library_problems(name, path, asked, part)
    data = path.read_bytes()
    if data.startswith(b"#!") and (size := len(data.partition(b"\n")[0])) > FIRST_LINE:
        yield f"{name} has a first line of {size} bytes, and kernels read {FIRST_LINE}: shorten it in post-install"
    if path.stat().st_mode & 0o111 and (problem := interpreter_problem(name, data, part.programs, part.objection)):
        yield problem
    if name.endswith((".pc", ".la", ".cmake")):
        yield from configuration_problems(name, data.decode(errors="replace"), part.objection)
    if b"\0" not in data[:_TEXT_SAMPLE]:
        for trace in _named(data, part.traces):
            line = next(number for number, text in enumerate(data.split(b"\n"), 1) if names_folder(text, trace))
            yield f"{name}, line {line} names {trace}, which goes away: replace it in post-install, or remove the file"
        return
    if part.location.is_symlink() and names_folder(data, part.location.resolve()):  # as `pwd -P` says
        yield f"{name} names {part.location.resolve()}, which goes away: hand @@LOCATION@@ on as it is written"
        return
    for trace in _named(data, part.built_in):
        yield f"{name} names {trace}, where it was built: have it built by a relative path, or remove the file"


def _search_problems(name: str, path: Path, asked: elf.Elf, part: _Part) -> Iterator[str]:
    for folder in _folders(asked, path):
        if why := part.objection(Path(os.path.normpath(folder))):
            where = folder or "the current folder"
            yield f"{name} has an rpath into {where}, {why}: set LDFLAGS or install without it"


def _library_problems(name: str, path: Path, asked: elf.Elf, part: _Part) -> Iterator[str]:
    folders = _folders(asked, path)
    for library in asked.needed:
        if LIBC_FAMILY.fullmatch(library):
            continue
        if "/" in library and not library.startswith("/"):
            yield f"{name} takes {library} from the folder that it is started in: give that library a soname"
            continue
        fix = _library_fix(library, part.location)
        found = next((Path(folder, library) for folder in folders if Path(folder, library).exists()), None)
        if found is None:
            yield f"{name} needs {library}, which is in no folder of its rpath: {fix}"
        elif why := part.objection(found.resolve()):
            yield f"{name} takes {library} from {found.parent}, {why}: {fix}"


def _folders(asked: elf.Elf, path: Path) -> list[str]:
    origin = str(path.parent)
    return [folder.replace("${ORIGIN}", origin).replace("$ORIGIN", origin) for folder in asked.search]


def _library_fix(library: str, location: Path) -> str:
    if any(location.rglob(library)):
        return f"add -Wl,-rpath=@@LOCATION@@/{next(location.rglob(library)).parent.relative_to(location)} to LDFLAGS"
    return "refer to the part that builds it (${<part>:location}), or configure without it"


def names_folder(text: str | bytes, folder: Path) -> bool:
    """Tell whether a text names a folder or something in it, not only one whose name begins alike."""
    data, name = text.encode() if isinstance(text, str) else text, str(folder).encode()
    return name in data and re.search(re.escape(name) + rb"(?![-\w.])", data) is not None


def _named(data: bytes, traces: tuple[Path, ...]) -> list[Path]:
    return [trace for trace in traces if names_folder(data, trace)]

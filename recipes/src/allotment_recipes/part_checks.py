# SPDX-License-Identifier: Apache-2.0
"""What is checked of a part when it is built: its libraries are the store's, and nothing remembers where it was built.

The loader would find a library that the machine happens to have, on this machine; so each one is looked for here as
the loader does, but only in the folders that the file itself names.
"""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from allotment.errors import AllotmentError
from allotment_recipes import elf

# libc's family: the platform in every part's hash names it, and parts are built for it. libcrypt was glibc's own and
# is still on every system with its loader; libgcc_s and libstdc++ belong to the compiler.
LIBC_FAMILY: Final = re.compile(
    r"(ld-linux[-\w]*|ld64|libc|libm|libmvec|libpthread|libdl|librt|libutil|libresolv|libanl|libnsl|libcrypt"
    r"|libgcc_s|libstdc\+\+|libatomic)\.so(\.\d+)*|ld-musl-\w+\.so\.1|libc\.musl-\w+\.so\.1"
)
FIRST_LINE: Final = 255  # bytes of a script's first line that a kernel (5.1 or later) reads
SHOWN: Final = 10  # problems that an error lists
_TEXT_SAMPLE: Final = 8192  # bytes without a NUL make a file a text


class PartError(AllotmentError):
    """A built part must not go into the store."""


def check_part(name: str, location: Path, root: Path, traces: Iterable[Path]) -> None:
    """Raise unless the part at ``location`` needs only the store at ``root``, and no text of it names a ``traces``.

    ``traces`` are folders that go away, or are another release's: the sources' folder, the release's.
    """
    folders = tuple(traces)
    problems = [problem for path in _files(location) for problem in _problems(path, location, root, folders)]
    if problems:
        more = f"\n  and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        listed = "".join(f"\n  {problem}" for problem in problems[:SHOWN])
        raise PartError(f"[{name}] is built, but is not fit for the store:{listed}{more}")


def _files(location: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(f"{location}/"):  # with the slash: it is a link while it is built
        folders.sort()
        for name in sorted(files):
            yield Path(folder, name)
        yield from (Path(folder, name) for name in folders if Path(folder, name).is_symlink())


def _problems(path: Path, location: Path, root: Path, traces: tuple[Path, ...]) -> Iterator[str]:
    name = path.relative_to(location).as_posix()
    if path.is_symlink():
        target = str(path.readlink())
        yield from (f"{name} is a link into {trace}: link inside the part" for trace in _named(target.encode(), traces))
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
        for trace in _named(":".join(asked.search).encode(), traces):
            yield f"{name} has an rpath into {trace}, which goes away: set LDFLAGS or install without it"
        yield from _library_problems(name, path, asked, location, root)
        return
    data = path.read_bytes()
    if data.startswith(b"#!") and (size := len(data.partition(b"\n")[0])) > FIRST_LINE:
        yield f"{name} has a first line of {size} bytes, and kernels read {FIRST_LINE}: shorten it in post-install"
    if b"\0" not in data[:_TEXT_SAMPLE]:
        for trace in _named(data, traces):
            line = next(number for number, text in enumerate(data.split(b"\n"), 1) if names_folder(text, trace))
            yield f"{name}, line {line} names {trace}, which goes away: replace it in post-install, or remove the file"


def _library_problems(name: str, path: Path, asked: elf.Elf, location: Path, root: Path) -> Iterator[str]:
    origin = str(path.parent)
    folders = [folder.replace("${ORIGIN}", origin).replace("$ORIGIN", origin) for folder in asked.search]
    for library in asked.needed:
        if LIBC_FAMILY.fullmatch(library):
            continue
        found = next((Path(folder, library) for folder in folders if Path(folder, library).exists()), None)
        if found is None:
            yield f"{name} needs {library}, which is in no folder of its rpath: {_library_fix(library, location)}"
        elif not found.resolve().is_relative_to(root):
            yield f"{name} takes {library} from {found.parent}, outside the store: {_library_fix(library, location)}"


def _library_fix(library: str, location: Path) -> str:
    if any(location.rglob(library)):
        return f"add -Wl,-rpath=@@LOCATION@@/{next(location.rglob(library)).parent.relative_to(location)} to LDFLAGS"
    return "refer to the part that builds it (${<part>:location}), or configure without it"


def names_folder(text: str | bytes, folder: Path) -> bool:
    """Tell whether a text names a folder or something in it, not only one whose name begins alike."""
    data = text.encode() if isinstance(text, str) else text
    return re.search(re.escape(str(folder).encode()) + rb"(?![-\w.])", data) is not None


def _named(data: bytes, traces: tuple[Path, ...]) -> list[Path]:
    return [trace for trace in traces if names_folder(data, trace)]

# SPDX-License-Identifier: Apache-2.0
"""What a section promises of its part: files that must be there once it is built, and how libraries are linked."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from allotment.options import OptionProblem
from allotment_recipes import elf
from allotment_recipes.part_checks import PartError

_KINDS: Final = ("directory", "file", "statlib", "dynlib")
_ARCHIVE: Final = b"!<arch>\n"


@dataclass(frozen=True)
class PartPromise:
    """One line; ``kind`` is empty when anything of that name will do."""

    path: Path
    kind: str = ""
    linked: tuple[str, ...] = ()  # libraries that a dynlib must ask for
    rpath: tuple[str, ...] = ()  # folders in which it must look for them

    def problems(self) -> Iterator[str]:
        """Yield what is not as promised; of a name with ``*``, all that it stands for must be, and one be there."""
        found = sorted(self.path.parent.glob(self.path.name)) if "*" in self.path.name else []
        for promise in [replace(self, path=path) for path in found] or [self]:
            yield from promise._own_problems()

    def _own_problems(self) -> Iterator[str]:
        if not self.path.exists():
            yield f"{self.path} is not there"
            return
        if self.kind and self.path.is_dir() != (self.kind == "directory"):
            yield f"{self.path} is {'a' if self.path.is_dir() else 'no'} folder"
            return
        if self.kind == "statlib":
            with self.path.open("rb") as file:
                if file.read(len(_ARCHIVE)) != _ARCHIVE:
                    yield f"{self.path} is no static library"
        if self.kind == "dynlib":
            yield from self._linking_problems()

    def _linking_problems(self) -> Iterator[str]:
        try:
            found = elf.read(self.path)
        except ValueError as error:
            yield f"{self.path} is {error}"
            return
        if found is None:
            yield f"{self.path} is no ELF file"
            return
        yield from (f"{self.path} is not linked to {name}" for name in self.linked if name not in found.needed)
        yield from (f"{self.path} has no rpath to {name}" for name in self.rpath if name not in found.search)


def read_promises(lines: Iterable[str], location: Path) -> tuple[PartPromise, ...]:
    """Return the promises of lines like ``dynlib:lib/libz.so linked:libc.so.6``; paths begin at ``location``."""
    return tuple(_promise(line, location) for line in lines)


def check_promises(name: str, promises: Iterable[PartPromise]) -> None:
    """Raise unless the part ``name`` is as promised."""
    if problems := [problem for promise in promises for problem in promise.problems()]:
        listed = "".join(f"\n  {problem}" for problem in problems)
        raise PartError(f"[{name}] promises: it is built, but not as promised:{listed}")


def _promise(line: str, location: Path) -> PartPromise:
    kind, colon, text = line.partition(":")
    if not colon or "/" in kind:
        return PartPromise(location / line)
    words = [word for word in text.replace(": ", ":").split() if word]
    more = dict.fromkeys(("linked", "rpath"), "")
    path, *rest = words or [""]
    for word in rest:
        key, _, value = word.partition(":")
        if kind != "dynlib" or key not in more or not value:
            raise OptionProblem(
                "promises", f"{word!r} in {line!r} is not read", "Write dynlib:PATH linked:A,B rpath:C,D"
            )
        more[key] = value
    if kind not in _KINDS or not path:
        fix = "Write a path, or directory:PATH, file:PATH, statlib:PATH or dynlib:PATH"
        raise OptionProblem("promises", f"{line!r} is no promise", fix)
    linked, rpath = (tuple(filter(None, value.split(","))) for value in more.values())
    return PartPromise(location / path, kind, linked, rpath)

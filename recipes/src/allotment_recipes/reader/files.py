# SPDX-License-Identifier: Apache-2.0
"""The profiles of one run: each is opened once, what it extends before it, and put above what it extends."""

import hashlib
import logging
import os
import posixpath
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import zc.buildout.buildout as upstream

from allotment_recipes.option_error import ProfileError
from allotment_recipes.reader import limits
from allotment_recipes.reader.conditions import holds
from allotment_recipes.reader.merge import Section, SectionKey, put_above, source
from allotment_recipes.reader.parser import ParseError, parse
from allotment_recipes.remote_profiles import RemoteProfiles, is_remote, place

BASE_LOCATION: Final = "_profile_base_location_"
_CHECKSUM: Final = re.compile(r"(.+)#(sha256|md5)=([0-9A-Fa-f]*)")
_REFERENCE: Final = re.compile(r"\$\{([^:{}]*):([^:{}]+)\}")
_logger = logging.getLogger("zc.buildout")


@dataclass
class Reader:
    """``content`` returns the bytes of a local profile, or raises ``OSError``; ``files`` gets the local ones."""

    content: Callable[[Path], bytes]
    remote: RemoteProfiles
    files: list[Path]
    settings: Mapping[str, str] = field(default_factory=dict)  # options of [buildout] that no profile can change
    _known: set[str] = field(default_factory=set)
    _open: list[str] = field(default_factory=list)  # from the one that was asked for to the one that is being read
    _texts: list[dict[str, Section]] = field(default_factory=list)  # of those that are open
    _read: list[dict[str, Section]] = field(default_factory=list)  # of those that were read before, in order
    _size: int = 0  # characters so far
    _replaced: int = 0  # references in names of profiles so far

    def read(self, folder: str, name: str) -> dict[str, Section]:
        """Return what a profile and all that it extends say; one that was read before says nothing again."""
        found: dict[str, Section] = {}
        begun = len(self._read)
        self._enter(folder, name)
        for sections in self._read[begun:]:
            put_above(found, sections)
        del self._read[begun:]
        return found

    def _enter(self, folder: str, name: str) -> None:
        where, checksum = self._locate(folder, name)
        if where in self._open:
            circle = " -> ".join([*self._open[self._open.index(where) :], where])
            raise ProfileError(f"[buildout] extends: {where} extends itself: {circle}", "Take one of these out")
        data = self._bytes(where, name, checksum)
        if where in self._known:
            return
        self._known.add(where)
        if len(self._open) >= limits.DEPTH or len(self._known) > limits.FILES:
            number = f"more than {limits.DEPTH} profiles one above another" if self._open[1:] else "too many profiles"
            raise ProfileError(f"[buildout] extends: {where} comes after {number}", "Extend fewer")
        sections = self._parsed(where, data)
        options = sections.get("buildout", {})
        if "extended-by" in options:
            raise ProfileError(f"[buildout] extended-by: {where} has it, and it has no effect", "Write extends there")
        self._open.append(where)
        self._texts.append(sections)
        for option in ("extends", "optional-extends"):
            key = options.pop(option, None)
            for other in key.value.split() if key is not None else ():
                self._extend(where, self._filled(where, other), is_optional=option != "extends")
        self._open.pop()
        self._texts.pop()
        self._read.append(sections)

    def _extend(self, where: str, name: str, *, is_optional: bool) -> None:
        folder = posixpath.dirname(where)
        if is_optional and not is_remote(name) and not is_remote(folder):
            path = self._locate(folder, name)[0]
            if not os.path.exists(path):  # noqa: PTH110 (text in, text out)
                _logger.info("[buildout] optional-extends: %s does not exist", path)
                return
        self._enter(folder, name)

    def _locate(self, folder: str, name: str) -> tuple[str, str]:
        """Return where a profile is, its address or its path, and what its checksum must be, such as ``md5=...``."""
        if is_remote(name) or (is_remote(folder) and not posixpath.isabs(name)):
            return place((name if is_remote(name) else f"{folder}/{name}").partition("#")[0]), ""
        written = _CHECKSUM.fullmatch(name)
        path = place(posixpath.join(folder, written[1] if written else name))
        return path, f"{written[2]}={written[3].lower()}" if written else ""

    def _bytes(self, where: str, name: str, checksum: str) -> bytes:
        """Return what a profile holds; what is known already is only looked at for its checksum."""
        if is_remote(where):
            fragment = name.partition("#")[2]
            path = self.remote.file(f"{where}#{fragment}" if fragment else where)
            return b"" if where in self._known else path.read_bytes()
        if where in self._known and not checksum:
            return b""
        path = Path(where)
        try:
            data = self.content(path)
        except FileNotFoundError:
            raise
        except (OSError, ValueError) as error:
            reason = os.strerror(error.errno or 0) if isinstance(error, OSError) else str(error)
            raise ProfileError(f"{where} can't be read: {reason}", "Correct that") from error
        kind, _, digest = checksum.partition("=")
        if checksum and (found := hashlib.new(kind, data, usedforsecurity=False).hexdigest()) != digest:
            raise ProfileError(f"[buildout] extends: {where} has another {kind}: {found}", f"Write #{kind}={found}")
        if where not in self._known:
            self.files.append(path)
        return data

    def _parsed(self, where: str, data: bytes) -> dict[str, Section]:
        self._size += len(data)
        if len(data) > limits.FILE or self._size > limits.TREE:
            most = limits.FILE if len(data) > limits.FILE else limits.TREE
            size = f"with it there are more than {most >> 20} MB to read"
            raise ProfileError(f"{where} is not a profile: {size}", "Put long texts into files of their own")
        try:
            text = data.decode().replace("\r\n", "\n").replace("\r", "\n")
            read = parse(text, holds)
        except UnicodeDecodeError as error:
            raise ProfileError(f"{where} is not a profile: it is not UTF-8 text", "Correct its encoding") from error
        except ParseError as error:
            raise ProfileError(f"{where} is not a profile: line {error.line}: {error}", "Correct the line") from error
        folder = posixpath.dirname(where) or "."
        sections = {
            name: {option: SectionKey(value, source(where, read.lines[name, option])) for option, value in own.items()}
            for name, own in read.sections.items()
        }
        for section in sections.values():
            section.setdefault(BASE_LOCATION, SectionKey(folder, source(where, 0)))
        return sections

    def _filled(self, where: str, name: str, doing: tuple[str, ...] = ()) -> str:
        """Return a name with its references replaced: what extends counts more than what is extended."""

        def value(found: re.Match[str]) -> str:
            section, option = found[1] or "buildout", found[2]
            text = self._option(section, option)
            self._replaced += 1
            if self._replaced > limits.FILES:
                raise ProfileError(f"[buildout] extends: {where} has too many references", "Write the paths themselves")
            if text is None or found[0] in doing or len(doing) > limits.DEPTH:
                problem = "refers to itself" if text is not None else "is in no profile that was read so far"
                raise ProfileError(f"[buildout] extends: {where}: {found[0]} {problem}", "Write the path itself")
            return self._filled(where, text, (*doing, found[0]))

        filled = _REFERENCE.sub(value, name)
        if len(filled) > limits.HEADER:
            raise ProfileError(f"[buildout] extends: {where}: the path {name[:80]} is too long", "Correct it")
        return filled

    def _option(self, section: str, option: str) -> str | None:
        if section == "buildout" and option == BASE_LOCATION:
            return str(self._texts[-1]["buildout"][BASE_LOCATION].value)
        if section == "buildout" and option in self.settings:
            return self.settings[option]
        for sections in (*self._texts, *reversed(self._read)):
            if option in sections.get(section, {}):
                return str(sections[section][option].value)
        default = upstream._buildout_default_options.get(option) if section == "buildout" else None
        return None if default is None else str(default.value)


def content(path: Path) -> bytes:
    """Return what a profile holds, no more than is read of one; only a regular file is one."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError("it is no regular file")
        return file.read(limits.FILE + 1)


def opener(reader: Reader) -> Callable[..., tuple[dict[str, Any], dict[str, Any]]]:
    """Return what stands in place of upstream's ``_open``."""

    def open_profile(base: str, filename: str, *_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return reader.read(base, filename), {}

    return open_profile

# SPDX-License-Identifier: Apache-2.0
"""The checksums that profiles give of files beside them: are they right, and how they are put right.

A section's ``sha256sum`` or ``md5sum`` is of the file that its ``url``, ``path`` or ``filename`` names, a word
``PATCH#CHECKSUM`` of the file before the ``#``. What has to be fetched is judged where it is fetched.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from allotment.atomic import write_bytes
from allotment_recipes.lint.problem import Problem
from allotment_recipes.lint.profile_text import UNKNOWN, Option
from allotment_recipes.lint.view import View

RULE: Final = "checksum"
_NAMED: Final = ("url", "path", "filename", "_update_hash_filename_")
_SUMS: Final = {"sha256sum": "sha256", "md5sum": "md5"}
_WORD = re.compile(r"(?P<file>\S+)#(?:(?:sha256|md5)=)?(?P<sum>[0-9a-fA-F]{64}|[0-9a-fA-F]{32})(?=\s|$)")


@dataclass(frozen=True)
class Checksum:
    """A checksum as a profile writes it, and the one that its file has."""

    path: Path  # of the profile
    line: int
    section: str
    written: str  # empty: the option is there, and has no value
    file: Path
    actual: str  # empty: the file can't be read

    @property
    def is_right(self) -> bool:
        """Whether it is the file's."""
        return self.actual == self.written.lower()

    @property
    def problem(self) -> Problem:
        """What to say of a wrong one."""
        if not self.actual:
            what = f"[{self.section}] {self.file} can't be read"
            return Problem(self.path, self.line, RULE, what, "Correct the name")
        what = f"[{self.section}] the checksum of {self.file.name} is {self.actual}, not {self.written or 'empty'}"
        return Problem(self.path, self.line, RULE, what, "Look at what changed, then run 'allot hash update'")


def checksums(path: Path) -> list[Checksum]:
    """Return the checksums of local files that the profile at ``path`` writes itself, by line."""
    view = View(path)
    own = next((file for file in view.files if file.path == path), None)
    found: list[Checksum] = []
    for section in own.sections if own is not None else ():
        options = {option.name: option for option in section.options}
        for name, algorithm in _SUMS.items():
            if option := options.get(name):
                found += _of_option(view, section.name, option, algorithm)
        for option in section.options:
            found += _of_words(view, section.name, option)
    return sorted(found, key=lambda item: item.line)


def _of_option(view: View, section: str, option: Option, algorithm: str) -> Iterator[Checksum]:
    merged = view.options(section)
    source = next((merged[name] for name in _NAMED if name in merged), None)
    if source is None or "$" in option.value:
        return
    file = _file(view, section, source, source.value)
    if file is not None:
        yield Checksum(option.path, option.number, section, option.value, file, _digest(file, algorithm))


def _of_words(view: View, section: str, option: Option) -> Iterator[Checksum]:
    for line in option.lines:
        for found in _WORD.finditer(line.text):
            file = _file(view, section, option, found["file"])
            if file is not None:
                algorithm = "sha256" if len(found["sum"]) == 64 else "md5"
                yield Checksum(option.path, line.number, section, found["sum"], file, _digest(file, algorithm))


def _file(view: View, section: str, option: Option, text: str) -> Path | None:
    """Return the local file that a text names, from the folder of the profile; None for what is elsewhere."""
    name = view.expanded(section, text).removeprefix("file://")
    if not name or UNKNOWN in name or "://" in name:
        return None
    return option.path.parent / name


def _digest(file: Path, algorithm: str) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
    except OSError:
        return ""


def update(path: Path) -> list[Checksum]:
    """Write the right checksums into the profile and return those that were wrong; nothing else of it changes."""
    wrong = [item for item in checksums(path) if item.actual and not item.is_right]
    if wrong:
        lines = path.read_bytes().decode("utf-8").splitlines(keepends=True)  # line ends as they are
        for item in wrong:
            line = lines[item.line - 1]
            if item.written:
                lines[item.line - 1] = line.replace(item.written, item.actual, 1)
            else:
                bare = line.rstrip("\r\n")
                lines[item.line - 1] = f"{bare.rstrip()} {item.actual}{line[len(bare) :]}"
        write_bytes(path.resolve(), "".join(lines).encode(), path.stat().st_mode & 0o777)
    return wrong

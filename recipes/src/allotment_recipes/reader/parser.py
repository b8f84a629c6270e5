# SPDX-License-Identifier: Apache-2.0
"""The text of one profile: sections and options as zc.buildout's parser finds them, and the line of each.

That parser copies an option once for each of its lines, and runs what a section's condition says.
"""

import io
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import zc.buildout.configparser as upstream

from allotment_recipes.reader.limits import HEADER

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class ParseError(Exception):
    """A line is wrong; the message says what is, and ``line`` is its number."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line = line


@dataclass
class ProfileText:
    """What a profile says. Of ``+=`` and ``-=`` the sign is the end of the option's name, as in zc.buildout."""

    sections: dict[str, dict[str, str]] = field(default_factory=dict)
    lines: dict[tuple[str, str], int] = field(default_factory=dict)  # section and option -> where it begins


def parse(text: str, holds: Callable[[str], bool]) -> ProfileText:
    """Read the text of a profile; ``holds`` judges the condition of a section, or raises ``ValueError``."""
    if "\0" in text:
        raise ParseError(text.count("\n", 0, text.index("\0")) + 1, "it has a NUL character")
    parser = _Parser(holds)
    for number, line in enumerate(io.StringIO(text), 1):
        if line[0] not in "#;":
            parser.take(number, line)
    return parser.found()


class _Parser:
    """Takes lines that are no comments, in order; it is in the section and in the option that began last."""

    def __init__(self, holds: Callable[[str], bool]) -> None:
        self._holds = holds
        self._sections: dict[str, dict[str, list[str]]] = {}  # each option as its lines
        self._lines: dict[tuple[str, str], int] = {}
        self._section: dict[str, list[str]] | None = None
        self._name = self._option = ""
        self._is_wanted, self._is_block = True, False

    def take(self, number: int, line: str) -> None:
        """Read one line."""
        if line[0].isspace() and (self._option or not self._is_wanted):
            self._go_on(line)
            return
        header = _header(number, line) if line[0] == "[" else None
        if header is not None:
            self._begin_section(number, *header)
        elif self._section is None and self._is_wanted:
            if line.strip():
                raise ParseError(number, f"{line.strip()[:80]!r} stands before the first section")
        else:
            self._begin_option(number, line)

    def found(self) -> ProfileText:
        """Return all that was read."""
        sections = {name: {key: _joined(lines) for key, lines in own.items()} for name, own in self._sections.items()}
        return ProfileText(sections, self._lines)

    def _go_on(self, line: str) -> None:
        """Read a line that belongs to the option before it."""
        if self._is_wanted and self._section is not None:
            line = line.rstrip() if self._is_block else line.strip()
            if line or self._is_block:
                self._section[self._option].append(line)

    def _begin_section(self, number: int, name: str, condition: str) -> None:
        self._is_wanted = _holds(number, condition, self._holds)
        if self._is_wanted:
            self._name, self._option = name, ""
            self._section = self._sections.setdefault(name, {})

    def _begin_option(self, number: int, line: str) -> None:
        if line[:2] == "=>":
            line = f"<part-dependencies> = {line[2:]}"
        start = upstream.option_start(line)
        if start is None:
            if self._option or line.strip():
                raise ParseError(number, f"{line.strip()[:80]!r} is no section, no option and no more of one")
        elif self._is_wanted and self._section is not None:
            self._option, value = _plain(number, start["name"].rstrip()), start["value"].strip()
            if not self._option.strip(" +-"):
                raise ParseError(number, f"{line.strip()[:80]!r} has no option's name")
            self._is_block = not value
            self._lines.setdefault((self._name, self._option), number)
            _assign(self._section, self._option, value)


def _header(number: int, line: str) -> tuple[str, str] | None:
    """Return a section's name and its condition, or None when the line is something else."""
    if len(line) > HEADER:
        raise ParseError(number, f"what begins with '[' has {len(line)} characters, and at most {HEADER} can be read")
    header = upstream.section_header(line)
    if header is None:
        return None
    condition = header["expression"] or ""
    return _plain(number, header["name"]), condition and f"{condition}{header['tail'].replace(';', '#')}"


def _holds(number: int, condition: str, holds: Callable[[str], bool]) -> bool:
    if not condition:
        return True
    text = condition.rpartition("]")[0] if "#" not in condition else condition.partition("#")[0].rpartition("]")[0]
    text = text.replace(r"\x23", "#").replace(r"\x3b", ";").strip()
    try:
        return holds(text)
    except ValueError as error:
        raise ParseError(number, f"the condition '{text}' {error}") from error


def _plain(number: int, name: str) -> str:
    if _CONTROL.search(name):
        raise ParseError(number, f"the name {name[:80]!r} has a control character in it")
    return name


def _assign(section: dict[str, list[str]], option: str, value: str) -> None:
    """Enter what follows ``=``; several ``+=`` of an option in one profile add up, as conditions make them common."""
    if option[-1] in "+-" and option in section:
        lines = section[option]
        while len(lines) > 1 and not lines[-1].strip():
            lines.pop()
        lines[-1] = lines[-1].rstrip()
        if value:
            lines.append(value)
        return
    if option[-1] not in "+-":
        for sign in "+-":
            section.pop(f"{option} {sign}", None)
    section[option] = [value]


def _joined(lines: list[str]) -> str:
    text = "\n".join(lines)
    return upstream.leading_blank_lines.sub("", textwrap.dedent(text.rstrip())) if text[:1].isspace() else text

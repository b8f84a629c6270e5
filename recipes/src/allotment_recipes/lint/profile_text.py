# SPDX-License-Identifier: Apache-2.0
"""A profile as it is written: sections and options with the lines they stand on.

Upstream's parser decides what a profile means; it keeps no lines, so the checks read the text once more by its rules.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from allotment_recipes.lint.problem import Problem

UNKNOWN: Final = "\x1a"  # stands in a text for what only a run knows
_HEADER = re.compile(r"\[\s*(?P<name>[^\s#\[\]:;{}]+)\s*(:[^#;]*)?\s*\]\s*([#;].*)?$")
_OPTION = re.compile(r"(?P<name>[^\s{}\[\]=:]+)\s*(?P<operator>[-+]?)=(?P<value>.*)$")
_JINJA = re.compile(
    r"\{%-?\s*raw\s*-?%\}(?P<raw>.*?)\{%-?\s*endraw\s*-?%\}"
    r"|\{\{-?(?P<expression>.*?)-?\}\}|\{%.*?%\}|\{#.*?#\}",
    re.DOTALL,
)
_REFERENCE = re.compile(r"\$\{(?P<section>[-\w. \x1a]*):(?P<option>[-\w.\x1a]+)\}")
_CONTEXT = re.compile(r"^(?:key|jsonkey)\s+\S+\s+(?P<section>[-\w.\x1a]*):(?P<option>[-\w.\x1a]+)$")
_WHOLE = re.compile(r"^section\s+\S+\s+(?P<section>[-\w.\x1a]+)$")


@dataclass(frozen=True)
class Line:
    """One line of an option's value, stripped."""

    number: int
    text: str


@dataclass(frozen=True)
class Option:
    """An option as one file writes it."""

    name: str
    operator: str  # "=", "+=" or "-="
    lines: tuple[Line, ...]
    section: str  # that writes it
    path: Path
    number: int

    @property
    def value(self) -> str:
        """The whole value, as buildout reads it."""
        return "\n".join(line.text for line in self.lines)


@dataclass(frozen=True)
class Section:
    """A section as one file writes it."""

    name: str
    options: tuple[Option, ...]
    path: Path
    number: int


@dataclass(frozen=True)
class Reference:
    """``${section:option}``, or the like in a template's context; no option means the whole section."""

    section: str  # empty: the one it stands in
    option: str
    path: Path
    number: int


@dataclass(frozen=True)
class ProfileText:
    """What one file says."""

    path: Path
    sections: tuple[Section, ...]
    problems: tuple[Problem, ...]


def read_profile(path: Path, text: str) -> ProfileText:
    """Return a profile; every line that is none of a profile is a problem."""
    sections: list[Section] = []
    problems: list[Problem] = []
    options: list[Option] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line[0] in "#;":
            continue
        if line[0].isspace() and sections:
            if options:
                options[-1] = replace(options[-1], lines=(*options[-1].lines, Line(number, line.strip())))
                sections[-1] = replace(sections[-1], options=tuple(options))
            continue
        if header := _HEADER.match(line):
            options = []
            sections.append(Section(header["name"], (), path, number))
        elif sections and (found := _OPTION.match(line)):
            first = (Line(number, found["value"].strip()),)
            options.append(Option(found["name"], f"{found['operator']}=", first, sections[-1].name, path, number))
            sections[-1] = replace(sections[-1], options=tuple(options))
        elif line.strip(UNKNOWN + " \t"):
            what = f"{line.strip()!r} is neither a section nor an option"
            problems.append(Problem(path, number, "syntax", what, "Write '[section]', 'option = value', or indent it"))
    return ProfileText(path, tuple(sections), tuple(problems))


def without_jinja(text: str, values: Mapping[str, str]) -> str:
    """Return a template's text with known variables filled in and the rest unknown; lines stay where they are."""

    def replace(found: "re.Match[str]") -> str:
        if found["raw"] is not None:
            return found["raw"]
        lines = "\n" * found[0].count("\n")
        if found["expression"] is None:
            return lines
        return values.get(found["expression"].strip(), UNKNOWN) + lines

    return _JINJA.sub(replace, text)


def without_substitutions(text: str) -> str:
    """Return a text as the recipe ``template`` would leave it: ``${...}`` is replaced, ``$${`` becomes ``${``."""
    return re.sub(r"\$\$\{|\$\{[^}]*\}", lambda found: "${" if found[0].startswith("$$") else UNKNOWN, text)


def references(section: str, options: Iterable[Option]) -> Iterator[Reference]:
    """Yield what options refer to; ``section`` is the one that they stand in."""
    for option in options:
        for line in option.lines:
            for found in _REFERENCE.finditer(line.text):
                yield Reference(found["section"].strip() or section, found["option"], option.path, line.number)
            if option.name == "context":
                if one := _CONTEXT.match(line.text):
                    yield Reference(one["section"] or section, one["option"], option.path, line.number)
                elif whole := _WHOLE.match(line.text):
                    yield Reference(whole["section"], "", option.path, line.number)

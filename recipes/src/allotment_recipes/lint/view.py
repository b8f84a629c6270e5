# SPDX-License-Identifier: Apache-2.0
"""A profile with all that it extends, as far as the text tells: what the checks look at."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Final

from allotment.errors import AllotmentError
from allotment_recipes.lint.known_recipes import known_recipe, why_unknown
from allotment_recipes.lint.problem import Problem
from allotment_recipes.lint.profile_text import (
    UNKNOWN,
    Option,
    ProfileText,
    Reference,
    Section,
    read_profile,
    references,
    without_jinja,
    without_substitutions,
)

BUILDOUT: Final = "buildout"
_TEMPLATE: Final = "buildout_template"  # module of the recipe that replaces references in a file
_SECTIONS: Final = frozenset({"environment", "-extends"})  # options whose words may be names of sections
_PARTS: Final = "parts-"  # as those do whose names begin with this, of the recipe backup.role
_VARIABLE = re.compile(r"\$\{([-\w. ]*):([-\w.]+)\}")
_INLINE = re.compile(r"\bbuildout(?:\[|\.get\()\s*(['\"])(?P<section>[^'\"]+)\1")  # in Python that stands in an option
_TEMPLATES = {".in", ".jinja2", ".j2"}
_DEPTH = 40  # references in references, and macros of macros
_LONG = 1 << 16  # characters of a value that matters to the checks


@dataclass
class View:
    """A profile by its path; ``values`` are the variables with which it is rendered, if it is a template."""

    path: Path
    values: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[Path, str] = field(default_factory=dict)  # used in place of the files: what an editor holds

    def __post_init__(self) -> None:
        self.files: list[ProfileText] = []
        self.problems: list[Problem] = []
        self.is_complete = True  # everything that it extends was found
        self._open: list[Path] = []
        self._merged: dict[str, dict[str, Option]] = {}
        self._values: dict[tuple[str, str, int], str] = {}
        self._read(self.path, "", 0)

    def _read(self, path: Path, told: str, number: int) -> None:
        path = Path(os.path.normpath(path))
        if path in self._open or any(file.path == path for file in self.files):
            return
        try:
            if path not in self.texts and path.exists() and not path.is_file():
                raise OSError("it is no regular file")  # a pipe or a device would never end
            text = self.texts[path] if path in self.texts else path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            self.is_complete = False
            reason = "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror or str(error)
            where = self._open[-1] if self._open else path
            what = f"extends: {told} can't be read: {reason}" if told else f"can't be read: {reason}"
            self.problems.append(Problem(where, number, "reference", what, "Correct the path"))
            return
        if path.suffix in _TEMPLATES:
            text = self._rendered(path, text)
        file = read_profile(path, text)
        self.problems += file.problems
        self._open.append(path)
        for option in self._extends(file):
            for line in option.lines:
                for name in line.text.split():
                    self._extend(path, name, line.number)
        self._open.pop()
        self.files.append(file)

    def _rendered(self, path: Path, text: str) -> str:
        if "$${" in text:
            return without_substitutions(text)
        import jinja2

        try:
            jinja2.Environment(extensions=["jinja2.ext.do"]).parse(text)
        except jinja2.TemplateSyntaxError as error:
            self.problems.append(Problem(path, error.lineno, "syntax", f"template: {error.message}", "Correct it"))
        return without_jinja(text, self.values)

    @staticmethod
    def _extends(file: ProfileText) -> Iterator[Option]:
        for section in file.sections:
            if section.name == BUILDOUT:
                yield from (option for option in section.options if option.name == "extends")

    def _extend(self, path: Path, name: str, number: int) -> None:
        if UNKNOWN in name or "${" in name:
            self.is_complete = False
        elif "://" in name:
            self.is_complete = False
            if "#sha256=" not in name and not self._is_recorded(name):
                what = f"extends: {name} has no sha256"
                fix = "Append '#sha256=' and its sha256, or run 'allot lock' and commit allot.lock"
                self.problems.append(Problem(path, number, "checksum", what, fix))
        else:
            self._read(path.parent / re.sub(r"#(sha256|md5)=[0-9A-Fa-f]*$", "", name), name, number)

    def _is_recorded(self, url: str) -> bool:
        """Whether ``allot.lock`` beside the profile has the sha256 of a profile that is extended by its URL."""
        from allotment_recipes.remote_profiles import place  # it imports what fetches, which takes its time
        from allotment_recipes.source_lock import NAME, SourceLock

        path = self.path.parent / NAME
        address, sign, checksum = url.partition("#")
        try:
            return SourceLock(path, path.parent).has_profile(f"{place(address)}{sign}{checksum}")
        except AllotmentError:
            return False  # a damaged one is told by whoever needs it

    @cached_property
    def written(self) -> dict[str, list[Section]]:
        """Every section as the files write it, those of extended files first."""
        found: dict[str, list[Section]] = {}
        for file in self.files:
            for section in file.sections:
                found.setdefault(section.name, []).append(section)
        return found

    @property
    def has_unknown_sections(self) -> bool:
        """Whether a section's name is made by a template."""
        return any(UNKNOWN in name for name in self.written)

    def options(self, section: str, doing: tuple[str, ...] = ()) -> dict[str, Option]:
        """Return a section's options with those of its macros, each as the file that decides writes it."""
        if section in self._merged:
            return dict(self._merged[section])
        merged: dict[str, Option] = {}
        for written in self.written.get(section, ()):
            for option in written.options:
                self._add(merged, option)
        macros = merged.pop("<", None)
        if macros is None or section in doing or len(doing) > _DEPTH:
            return merged
        below: dict[str, Option] = {}
        for line in macros.lines:
            for macro in line.text.split():
                for option in self.options(macro, (*doing, section)).values():
                    self._add(below, option)
        for option in merged.values():
            self._add(below, option)
        self._merged[section] = below
        return dict(below)

    @staticmethod
    def _add(merged: dict[str, Option], option: Option) -> None:
        earlier = merged.get(option.name)
        if option.operator == "=" or earlier is None:
            merged[option.name] = option
        elif option.operator == "+=":
            lines = (*earlier.lines, *option.lines)
            merged[option.name] = replace(option, operator=earlier.operator, lines=lines)
        else:
            gone = {line.text for line in option.lines}
            lines = tuple(line for line in earlier.lines if line.text not in gone)
            merged[option.name] = replace(option, operator="=", lines=lines)

    def macros(self, section: str) -> Iterator[tuple[str, Option]]:
        """Yield the sections that a section names after ``<=``."""
        for written in self.written.get(section, ()):
            for option in written.options:
                if option.name == "<":
                    for line in option.lines:
                        yield from ((name, option) for name in line.text.split())

    def parts(self) -> list[tuple[str, Option, int]]:
        """Return each part's name with the option and the line that list it."""
        option = self.options(BUILDOUT).get("parts")
        if option is None:
            return []
        return [(name, option, line.number) for line in option.lines for name in line.text.split()]

    def references(self, section: str) -> list[Reference]:
        """Return what a section refers to, through its macros as well."""
        return list(references(section, self.options(section).values()))

    @cached_property
    def used(self) -> frozenset[str]:
        """The sections that parts reach, and the macros on the way."""
        todo = [BUILDOUT, "versions", *(name for name, _, _ in self.parts())]
        found: set[str] = set()
        while todo:
            section = todo.pop()
            if section in found:
                continue
            found.add(section)
            todo += [reference.section for reference in self.references(section)]
            todo += [name for name, _ in self.macros(section)]
            options = self.options(section)
            todo += [name for option in options.values() for name in self._named_by(option)]
            todo += self._named_by_template(section, options)
        return frozenset(found)

    def _named_by(self, option: Option) -> list[str]:
        """Return the sections that an option's words name, alone or as ``section:option``, or that its Python reads."""
        words = [word for line in option.lines for word in line.text.split()]
        names_sections = option.name in _SECTIONS or option.name.startswith(_PARTS)
        names = {word.partition(":")[0] for word in words if ":" in word or names_sections}
        names.update(found["section"] for line in option.lines for found in _INLINE.finditer(line.text))
        return [name for name in names if name in self.written]

    def _named_by_template(self, section: str, options: Mapping[str, Option]) -> list[str]:
        """Return the sections that the file of a ``template`` section refers to, as a profile does."""
        spec, url = options.get("recipe"), options.get("url")
        if spec is None or url is None or why_unknown(spec.value) or known_recipe(spec.value).name != _TEMPLATE:
            return []
        try:
            text = (self.path.parent / self.expanded(section, url.value)).read_text(encoding="utf-8")
        except (OSError, ValueError):  # the build tells it
            return []
        return [found[1] for found in _VARIABLE.finditer(text) if found[1] in self.written]

    def variables(self, section: str) -> frozenset[str]:
        """Return the options of a section that something refers to; all, when the whole section is taken."""
        return self._variables.get(section, frozenset())

    @cached_property
    def _variables(self) -> dict[str, frozenset[str]]:
        found: dict[str, set[str]] = {}
        for section in self.written:
            for reference in self.references(section):
                names = [reference.option] if reference.option else self.options(reference.section)
                found.setdefault(reference.section, set()).update(names)
        return {section: frozenset(names) for section, names in found.items()}

    def value(self, section: str, option: str, depth: int = _DEPTH) -> str:
        """Return an option's value with its references filled in; what only a run knows is ``UNKNOWN``."""
        if option == "_profile_base_location_":
            written = self.written.get(section)
            return str(written[-1].path.parent) if written else UNKNOWN
        if option == "_buildout_section_name_":
            return section
        key = (section, option, depth)
        if key not in self._values:
            found = self.options(section).get(option)
            self._values[key] = UNKNOWN if found is None else self.expanded(section, found.value, depth)
        return self._values[key]

    def expanded(self, section: str, text: str, depth: int = _DEPTH) -> str:
        """Return a text of ``section`` with its references filled in; of one that becomes too long, ``UNKNOWN``."""
        pieces: list[str] = []
        end = length = 0
        for found in _VARIABLE.finditer(text) if depth else ():
            value = self.value(found[1].strip() or section, found[2], depth - 1)
            pieces += [text[end : found.start()], value]
            end, length = found.end(), length + len(value)
            if length > _LONG:
                return UNKNOWN
        return "".join([*pieces, text[end:]]) if depth else UNKNOWN

# SPDX-License-Identifier: Apache-2.0
"""Where each value of a profile comes from: its files and lines, its macros, and what a run itself sets."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import zc.buildout.buildout as upstream

from allotment.errors import nearest
from allotment_recipes.context import RunContext
from allotment_recipes.journal import Journal
from allotment_recipes.option_error import ProfileError
from allotment_recipes.reader import limits
from allotment_recipes.reader.files import Reader, content
from allotment_recipes.reader.macros import with_macros
from allotment_recipes.reader.merge import Section, SectionKey, check_length, put_above
from allotment_recipes.remote_profiles import RemoteProfiles
from allotment_recipes.source_lock import NAME as LOCK
from allotment_recipes.source_lock import SourceLock
from allotment_recipes.tokens import Tokens

_OPERATIONS: Final = {"SET": "=", "OVERRIDE": "=", "DIRECTORY": "=", "ADD": "+=", "REMOVE": "-="}
_PLACES: Final = {"DEFAULT_VALUE": "default", "COMMAND_LINE_VALUE": "set by the run", "IMPLICIT_VALUE": "default"}
_SET: Final = {"allow-picked-versions": "false", "newest": "false", "offline": "true"}
_REFERENCE: Final = re.compile(r"(\$\$)|\$\{([^:{}]*):([^{}:]+)\}")
_PASSWORD: Final = re.compile(r"//[^/?#@\s]*@")


@dataclass(frozen=True)
class Step:
    """One thing that was done to a value."""

    operation: str  # =, += or -=
    value: str  # what stands behind it
    place: str  # a profile's path or address, or what else it comes from
    line: int = 0  # in the profile; 0: it is none's
    macro: str = ""  # section in which it stands, when it is another one


@dataclass(frozen=True)
class Value:
    """An option; ``resolved`` is None where only a run can tell what a reference stands for."""

    section: str
    option: str
    written: str
    resolved: str | None
    steps: tuple[Step, ...]

    @property
    def is_said(self) -> bool:
        """Whether a profile says something about it; of others buildout and the run know alone."""
        return any(step.place not in _PLACES.values() for step in self.steps)


def annotate(profile: Path, sources: Path) -> list[Value]:
    """Return every value of a profile in the order in which they are read; no recipe runs, and no password is shown.

    What is extended by a URL is brought into ``sources``, a blob folder.
    """
    data = _read(profile, sources)
    raw = {section: {name: key.value for name, key in options.items()} for section, options in data.items()}

    def advice(section: str) -> str:
        return nearest(section, tuple(raw))

    merged = {
        name: options if name == "buildout" else with_macros(name, options, raw, advice)
        for name, options in raw.items()
    }
    histories: dict[str, dict[str, tuple[Step, ...]]] = {}
    resolver = _Resolver(merged)
    found = []
    for section, options in merged.items():
        history = _history(section, data, histories)
        for option, text in options.items():
            resolved = resolver.value(section, option)
            found.append(Value(section, option, _shown(text), resolved and _shown(resolved), history[option]))
    return found


def chosen(values: Sequence[Value], wanted: Sequence[str]) -> list[Value]:
    """Return the values of the sections and of the ``section:option`` that are asked for; all when none is.

    In each section, what profiles say comes before the defaults.
    """
    order = {section: number for number, section in enumerate(dict.fromkeys(value.section for value in values))}
    values = sorted(values, key=lambda value: (order[value.section], not value.is_said))
    found: list[Value] = []
    for what in wanted:
        section, _, option = what.partition(":")
        own = [value for value in values if value.section == section]
        if not own:
            raise ProfileError(f"the profile has no section '{section}'", nearest(section, tuple(order)))
        picked = [value for value in own if option in ("", value.option)]
        if not picked:
            names = tuple(value.option for value in own)
            raise ProfileError(f"[{section}] has no option '{option}'", nearest(option, names))
        found += picked
    return found if wanted else values


def _read(profile: Path, sources: Path) -> dict[str, Section]:
    folder = profile.parent
    run = RunContext(folder, Journal(immediate=True), sources, Tokens(b""))
    remote = RemoteProfiles(SourceLock(folder / LOCK, folder), run)
    below = {"buildout": {name: _key(str(key.value), "DEFAULT_VALUE") for name, key in _defaults()}}
    try:
        put_above(below, Reader(content, remote, [], _SET).read(str(folder), profile.name))
    except FileNotFoundError as error:
        raise ProfileError(f"{error.filename} does not exist", f"Correct it in {profile}, or what it names") from error
    put_above(below, {"buildout": {name: _key(text, "COMMAND_LINE_VALUE") for name, text in _SET.items()}})
    return below


def _defaults() -> list[tuple[str, Any]]:
    return [item for item in upstream._buildout_default_options.items() if item[0] != "executable"]


def _key(text: str, place: str) -> Any:
    return SectionKey(text, place)


def _history(
    section: str, data: Mapping[str, Section], done: dict[str, dict[str, tuple[Step, ...]]]
) -> dict[str, tuple[Step, ...]]:
    """Return what was done to each option of a section, first to last; macros were merged before, so they end."""
    if section in done:
        return done[section]
    options = data[section]
    found: dict[str, tuple[Step, ...]] = {}
    if section != "buildout" and "<" in options:
        for macro in filter(None, map(str.strip, str(options["<"].value).split("\n"))):
            for option, steps in _history(macro, data, done).items():
                found[option] = tuple(replace(step, macro=step.macro or macro) for step in steps)
    for option, key in options.items():
        name = option.rstrip(f" {option[-1]}") if option[-1] in "+-" else option
        found[name] = (*found.get(name, ()), *map(_step, key.history))
    done[section] = found
    return found


def _step(item: Any) -> Step:
    place = _PLACES.get(item.source, str(item.source))
    return Step(_OPERATIONS[item.operation], _shown(str(item.value)), _shown(place), getattr(item.source, "line", 0))


def _shown(text: str) -> str:
    return _PASSWORD.sub("//", text)


class _Resolver:
    """Replaces references to what profiles say; what recipes make of their options is not known here."""

    def __init__(self, sections: Mapping[str, Mapping[str, str]]) -> None:
        self._sections = sections
        self._done: dict[tuple[str, str], str | None] = {}
        self._length = 0

    def value(self, section: str, option: str, doing: tuple[tuple[str, str], ...] = ()) -> str | None:
        """Return the text of an option, or None; a circle is an error of whoever needs the value."""
        key = (section, option)
        if key in self._done or key in doing or len(doing) > limits.DEPTH:
            return self._done.get(key)
        text = self._sections.get(section, {}).get(option)
        if text is None and option == "_buildout_section_name_":
            text = section
        self._done[key] = made = text if text is None or "${" not in text else self._filled(text, (*doing, key))
        self._length += len(made or "")
        if self._length > limits.VALUES:
            raise ProfileError("the options of this profile are too long to be shown", "Put long texts into files")
        return made

    def _filled(self, text: str, doing: tuple[tuple[str, str], ...]) -> str | None:
        section, option = doing[-1]
        pieces: list[str] = []
        end = length = 0
        for found in _REFERENCE.finditer(text):
            value = "$$" if found[1] else self.value(found[2].strip() or section, found[3].strip(), doing)
            if value is None:
                return None
            length += len(value)
            if length > limits.VALUE:
                check_length(section, option, "".join([*pieces, value]))
            pieces += [text[end : found.start()], value]
            end = found.end()
        return "".join([*pieces, text[end:]])

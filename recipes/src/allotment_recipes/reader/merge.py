# SPDX-License-Identifier: Apache-2.0
"""Putting profiles one above another: what zc.buildout's ``_update`` gives, without copying what is there already.

It differs in one thing: ``k += v`` on a section whose macro has ``k`` joins the macro's value, whichever profile says
it. The operation stays in the section then, as a :class:`Pending`, until macros are merged.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

import zc.buildout.buildout as upstream

from allotment_recipes.option_error import ProfileError
from allotment_recipes.reader.limits import VALUE

SectionKey = upstream.SectionKey
Section: TypeAlias = dict[str, Any]  # option -> SectionKey
_MACRO: Final = "<"


class Source(str):
    """Where a value was written: a profile, and the line in it."""

    __slots__ = ("line",)
    line: int


class Pending(str):
    """What ``+=`` and ``-=`` of a section do to an option of its macros, in order: as a text, all lines of it."""

    __slots__ = ("operations",)
    operations: tuple[tuple[str, str], ...]  # sign and text


def source(profile: str, line: int) -> Source:
    """Return a place in a profile."""
    found = Source(profile)
    found.line = line
    return found


def put_above(below: dict[str, Section], above: Mapping[str, Section]) -> None:
    """Change ``below`` to what comes of it when ``above`` extends it; both are used up."""
    for name, section in above.items():
        if name in below:
            _put_section_above(name, below[name], section)
        else:
            below[name] = _first(name, section)


def changed(name: str, key: str, value: str, operations: Iterable[tuple[str, str]]) -> str:
    """Return a value after ``+=`` and ``-=``."""
    lines = value.split("\n")
    for sign, text in operations:
        others = text.split("\n")
        if sign == "+":
            lines += others
        else:
            gone = set(others)
            lines = [line for line in lines if line not in gone]
    joined = "\n".join(lines)
    check_length(name, key, joined)
    return joined


def check_length(section: str, option: str, value: str) -> None:
    """Raise when a value is longer than any honest one."""
    if len(value) > VALUE:
        raise too_long(section, option)


def too_long(section: str, option: str) -> ProfileError:
    """Return the error for a value that is longer than any honest one."""
    return ProfileError(f"[{section}] {option}: it has more than {VALUE >> 20} MB", "Put it into a file of its own")


def operations_of(options: Mapping[str, str]) -> Iterator[tuple[str, tuple[tuple[str, str], ...]]]:
    """Yield each option that a section with macros changes by ``+=`` or ``-=``, in the order in which that is done."""
    for name in sorted((name for name in options if name[-1] in "+-"), key=_order):
        text = options[name]
        yield _plain(name), text.operations if isinstance(text, Pending) else ((name[-1], text),)


def _order(name: str) -> tuple[str, str]:
    return name.rstrip(" +"), name[-1]


def _plain(name: str) -> str:
    return name.rstrip(f" {name[-1]}")


def _first(name: str, section: Section) -> Section:
    """Return a section that no profile below has: without macros, what it adds to is nothing or a value of its own."""
    for option in sorted(section) if not _has_macros(name, section) else ():
        if option[-1] in "+-" and _plain(option) not in section:
            found = section[_plain(option)] = section.pop(option)
            if option[-1] == "-":
                _remove(name, option, found, found.value, "IMPLICIT_VALUE")
    below: Section = {}
    _put_section_above(name, below, section)
    return below


def _put_section_above(name: str, below: Section, above: Section) -> None:
    has_macros = _has_macros(name, above) or _has_macros(name, below)
    for option in sorted((option for option in above if option[-1] in "+-"), key=_order):
        change, key = above.pop(option), _plain(option)
        made = above.get(key, below.get(key))
        if made is None and has_macros:
            _leave(below, key, option[-1], change)
            continue
        if made is None:
            made = above[key] = SectionKey("", "IMPLICIT_VALUE")
        _apply(name, key, made, option[-1], change)
    for option, key in above.items():
        if option in below:
            below[option].overrideValue(key)
        else:
            below[option] = key
        for sign in "+-" if has_macros else "":  # an assignment ends what was to be done to the macro's value
            below.pop(f"{option} {sign}", None)


def _has_macros(name: str, section: Section) -> bool:
    return _MACRO in section and name != "buildout"  # which takes none


def _apply(name: str, option: str, key: Any, sign: str, change: Any) -> None:
    if sign == "+":
        key.value = f"{key.value}\n{change.value}"
        key.addToHistory("ADD", change.value, change.source)
        check_length(name, option, key.value)
    else:
        _remove(name, option, key, change.value, change.source)


def _remove(name: str, option: str, key: Any, text: str, place: str) -> None:
    key.value = changed(name, option, key.value, [("-", text)])
    key.addToHistory("REMOVE", text, place)


def _leave(below: Section, key: str, sign: str, change: Any) -> None:
    """Note in a section what it does to an option of its macros, after what it did before."""
    name = f"{key} +"
    earlier = below.pop(name, None)
    text = Pending("\n".join([*([] if earlier is None else [earlier.value]), change.value]))
    text.operations = (*_operations("+", earlier), *_operations(sign, change))
    found = SectionKey(text, change.source)
    found.history = [] if earlier is None else earlier.history
    if isinstance(change.value, Pending):
        found.history += change.history
    else:
        found.addToHistory("ADD" if sign == "+" else "REMOVE", change.value, change.source)
    below[name] = found


def _operations(sign: str, key: Any) -> tuple[tuple[str, str], ...]:
    if key is None:
        return ()
    return key.value.operations if isinstance(key.value, Pending) else ((sign, key.value),)

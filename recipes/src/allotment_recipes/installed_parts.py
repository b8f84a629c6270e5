# SPDX-License-Identifier: Apache-2.0
"""``.installed.cfg``: the parts that a run has installed, with their options and paths, for the run after it.

It looks like a profile and is never read as one, because parameters of strangers stand in it and services can write
it: nothing is evaluated, and each value comes back exactly as it was.
"""

import re
import urllib.parse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, TypeAlias

from allotment.atomic import read_limited
from allotment.errors import AllotmentError

Parts: TypeAlias = list[tuple[str, dict[str, str]]]  # by name, in the order in which they were installed

PATHS: Final = "__buildout_installed__"  # option that holds what is removed with the part, one a line
DEVELOP_EGGS: Final = "installed_develop_eggs"  # option of [buildout], of runs that have such eggs
_LIMIT: Final = 1 << 28  # bytes
_NEEDED: Final = ("recipe", PATHS)
# What ends a line for some reader or other, cannot be written, or begins what is quoted; a tab begins the next line.
_UNSAFE: Final = re.compile(r"[%\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class DamagedError(AllotmentError):
    """The record can't be used."""


def text_of(parts: Iterable[tuple[str, Mapping[str, str]]], develop_eggs: str = "") -> str:
    """Return the record of the parts, and of the paths of develop eggs, one a line."""
    parts = list(parts)
    lines = ["[buildout]", f"parts = {' '.join(name for name, _ in parts)}"]
    if develop_eggs:
        lines.append(f"{DEVELOP_EGGS} = {_quoted(develop_eggs)}")
    for name, options in parts:
        lines += ["", f"[{name}]"]
        lines += [f"{_quoted_name(option)} = {_quoted(options[option])}" for option in sorted(options)]
    return "\n".join([*lines, ""])


def read(path: Path) -> Parts:
    """Return what was installed; nothing when there is no record."""
    data = read_limited(path, _LIMIT)
    if data is None:
        return []
    try:
        sections = _sections(data.decode())
        names = dict.fromkeys(sections["buildout"]["parts"].split())
        parts = [(name, sections[name]) for name in names]
    except UnicodeDecodeError as error:
        raise DamagedError(str(error)) from error
    except KeyError as error:
        raise DamagedError(f"it lacks {error}") from error
    for name, options in parts:
        missing = [option for option in _NEEDED if option not in options]
        if missing or "\0" in options[PATHS]:
            raise DamagedError(f"[{name}] {(missing or [PATHS])[0]}: it is missing, or wrong")
    return parts


def develop_eggs(path: Path) -> str:
    """Return the paths of the develop eggs of a record, one a line; nothing when it can't be read."""
    try:
        return _sections((read_limited(path, _LIMIT) or b"").decode())["buildout"].get(DEVELOP_EGGS, "")
    except (AllotmentError, UnicodeDecodeError, KeyError):
        return ""


def _sections(text: str) -> dict[str, dict[str, str]]:
    sections: dict[str, dict[str, list[str]]] = {}
    options: dict[str, list[str]] | None = None
    lines: list[str] | None = None  # of the option that is being read
    for number, line in enumerate(text.split("\n"), 1):
        name, sign, value = line.partition(" = ")
        if line.startswith("\t") and lines is not None:
            lines.append(_plain(line[1:]))
        elif line.startswith("[") and line.endswith("]"):
            options, lines = sections.setdefault(line[1:-1], {}), None
        elif sign and options is not None:
            lines = options[_plain(name)] = [_plain(value)]
        elif line:
            raise DamagedError(f"line {number} is neither a section nor an option")
    return {
        section: {option: "\n".join(value) for option, value in found.items()} for section, found in sections.items()
    }


def _quoted_name(option: str) -> str:
    return urllib.parse.quote(option, safe="<>/+", errors="surrogatepass")


def _quoted(value: str) -> str:
    found = _UNSAFE.sub(lambda match: urllib.parse.quote(match[0], safe="", errors="surrogatepass"), value)
    return found.replace("\n", "\n\t")


def _plain(text: str) -> str:
    return urllib.parse.unquote(text, errors="surrogatepass") if "%" in text else text

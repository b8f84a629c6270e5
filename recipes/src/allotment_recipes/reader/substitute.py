# SPDX-License-Identifier: Apache-2.0
"""``${section:option}`` within a text: as zc.buildout replaces it, in linear time, and with errors that say where."""

import re
from typing import Any, Final

import zc.buildout.buildout as upstream

from allotment_recipes.option_error import ProfileError
from allotment_recipes.reader.limits import DEPTH, VALUE, VALUES
from allotment_recipes.reader.merge import check_length, too_long

_NAME: Final = re.compile(r"[-a-zA-Z0-9 ._]*")


def substitute(options: Any, text: str, seen: list[tuple[str, str]]) -> str:
    """Return a text of ``seen[-1]``, section and option, with its references replaced; ``$${`` is not in it."""
    section, option = seen[-1]
    if len(seen) > DEPTH:
        raise ProfileError(
            f"[{seen[0][0]}] {seen[0][1]}: more than {DEPTH} references lead from one to the next", "Shorten that"
        )
    pieces: list[str] = []
    length = end = 0
    while (begin := text.find("${", end)) >= 0 and (close := text.find("}", begin)) >= 0:
        target, name = _parts(section, option, text[begin : close + 1])
        value = options.buildout[target or options.name].get(name, None, seen)
        if value is None:
            raise upstream.MissingOption("Referenced option does not exist:", target or options.name, name)
        length += begin - end + len(value)
        if length > VALUE:
            raise too_long(section, option)
        pieces += [text[end:begin], value]
        end = close + 1
    pieces.append(text[end:])
    made = "".join(pieces)
    check_length(section, option, made)
    options.buildout.characters += len(made)
    if options.buildout.characters > VALUES:
        raise ProfileError(
            f"[{section}] {option}: all options together have more than {VALUES >> 20} MB",
            "Put long texts into files of their own",
        )
    return made


def _parts(section: str, option: str, reference: str) -> tuple[str, str]:
    """Return the section and the option that a reference names."""
    target, colon, name = reference[2:-1].partition(":")
    if not colon or not name or not _NAME.fullmatch(target) or not _NAME.fullmatch(name):
        shown = reference if len(reference) <= 80 else f"{reference[:80]}..."
        raise ProfileError(
            f"[{section}] {option}: {shown!r} is no reference to an option",
            "Write it like ${section:option}, or $${ for a text with ${ in it",
        )
    return target, name

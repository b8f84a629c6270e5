# SPDX-License-Identifier: Apache-2.0
"""Reading profiles: upstream's parser with ``_profile_base_location_`` in each section, and a record of the files."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import zc.buildout.buildout
import zc.buildout.configparser

from allotment_recipes.option_error import ProfileError

BASE_LOCATION = "_profile_base_location_"


class SectionKey(zc.buildout.buildout.SectionKey):  # type: ignore[misc]  # zc.buildout has no types
    """An option's value and history. Upstream copies all that it has read for each profile; this makes it cheap."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "SectionKey":
        twin = SectionKey.__new__(SectionKey)
        twin.value = self.value
        twin.history = list(self.history)  # its items are never changed
        return twin


@contextlib.contextmanager
def reading(files: list[Path]) -> Iterator[None]:
    """While this is open, every profile that is read is appended to ``files`` and its sections know their folder.

    Upstream looks its parser up in the module at each file; the process is a fork of its own or a test.
    """
    parse = zc.buildout.configparser.parse

    def parse_profile(file: TextIO, name: str, expression_globals: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        files.append(Path(name))
        try:
            sections: dict[str, dict[str, str]] = parse(file, name, expression_globals)
        except zc.buildout.configparser.Error as error:
            raise ProfileError(f"{name} is not a profile: {error}", "Correct the line") from error
        folder = os.path.normpath(os.path.dirname(name))  # noqa: PTH120 (text in, text out)
        for section in sections.values():
            section.setdefault(BASE_LOCATION, folder)
        return sections

    zc.buildout.configparser.parse = parse_profile
    zc.buildout.buildout.SectionKey = SectionKey
    defaults = zc.buildout.buildout._buildout_default_options
    zc.buildout.buildout._buildout_default_options = {
        name: SectionKey(key.value, key.source) for name, key in defaults.items()
    }
    try:
        yield
    finally:
        zc.buildout.configparser.parse = parse
        zc.buildout.buildout.SectionKey = SectionKey.__base__
        zc.buildout.buildout._buildout_default_options = defaults

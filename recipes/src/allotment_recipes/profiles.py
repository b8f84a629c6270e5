# SPDX-License-Identifier: Apache-2.0
"""Reading profiles: upstream's parser, each file once, with ``_profile_base_location_`` in each section."""

import contextlib
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TextIO

import zc.buildout.buildout
import zc.buildout.configparser

from allotment_recipes.context import RunContext
from allotment_recipes.option_error import ProfileError

BASE_LOCATION = "_profile_base_location_"
_SectionKey = zc.buildout.buildout.SectionKey


def _duplicate(value: Any) -> Any:
    """Do what ``copy.deepcopy`` does to sections, options and their histories; other values never change."""
    if isinstance(value, dict):
        return {key: _duplicate(item) for key, item in value.items()}
    if isinstance(value, _SectionKey):
        twin = _SectionKey.__new__(_SectionKey)
        twin.value = value.value
        twin.history = value.history.copy()
        return twin
    return value.copy() if isinstance(value, list) else value


@contextlib.contextmanager
def reading(files: list[Path], run: RunContext | None = None) -> Iterator[None]:
    """While this is open, every profile is read once and appended to ``files``, and its sections know their folder.

    Upstream looks its parser up in the module at each file; the process is a fork of its own or a test. It also copies
    all that it has read, several times for each profile: that is made cheap. What a part of ``run`` has written is read
    as it will be, though nothing is on disk yet, with secrets as tokens again.
    """
    parse = zc.buildout.configparser.parse
    known: set[Path] = set()

    def parse_profile(file: TextIO, name: str, expression_globals: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        path = Path(os.path.normpath(name))
        if path in known:  # extended a second time: what it says stands, and what others made of that does too
            return {}
        known.add(path)
        files.append(Path(name))
        try:
            sections: dict[str, dict[str, str]] = parse(file, name, expression_globals)
        except zc.buildout.configparser.Error as error:
            raise ProfileError(f"{name} is not a profile: {error}", "Correct the line") from error
        folder = os.path.normpath(os.path.dirname(name))  # noqa: PTH120 (text in, text out)
        for section in sections.values():
            section.setdefault(BASE_LOCATION, folder)
        return sections

    def open_profile(name: str) -> TextIO:
        path = Path(os.path.normpath(name))
        if run is not None and path in run.journal.paths:
            return io.StringIO(run.tokens.conceal(run.journal.read(path).decode()))
        return open(name)

    copy = zc.buildout.buildout.copy
    zc.buildout.configparser.parse = parse_profile
    zc.buildout.buildout.open = open_profile
    zc.buildout.buildout.copy = SimpleNamespace(deepcopy=_duplicate)
    try:
        yield
    finally:
        zc.buildout.configparser.parse = parse
        zc.buildout.buildout.copy = copy
        del zc.buildout.buildout.open

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
import zc.buildout.download

from allotment_recipes.context import RunContext
from allotment_recipes.option_error import ProfileError
from allotment_recipes.remote_profiles import RemoteProfiles, is_remote, place

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
def reading(files: list[Path], run: RunContext, remote: RemoteProfiles) -> Iterator[None]:
    """While this is open, every profile is read once and its sections know their folder; local ones go to ``files``.

    Upstream looks its parser up in the module at each file; the process is a fork of its own or a test. It also copies
    all that it has read, several times for each profile: that is made cheap. What a part of ``run`` has written is read
    as it will be, though nothing is on disk yet, with secrets as tokens again.
    """
    parse = zc.buildout.configparser.parse
    known: set[str] = set()

    def parse_profile(file: TextIO, name: str, expression_globals: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        found = place(name)
        if found in known:  # extended a second time: what it says stands, and what others made of that does too
            return {}
        known.add(found)
        if not is_remote(name):
            files.append(Path(name))
        try:
            sections: dict[str, dict[str, str]] = parse(file, name, expression_globals)
        except zc.buildout.configparser.Error as error:
            raise ProfileError(f"{found} is not a profile: {error}", "Correct the line") from error
        except UnicodeDecodeError as error:
            raise ProfileError(f"{found} is not a profile: it is not UTF-8 text", "Correct its encoding") from error
        folder = os.path.dirname(found) or "."  # noqa: PTH120 (text in, text out)
        for section in sections.values():
            section.setdefault(BASE_LOCATION, folder)
        return sections

    def open_profile(name: str) -> TextIO:
        path = Path(os.path.normpath(name))
        if path in run.journal.paths:
            return io.StringIO(run.tokens.conceal(run.journal.read(path).decode()))
        try:
            return open(name, encoding="utf-8")  # whatever the locale is: a part's hash must not depend on it
        except FileNotFoundError:
            raise  # who extends it is told by who opened this
        except OSError as error:
            raise ProfileError(f"{name} can't be read: {os.strerror(error.errno or 0)}", "Correct that") from error

    copy, download = zc.buildout.buildout.copy, zc.buildout.download.Download
    zc.buildout.configparser.parse = parse_profile
    zc.buildout.download.Download = lambda *_, **__: lambda url: (str(remote.file(url)), False)
    zc.buildout.buildout.open = open_profile
    zc.buildout.buildout.copy = SimpleNamespace(deepcopy=_duplicate)
    try:
        yield
    finally:
        zc.buildout.configparser.parse = parse
        zc.buildout.buildout.copy = copy
        zc.buildout.download.Download = download
        del zc.buildout.buildout.open

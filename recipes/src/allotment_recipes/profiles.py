# SPDX-License-Identifier: Apache-2.0
"""Reading profiles with our reader in place of zc.buildout's, within its ``Buildout``."""

import contextlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import zc.buildout.buildout

from allotment_recipes.context import RunContext
from allotment_recipes.option_error import ProfileError
from allotment_recipes.reader.files import BASE_LOCATION, Reader, content, opener
from allotment_recipes.reader.merge import put_above
from allotment_recipes.remote_profiles import RemoteProfiles

__all__ = ["BASE_LOCATION", "reading"]

_FRAMES: Final = 5_000  # of Python: references that lead from one to the next need some for each
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


def _check_versions(sections: Mapping[str, Any]) -> None:
    name = sections["buildout"]["versions"].value if "versions" in sections["buildout"] else ""
    if name and name not in sections:
        raise ProfileError(f"[buildout] versions: the section '{name}' does not exist", "Add it, or take that out")


@contextlib.contextmanager
def reading(files: list[Path], run: RunContext, remote: RemoteProfiles, settings: Mapping[str, str]) -> Iterator[None]:
    """While this is open, every profile is read once and its sections know their folder; local ones go to ``files``.

    Upstream looks up in its module what reads and merges profiles; the process is a fork of its own or a test. What a
    part of ``run`` has written is read as it will be, though nothing is on disk yet, with secrets as tokens again.
    """

    def content_of(path: Path) -> bytes:
        if path in run.journal.paths:
            return run.tokens.conceal(run.journal.read(path).decode()).encode()
        if run.closure is not None and not path.resolve().is_relative_to(run.closure.resolve()):
            # A profile of others would else read, and tell in its errors and values, what only this machine may know.
            raise ValueError(f"it is outside {run.closure}, which is all that the release is built from")
        return content(path)

    def update(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
        put_above(below, above)
        folder = above.get("buildout", {}).get("directory")
        if folder is not None and folder.source == "COMMAND_LINE_VALUE":  # they come last: all is read
            _check_versions(below)
        return below

    sys.setrecursionlimit(max(sys.getrecursionlimit(), _FRAMES))
    module = zc.buildout.buildout
    kept = module._open, module._update, module.copy
    module._open = opener(Reader(content_of, remote, files, settings))
    module._update = update
    module.copy = SimpleNamespace(deepcopy=_duplicate)
    try:
        yield
    finally:
        module._open, module._update, module.copy = kept

# SPDX-License-Identifier: Apache-2.0
"""Where the commands and the Python of a release's profile run: the release's folder, and nothing else to write to."""

import contextlib
import os
import re
import sys
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import allotment
from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.build_environment import basics
from allotment_recipes.hermetic.root import HOST_FOLDERS
from allotment_recipes.hermetic.sandbox import Sandbox, refusal
from allotment_recipes.hermetic.warning import tell_once
from allotment_recipes.part_checks import with_references
from allotment_recipes.python_programs import base_python
from allotment_recipes.shared_store import remove

_PROGRAMS: Final = ":".join([*map(str, HOST_FOLDERS), "/usr/sbin", "/sbin"])
_PATH: Final = r"['\u2018\"]?(/[^\s:'\u2019\"]+)['\u2019\"]?"
_NO_NETWORK: Final = re.compile(
    r"(?i)network is unreachable|could not resolve host|name or service not known|unable to resolve host"
    r"|temporary failure in name resolution|connection refused"
)
_READ_ONLY: Final = re.compile(rf"{_PATH}: Read-only file system|Read-only file system: {_PATH}|create {_PATH}: Read-")
_MISSING: Final = re.compile(
    rf"{_PATH}: (?:No such file|not found|Permission denied)|No such file or directory: {_PATH}|create {_PATH}: "
)


@dataclass(frozen=True)
class Bench:
    """What commands of one part have around them, while they run."""

    folder: Path  # HOME and TMPDIR are in it
    environment: Mapping[str, str]
    sandbox: Sandbox | None  # None where the kernel gives none


def is_confined(recipe: GenericBaseRecipe[Any]) -> bool:
    """Whether a recipe's commands are those of a release that our driver builds."""
    return recipe.run.instance is None and recipe.run.closure is not None and not recipe.is_upstream


@contextlib.contextmanager
def bench(recipe: GenericBaseRecipe[Any], made: Path | None = None) -> Iterator[Bench]:
    """Prepare it, and remove what is private. ``made`` is what is to be made in a store that all releases share.

    There a folder of its own stands in the place of the store, with the parts in it that the section refers to, and
    what is made goes to the store when the block has ended well.
    """
    run = recipe.run
    folder = recipe.folder / ".build" / urllib.parse.quote(recipe.name, safe="")
    _renew(folder)
    work = basics(folder, _PROGRAMS)
    for name in ("HOME", "TMPDIR"):
        Path(work[name]).mkdir()
    python = [
        sys.prefix,
        sys.base_prefix,
        base_python(),
        *sys.path,
        *allotment.__path__,
        str(Path(__file__).parents[1]),
    ]
    visible = [*map(Path, python), run.sources, *run.lower_roots, *filter(None, [run.closure])]
    beside = made.with_name(".work") / f"{made.name}.made" if made is not None else None
    if made is None:
        visible += run.shared_roots
    else:
        visible += (made.parent / name for name in with_references(recipe.referred_parts(), run.shared_roots))
    if why := refusal():
        tell_once(run, recipe.name, why, recipe.logger.warning)
    try:
        if beside is None or made is None or why:
            yield Bench(folder, work, None if why else Sandbox([recipe.folder], visible))
            return
        _renew(beside)
        yield Bench(folder, work, Sandbox([recipe.folder], visible, instead=[(beside, made.parent)]))
        if os.path.lexists(beside / made.name):
            (beside / made.name).rename(made)
    finally:
        for private in filter(None, (folder, beside)):
            remove(private)


def advice(text: str, folder: Path) -> str:
    """Return what to do about an error of a confined command, if it is one of being confined; else nothing."""
    if _NO_NETWORK.search(text):
        return "A build has no network: fetch it in a section of the recipe download, and refer to that"
    for pattern in (_READ_ONLY, _MISSING):
        for match in pattern.finditer(text):
            path = next(filter(None, match.groups()))
            if pattern is _READ_ONLY or (os.path.lexists(path) and not Path(path).is_relative_to(folder)):
                verb = "write" if pattern is _READ_ONLY else "see"
                where = f"only {folder}, HOME and TMPDIR" if pattern is _READ_ONLY else "only what it refers to"
                fix = "Write there" if pattern is _READ_ONLY else "Copy it into the profile's folder, or make it a part"
                return f"The build of a release may {verb} {where}, and not {path}. {fix}"
    return ""


def last_words(lines: Sequence[str], folder: Path, fix: str) -> str:
    """Return what to do about lines that a command has printed last, or else ``fix``."""
    return next(filter(None, (advice(line, folder) for line in reversed(lines))), fix)


def _renew(folder: Path) -> None:
    if folder.is_symlink():  # to the work folder of the recipe that the section had before
        folder.unlink()
    remove(folder)
    folder.mkdir(parents=True)

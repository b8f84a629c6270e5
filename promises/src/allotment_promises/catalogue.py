# SPDX-License-Identifier: Apache-2.0
"""What promises a partition has: its folders ``etc/promise`` and ``etc/plugin``, read without starting anything."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from allotment.atomic import read_limited
from allotment.codec import loads
from allotment.errors import AllotmentError
from allotment.messages.promise import Phase, PromiseFile
from allotment_promises.modules import facts

FOLDER = Path("etc/promise")
FILE_LIMIT = 1 << 20  # bytes of a promise file
FILES_LIMIT = 2000  # in a folder
TIMEOUT_LIMIT = 300.0  # seconds
COUNT_LIMIT = 1000  # runs that a promise may look back on
NAME_LIMIT = 200  # characters: the name is also a file's name in the history
EXECUTABLE = PromiseFile("executable")
MODULE = PromiseFile("module")


@dataclass(frozen=True)
class Promise:
    """One promise of a partition. With a ``problem`` it can't be run, and its result is ``error`` with that text."""

    name: str  # the file's name, without ``.json`` and ``.py``
    path: Path
    file: PromiseFile
    kind: Literal["file", "executable", "module"] = "file"
    problem: str = ""


@dataclass(frozen=True)
class Timing:
    """When a promise runs, and whether its instance is processed again when it breaks; see PromiseFile."""

    name: str
    period: float  # seconds
    jitter: float = 0.0  # seconds
    only: str = ""  # the one phase in which it runs, "test" or "anomaly"; empty: both
    bang: bool = False


def read(partition: Path) -> list[Promise]:
    """Return the promises of a partition, ordered by name; broken files too, each with its problem.

    Hidden files are passed over: they are files being written. So is what is no Python file in ``etc/plugin``. A
    partition without these folders has none.
    """
    found: dict[str, Promise] = {}
    for promise in [*_promises(partition), *_modules(partition)]:
        if promise.name in found:
            other = found[promise.name].path.name
            promise = _broken(promise.path, f"{other} has the same name", "Rename one of the two", promise.name)
        found[promise.name] = promise
    return sorted(found.values(), key=lambda promise: promise.name)


def _promises(partition: Path) -> Iterator[Promise]:
    try:
        names = _names(partition, FOLDER)
    except AllotmentError as error:
        yield Promise("promise", partition / FOLDER, EXECUTABLE, problem=str(error))
        return
    for name in names:
        yield _read(partition / FOLDER / name)


def _modules(partition: Path) -> Iterator[Promise]:
    try:
        names = _names(partition, facts.FOLDER)
    except AllotmentError as error:
        yield Promise("plugin", partition / facts.FOLDER, MODULE, "module", str(error))
        return
    for name in names:
        if name.endswith(".py") and not name.startswith("__init__") and len(name) <= NAME_LIMIT and name.isprintable():
            path = partition / facts.FOLDER / name
            known = facts.read(partition, path)
            file = PromiseFile("module", period=known.period, only=Phase(known.only), bang=known.bang)
            yield Promise(path.stem, path, file, "module")


def _names(partition: Path, folder: Path) -> list[str]:
    names: list[str] = []
    try:
        with os.scandir(partition / folder) as entries:
            for entry in entries:
                if not entry.name.startswith("."):
                    names.append(entry.name)
                if len(names) > FILES_LIMIT:
                    raise AllotmentError(f"{folder} has more than {FILES_LIMIT} files", "Remove some")
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        fix = "Make it readable for the partition's user"
        raise AllotmentError(f"{folder} can't be read: {error.strerror}", fix) from error
    return sorted(names)


def _read(path: Path) -> Promise:
    try:
        if len(path.name) > NAME_LIMIT:
            return _broken(
                path, f"the name has more than {NAME_LIMIT} characters", "Shorten it", path.name[:NAME_LIMIT]
            )
        path.name.encode()
        if not path.name.isprintable():
            shown = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in path.name)
            return _broken(path, "the name has control characters", "Rename it", shown)
        if path.suffix == ".json":
            return _read_json(path)
        mode = path.stat().st_mode
    except AllotmentError as error:
        return Promise(path.stem, path, EXECUTABLE, problem=str(error))
    except UnicodeEncodeError:
        shown = os.fsencode(path.name).decode("ascii", "replace")
        return _broken(path, "the name is not UTF-8", "Rename it", shown)
    except OSError as error:
        return _broken(path, f"can't be read: {error.strerror}", "Make it readable, or remove it", path.name)
    if stat.S_ISREG(mode) and mode & 0o111:
        return Promise(path.name, path, EXECUTABLE, kind="executable")
    return _broken(path, "is neither executable nor *.json", "Make it one of the two, or remove it", path.name)


def _read_json(path: Path) -> Promise:
    place = str(FOLDER / path.name)
    try:
        data = read_limited(path, FILE_LIMIT)
    except AllotmentError as error:
        raise AllotmentError(error.what.replace(str(path), place), error.fix) from error
    if data is None:
        raise AllotmentError(f"{place} vanished while it was read", "Run the promises again")
    file = loads(PromiseFile, data, place)
    if file.timeout > TIMEOUT_LIMIT:
        raise AllotmentError(f"{place}: timeout is above {TIMEOUT_LIMIT:g} seconds", "Make it shorter")
    if not 0 <= file.failures <= COUNT_LIMIT or not 0 <= file.window <= COUNT_LIMIT:
        raise AllotmentError(f"{place}: failures or window is not from 0 to {COUNT_LIMIT}", "Count fewer runs")
    if not is_time(file.period or facts.SHORTEST, file.jitter):
        days = facts.LONGEST / 86400
        raise AllotmentError(
            f"{place}: period is not from {facts.SHORTEST:g} second to {days:g} days, or jitter is longer",
            "Give seconds, like 60",
        )
    return Promise(path.stem, path, file)


def is_time(period: float, jitter: float) -> bool:
    """Whether a promise may run so often: a shorter period would keep the node's agent busy."""
    return facts.SHORTEST <= period <= facts.LONGEST and 0 <= jitter <= facts.LONGEST


def _broken(path: Path, problem: str, fix: str, name: str) -> Promise:
    shown = FOLDER / name
    return Promise(name, path, EXECUTABLE, problem=str(AllotmentError(f"{shown}: {problem}", fix)))

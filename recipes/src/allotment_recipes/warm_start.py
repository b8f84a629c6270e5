# SPDX-License-Identifier: Apache-2.0
"""A build in which nothing can have changed is answered by what was noted, without reading its profiles.

Noted is what a build has gone by: what was asked for, the code, the profiles, the compiler, all that its parts watch
and have written. Only a build that found all of that older than itself notes it: what changes while it runs, and what
it writes, counts for the next one.
"""

import json
import os
import stat
import sys
import sysconfig
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from allotment.atomic import write_bytes
from allotment_recipes.compiler import compiler
from allotment_recipes.context import PARTS
from allotment_recipes.distributions import took_part
from allotment_recipes.explain import inputs
from allotment_recipes.graph.events import EVENTS, read
from allotment_recipes.store import platform_name
from allotment_recipes.stores import registrations

FORMAT: Final = 1
NAME: Final = ".build/unchanged.json"  # in a release's folder
_ASIDE: Final = frozenset({"id", "kind", "log", "timeout", "jobs", "keep_going"})  # of a request: they change no result
_KNOWN: Final = frozenset(
    {"closure", "profile", "folder", "sources", "development", "store", "stores", "caches", "compiler"}
)
_GRAIN: Final = 0.05  # seconds by which the time of a file may be behind the clock

# Of a path: mode, inode, size, times of its content and of anything; of a link also where it leads; None: not there.
Status = list[int] | None


def _process_start() -> float:
    """Return when this process was started, in seconds since the epoch."""
    with open("/proc/self/stat", "rb") as file:
        ticks = int(file.read().rpartition(b")")[2].split()[19])
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / os.sysconf("SC_CLK_TCK")


_BEGAN: Final = _process_start()  # of the zygote: no module was read before
_STANDARD: Final = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib"))


class WarmStart:
    """What one build goes by; made before anything of it is read."""

    def __init__(self, folder: Path, request: Mapping[str, Any]) -> None:
        self._folder = folder
        self._path = folder / NAME
        self._started = time.time()
        self._closure = str(request["closure"])
        self._is_plain = not any(request[key] for key in request.keys() - _ASIDE - _KNOWN)
        self._asked = {
            "request": {key: value for key, value in request.items() if key not in _ASIDE},
            "environment": dict(os.environ),
            "user": [os.getuid(), os.getgid()],
            "machine": [platform_name(), sys.version, *sys.path],
        }

    def answer(self) -> dict[str, Any] | None:
        """Return the result of the build that is noted; None unless everything is as it was then."""
        if not self._is_plain:
            return None
        try:
            note = json.loads(self._path.read_bytes())
            if note["format"] != FORMAT or note["asked"] != self._asked or note["compiler"] != compiler():
                return None
            result: dict[str, Any] = note["result"]
            if list(_walk(self._closure)) != note["closure"]:
                return None
            if any(_status(path) != status for path, status in note["paths"].items()):
                return None
            if took_part(note["recipes"]) != result["distributions"]:
                return None
            self._tell(note["told"], note["reused"])
        except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError, AttributeError):
            return None  # the build that follows makes it anew
        return result

    def forget(self) -> None:
        """Forget the build before: another one begins, and may be killed at any moment."""
        self._path.unlink(missing_ok=True)

    def note(self, buildout: Any, result: Mapping[str, Any]) -> None:
        """Note a build that went well, if the next one may be answered by it."""
        paths = _watched(buildout)
        if paths is None or not self._is_plain:
            return
        closure = list(_walk(self._closure))
        statuses = {path: _status(path) for path in sorted({*paths, str(self._folder / inputs.NAME)})}
        code = {path: _status(path) for path in sorted({*_code(), *sys.path})}
        if not _are_older(statuses.values(), self._started) or not _are_older(code.values(), _BEGAN):
            return
        if not _are_older((status for _, status in closure), self._started):
            return
        told = (self._folder / PARTS).read_text().splitlines() if (self._folder / PARTS).is_file() else []
        note = {
            "format": FORMAT,
            "asked": self._asked,
            "compiler": compiler(),
            "closure": closure,
            "paths": {**statuses, **code},
            "recipes": sorted({buildout[name]["recipe"] for name in buildout._parts}),
            "told": [[part["name"], part["version"]] for part in map(json.loads, told)],
            "reused": [event.part for event in read(self._folder) if event.event == "reused"],
            "result": result,
        }
        self._path.parent.mkdir(exist_ok=True)
        write_bytes(self._path, json.dumps(note).encode(), 0o600, sync=False)

    def _tell(self, told: Iterable[tuple[str, str]], reused: Iterable[str]) -> None:
        """Tell of each shared part that it is there, as the build would."""
        fields = {"started": self._started, "seconds": 0.0, "is_reused": True}
        at = round(self._started, 3)
        for name, found in (
            (PARTS, [{"name": name, "version": version, **fields} for name, version in told]),
            (EVENTS, [{"at": at, "part": part, "event": "reused"} for part in reused]),
        ):
            if found:
                (self._folder / name).write_text("".join(f"{json.dumps(item)}\n" for item in found))


def _watched(buildout: Any) -> set[str] | None:
    """Return all paths by which a later build can have something to do; None when one of its parts always may."""
    if buildout["buildout"].get("extensions", "").strip():
        return None
    found = {os.path.normpath(path) for path in (*buildout.files, buildout["buildout"]["installed"])}
    found.add(buildout["buildout"]["executable"])
    found.update(str(buildout.run.folder / path) for path in buildout.recorded())
    found.update(map(str, registrations(buildout)))
    for name in buildout._parts:
        watched = getattr(buildout[name].recipe, "watched", lambda: None)()
        if watched is None:
            return None
        found.update(map(str, watched))
    return found


def _code() -> Iterator[str]:
    """Yield the files of all modules but Python's own."""
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if path is not None and not (path.startswith(_STANDARD) and "site-packages" not in path):
            yield path


def _walk(folder: str) -> Iterator[list[Any]]:
    """Yield the path and status of a folder and of all below it, in order."""
    yield [folder, _status(folder)]
    for entry in sorted(os.scandir(folder), key=lambda item: item.name):
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path)
        else:
            yield [entry.path, _status(entry.path)]


def _status(path: str) -> Status:
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    found = [status.st_mode, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    if not stat.S_ISLNK(status.st_mode):
        return found
    target = os.path.realpath(path)
    return found if Path(target).is_symlink() else [*found, *(_status(target) or ())]  # a link that leads to itself


def _are_older(statuses: Iterable[Status], moment: float) -> bool:
    limit = (moment - _GRAIN) * 1e9
    return all(moment < limit for status in statuses for moment in (status or ())[4::5])

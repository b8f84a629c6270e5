# SPDX-License-Identifier: Apache-2.0
"""The text of ``allot.lock``: JSON lines, the first one with the format, then one a source, a set of eggs, a commit."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from allotment import __version__
from allotment.errors import AllotmentError
from allotment_recipes.commit_lock import is_whole
from allotment_recipes.egg_lock import Wheels

FORMAT: Final = 1
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, order=True)
class Pin:
    """What a profile says of a source: where it is and, perhaps, its MD5."""

    url: str
    md5: str = ""

    @classmethod
    def of(cls, url: str, md5: str = "") -> "Pin":
        """Return the pin of a URL, which may end with ``#md5=`` and the MD5."""
        address, _, fragment = url.partition("#md5=")
        return cls(address, (md5.strip() or fragment.strip()).lower())


@dataclass(frozen=True)
class Contents:
    """What is recorded."""

    pins: dict[Pin, str] = field(default_factory=dict)  # -> sha256
    eggs: dict[tuple[str, ...], Wheels] = field(default_factory=dict)
    commits: dict[tuple[str, str], str] = field(default_factory=dict)  # repository and revision -> whole id


def text_of(contents: Contents) -> str:
    """Return the text of the file, sorted."""
    pins, eggs, commits = contents.pins, contents.eggs, contents.commits
    lines: list[dict[str, Any]] = [{"format": FORMAT}]
    lines += [{"url": pin.url, "md5": pin.md5, "sha256": pins[pin]} for pin in sorted(pins)]
    lines += [{"eggs": key, "wheels": dict(sorted(eggs[key].items()))} for key in sorted(eggs)]
    lines += [{"repository": key[0], "revision": key[1], "commit": commits[key]} for key in sorted(commits)]
    return "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)


def parse(data: bytes, path: Path) -> Contents:
    """Return what a file says. A damaged one is an error, and so are two lines that contradict each other."""
    fix = f"Run 'git log {path.name}' to see who changed it; what was recorded must stay as it was"
    found = Contents()
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        where, contradiction = f"{path}, line {number}", ""
        try:
            fields = json.loads(line)
            if number == 1:
                _check_format(fields["format"], path)
            else:
                contradiction = _take(fields, found)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise AllotmentError(f"{where}: it is no line of a lock file", fix) from error
        if contradiction:
            raise AllotmentError(f"{where}: {contradiction}", fix)
    return found


def _take(fields: Mapping[str, Any], found: Contents) -> str:
    """Add what a line says; return how it contradicts one before it, or nothing."""
    if "eggs" in fields:
        eggs, wheels = tuple(fields["eggs"]), _wheels(fields["wheels"])
        is_same = found.eggs.setdefault(eggs, wheels) == wheels
        return "" if is_same else f"{' '.join(eggs)} have two different sets of wheels"
    if "commit" in fields:
        key, commit = (_text(fields["repository"]), _text(fields["revision"])), fields["commit"]
        if not is_whole(commit):
            raise ValueError
        return "" if found.commits.setdefault(key, commit) == commit else f"{key[1]} is two different commits"
    pin, sha256 = Pin(_text(fields["url"]), _text(fields["md5"])), fields["sha256"]
    if not _SHA256.fullmatch(sha256):
        raise ValueError
    return "" if found.pins.setdefault(pin, sha256) == sha256 else f"{pin.url} has two different sha256"


def _text(found: Any) -> str:
    if not isinstance(found, str):
        raise TypeError
    return found


def _wheels(found: Any) -> Wheels:
    wheels = {name: (version, sha256) for name, (version, sha256) in found.items()}
    if not all(isinstance(version, str) and _SHA256.fullmatch(sha256) for version, sha256 in wheels.values()):
        raise ValueError
    return wheels


def _check_format(found: object, path: Path) -> None:
    if found != FORMAT:
        raise AllotmentError(f"{path} has format {found!r}, and this is {__version__}, which reads {FORMAT}", "Update")

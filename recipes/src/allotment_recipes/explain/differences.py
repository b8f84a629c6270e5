# SPDX-License-Identifier: Apache-2.0
"""What is different between the inputs of two builds of one part, down to the option or file."""

import difflib
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from allotment_recipes.changes import LIMIT, LINES
from allotment_recipes.explain.inputs import HIDDEN, Entry
from allotment_recipes.store import HASH_DIGITS

_PLACE: Final = re.compile(rf"[^\s'\";:,=]*/[^\s'\";:,=/]+-([0-9a-f]{{{HASH_DIGITS}}})(?![0-9a-f])")
_PROFILES: Final = "@closure@/"
_SHORT: Final = 60  # characters of a value that is shown in one line


@dataclass(frozen=True)
class Difference:
    """One input that is another one; ``before`` and ``after`` are None where it was, or is, not there."""

    kind: str  # option, file, part, input, build_version, platform, recipe; or new, missing, unfinished, unknown
    name: str = ""
    before: str | None = None
    after: str | None = None

    @property
    def follows(self) -> bool:
        """Whether it only hands on what changed in a part that is referred to."""
        return self.kind == "part" and self.before is not None and self.after is not None

    def __str__(self) -> str:
        return _TEXTS[self.kind](self)

    @property
    def details(self) -> list[str]:
        """The lines that came and went, of values that have several."""
        before, after = (self.before or "").strip().split("\n"), (self.after or "").strip().split("\n")
        if self.kind not in ("option", "input") or max(len(before), len(after)) == 1:
            return []
        changed = difflib.unified_diff([line.strip() for line in before], [line.strip() for line in after], n=0)
        return [line for line in changed if not line.startswith(("---", "+++", "@@")) and len(line.rstrip()) > 1]


def differences(before: Entry, now: Entry, names: Mapping[str, str]) -> list[Difference]:
    """Return what differs between two entries of one part; ``names`` tells parts by the ends of their folders."""
    old, new = before["inputs"], now["inputs"]
    found = [
        *_between("option", _shown(old["options"], names), _shown(new["options"], names)),
        *_between("input", _shown(old["inputs"], names), _shown(new["inputs"], names)),
        *_between("file", _relative(old["files"]), _relative(new["files"])),
        *_between("build_version", _one(old["build_version"]), _one(new["build_version"])),
        *_between("platform", _one(old["platform"]), _one(new["platform"])),
        *_between("part", before["references"], now["references"]),
    ]
    if not found and before["hash"] != now["hash"]:
        kind = "secret" if HIDDEN in new["options"].values() else "order"
        found.append(Difference(kind))
    return found


def names_of(*records: Mapping[str, Entry]) -> dict[str, str]:
    """Return the parts of records, and of what came before, by what their folders' names end with."""
    entries = [(name, entry) for record in records for name, entry in record.items()]
    entries = [(name, before) for name, entry in entries if (before := entry.get("before"))] + entries
    return {entry["hash"][:HASH_DIGITS]: name for name, entry in entries}


def file_lines(name: str, before: Path, after: Path) -> list[str]:
    """Return how a text file of two closures' archives differs; nothing where one is gone, or it is no text."""
    texts: list[list[str]] = []
    for path in (before, after):
        try:
            with tarfile.open(path) as archive:
                member = archive.extractfile(name)
                data = b"" if member is None else member.read(LIMIT + 1)
        except (OSError, KeyError, tarfile.TarError):
            return []
        if len(data) > LIMIT or b"\0" in data:
            return []
        texts.append(data.decode(errors="replace").splitlines())
    lines = list(difflib.unified_diff(texts[0], texts[1], lineterm="", n=1))[2:]  # without the two lines of names
    return lines if len(lines) <= LINES else [*lines[:LINES], f"... {len(lines) - LINES} lines more"]


def _between(kind: str, old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Difference]:
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            yield Difference(kind, name, old.get(name), new.get(name))


def _shown(texts: Mapping[str, str], names: Mapping[str, str]) -> dict[str, str]:
    """Return values in which the folders of parts are references again: those differ whenever such a part does."""

    def reference(match: re.Match[str]) -> str:
        return f"${{{names[match[1]]}:location}}" if match[1] in names else match[0]

    return {name: _PLACE.sub(reference, text) for name, text in texts.items()}


def _relative(files: Mapping[str, str]) -> dict[str, str]:
    return {name.removeprefix(_PROFILES): text for name, text in files.items()}


def _one(value: object) -> dict[str, str]:
    return {"": str(value)}


def _changed(what: str, item: Difference) -> str:
    if item.before is None:
        return f"{what} is new{_value(': ', item.after)}"
    if item.after is None:
        return f"{what} is gone"
    if _value("", item.before) and _value("", item.after):
        return f"{what} changed from {item.before.strip()} to {item.after.strip()}"
    return f"{what} changed"


def _value(before: str, text: str | None) -> str:
    """Return a value that is short enough to be told in a sentence."""
    plain = (text or "").strip()
    return f"{before}{plain}" if plain and "\n" not in plain and len(plain) <= _SHORT else ""


def _input(item: Difference) -> str:
    return _changed(item.name if item.name.startswith(("variable ", "patch ")) else f"{item.name}:", item).replace(
        ": changed", " changed"
    )


def _file(item: Difference) -> str:
    if item.before is None or item.after is None:
        return f"file {item.name} is {'new' if item.before is None else 'gone'}"
    old, new = item.before.split()[0], item.after.split()[0]
    return f"file {item.name} changed" + (f" its mode from {old} to {new}" if old != new else "")


def _part(item: Difference) -> str:
    if item.before is None or item.after is None:
        return f"it refers to {item.name} {'now' if item.before is None else 'no more'}"
    return f"{item.name} changed"


_TEXTS: Final = {
    "option": lambda item: _changed(f"option {item.name}", item),
    "input": _input,
    "file": _file,
    "part": _part,
    "build_version": lambda item: f"the recipe builds otherwise now: build_version {item.before}, now {item.after}",
    "platform": lambda item: f"it is for {item.after} now, before for {item.before}",
    "secret": lambda item: "a secret option changed",
    "order": lambda item: "the parts that it refers to have another order",
    "new": lambda item: "it is new",
    "missing": lambda item: "it is no longer in the store, though its inputs are the same",
    "unfinished": lambda item: "the last build did not come to its end",
}


def first_of(found: Iterable[Difference]) -> list[Difference]:
    """Return differences with what people changed first: a version before the checksums and names that go with it."""
    return sorted(found, key=lambda item: (item.follows, item.kind != "option", item.name != "version"))

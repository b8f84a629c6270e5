# SPDX-License-Identifier: Apache-2.0
"""``<release>/.build/inputs.json``: of each part, what the last build made its hash of, and what the one before did.

What came before stays until the part has other inputs again, so that it can be told later why it was built anew.
"""

import json
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from allotment.atomic import write_bytes
from allotment.secret import Secret
from allotment_recipes.shared_store import is_whole

FORMAT: Final = 1
NAME: Final = ".build/inputs.json"  # in a release's folder
HIDDEN: Final = "<secret>"
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")
_KEPT: Final = ("files", "build_version", "inputs", "platform", "root_length")

Entry = dict[str, Any]  # of a part: hash, recipe, version, location, references (part -> hash), inputs


def entries(buildout: Any) -> dict[str, Entry]:
    """Return what each part of a release is made of; the driver has prepared its parts."""
    hashes = {name: buildout.part_hash(name) for name in buildout._parts}
    return {name: _entry(buildout, name, hashes) for name in buildout._parts}


def _entry(buildout: Any, name: str, hashes: Mapping[str, str]) -> Entry:
    section, document = buildout[name], buildout.hashes.document(name)
    given = vars(getattr(section.recipe, "options", object)) or {}
    secrets = {option.replace("_", "-") for option, value in given.items() if isinstance(value, Secret)}
    location = getattr(section.recipe, "location", None)
    return {
        "hash": hashes[name],
        "recipe": section["recipe"],
        "version": str(getattr(section.recipe, "version", section.get("version", ""))),
        "location": "" if location is None else str(location),
        "references": dict(_references(buildout, name, document["references"], hashes)),
        "inputs": {
            **{key: document[key] for key in _KEPT},
            "options": {
                option: HIDDEN if option in secrets else _CREDENTIALS.sub("", text)
                for option, text in document["options"].items()
            },
        },
    }


def _references(buildout: Any, name: str, found: list[str], hashes: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the parts that a part's hash has in it, each with its own."""
    names = {hashes[part]: part for part in buildout.parts_of(name) if part in hashes}
    circle = buildout.hashes.circle(name)
    others = len(found) - len(circle)
    yield from ((names.get(digest, digest), digest) for digest in found[:others])
    yield from zip(circle, found[others:], strict=True)  # what each of these is without the others


def read(folder: Path) -> dict[str, Entry]:
    """Return what a release's record says of each part; nothing where there is none that can be read."""
    try:
        document = json.loads((folder / NAME).read_bytes())
        found: dict[str, Entry] = document["parts"] if document["format"] == FORMAT else {}
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return {}  # the next build makes it anew
    return found


def record(folder: Path, now: Mapping[str, Entry], closure: str, *, is_done: bool) -> None:
    """Keep the inputs of a build that has ended, well or not; ``closure`` is the sha256 of its archive."""
    kept = read(folder)
    parts = {name: _followed(kept.get(name), entry, closure, is_done) for name, entry in now.items()}
    if parts != kept:
        path = folder / NAME
        path.parent.mkdir(exist_ok=True)
        data = json.dumps({"format": FORMAT, "parts": parts}, sort_keys=True).encode()
        write_bytes(path, data, 0o600, sync=False)


def _followed(before: Entry | None, entry: Entry, closure: str, is_done: bool) -> Entry:
    """Return the entry that comes after ``before``; of inputs that were never built none stays."""
    built = is_whole(entry["location"]) if entry["location"] else is_done
    if before is not None and before["hash"] == entry["hash"]:
        return {**before, **entry, "built": before["built"] or built}
    earlier = before if before is None or before["built"] else before["before"]
    kept = None if earlier is None else {key: value for key, value in earlier.items() if key != "before"}
    return {**entry, "at": round(time.time()), "built": built, "closure": closure, "before": kept}

# SPDX-License-Identifier: Apache-2.0
"""Which installed distributions took part in a build, by a hash that no folder's place changes."""

import functools
import hashlib
import importlib.metadata
import json
import os
import urllib.parse
from collections.abc import Iterable, Iterator
from pathlib import Path

from allotment_recipes.recipe_loading import canonical, find

# Files of a distribution's record that depend on how and where it was installed.
_LOCAL = ("direct_url.json", "INSTALLER", "REQUESTED", "RECORD")
_MADE_AT_TOP = ("build", "dist")
_MADE_FOLDERS = ("__pycache__", ".egg-info")


def took_part(specs: Iterable[str]) -> list[dict[str, str]]:
    """Return name, version and sha256 of each distribution that one of the recipes ``distribution:name`` comes from.

    A hash is kept: what this process or its zygote has imported is what runs, whatever is installed since.
    """
    points = [find("", spec) for spec in set(specs)]
    found = {canonical(point.dist.name): point.dist for point in points if point.dist is not None}
    return [{"name": name, "version": item.version, "sha256": _kept_hash(item)} for name, item in sorted(found.items())]


def distribution_hash(distribution: importlib.metadata.Distribution) -> str:
    """Return the sha256 of its RECORD, or of its files for an editable install."""
    source = editable_folder(distribution)
    if source is not None:
        lines = [
            f"{path.relative_to(source)} {hashlib.sha256(path.read_bytes()).hexdigest()}"
            for path in sorted(editable_files(source))
        ]
    else:
        record = distribution.read_text("RECORD") or ""
        lines = sorted(line for line in record.splitlines() if not _is_local(line.partition(",")[0]))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


_kept_hash = functools.cache(distribution_hash)


def _is_local(name: str) -> bool:
    return name.startswith(("..", "/")) or name.endswith(".pyc") or Path(name).name in _LOCAL


def editable_folder(distribution: importlib.metadata.Distribution) -> Path | None:
    """Return the folder that a distribution is taken from as it is; None for one that was copied."""
    text = distribution.read_text("direct_url.json")
    direct = json.loads(text) if text else {}
    if not direct.get("dir_info", {}).get("editable"):
        return None
    return Path(urllib.parse.unquote(str(direct["url"]).removeprefix("file://")))


def editable_files(folder: Path) -> Iterator[Path]:
    """Yield the files of such a folder, in no order, but what Python, setuptools and tools have made there."""
    for name, folders, files in os.walk(folder):
        made = _MADE_AT_TOP if Path(name) == folder else ()
        folders[:] = [
            item for item in folders if item not in made and item[0] != "." and not item.endswith(_MADE_FOLDERS)
        ]
        for item in files:
            path = Path(name, item)
            if not item.endswith(".pyc") and path.is_file():
                yield path

# SPDX-License-Identifier: Apache-2.0
"""What the jobs of a test node see of it: other versions of any of this may give another result.

``python -m allotment_testfarm.testnode.environment`` prints it as one JSON object, which :mod:`.surroundings` reads: a
process of its own imports what a job would import now, not what the test node did when it started.
"""

import contextlib
import hashlib
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any, Final

from allotment.errors import AllotmentError
from allotment.plugins import load, plugins
from allotment_recipes.build_environment import HOST_PATH
from allotment_recipes.compiler import compiler
from allotment_recipes.distributions import distribution_hash, editable_files, editable_folder
from allotment_recipes.recipe_loading import canonical
from allotment_recipes.store import platform_name

# The machine's programs that builds use most; those of them that it lacks are an input as well.
TOOLS: Final = (
    *("gcc", "g++", "cpp", "as", "ld", "ar", "ranlib", "strip", "make", "patch", "sh", "sed", "awk", "grep", "perl"),
    *("pod2man", "python3", "m4", "bison", "flex", "pkg-config", "cmake", "tclsh"),
)


def environment() -> dict[str, str]:
    """Return versions or hashes, by name, of what is installed here. Takes a moment."""
    return {
        "build platform": platform_name(),
        "compiler": compiler(),
        "python": platform.python_version(),
        **{f"tool {name}": _hash(path) if path else "none" for name, path in _tools().items()},
        **dict(_distributions()),
        **dict(_recipes()),
    }


@dataclass(frozen=True)
class Watched:
    """By what of these looks like a change of :func:`environment` is noticed."""

    folders: tuple[str, ...]  # in which distributions are installed
    trees: tuple[str, ...]  # of those that are taken from their source folder
    files: tuple[str, ...]

    def look(self) -> str:
        """Return a hash of how all of them look: names, times, sizes. It takes milliseconds."""
        lines = []
        for path in self._paths():
            with contextlib.suppress(OSError):  # a link to nowhere, an entry of sys.path that is none
                status = os.stat(path)  # noqa: PTH116 (a thousand Path objects are half of the time)
                lines.append(f"{path} {status.st_mtime_ns} {status.st_size} {status.st_ino}")
        return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()

    def _paths(self) -> Iterator[str | Path]:
        yield from self.files
        for tree in self.trees:
            yield from editable_files(Path(tree))
        for folder in self.folders:
            if os.path.isdir(folder):  # noqa: PTH112 (as above)
                yield folder
                names = os.listdir(folder)  # noqa: PTH208 (as above)
                yield from (f"{folder}/{name}" for name in names if name.endswith((".dist-info", ".egg-info", ".pth")))


def watched() -> Watched:
    """Return what this process imports from and which of the machine's programs jobs use."""
    editable = filter(None, map(editable_folder, distributions()))
    return Watched(tuple(sys.path), tuple(map(str, editable)), tuple(filter(None, _tools().values())))


def _tools() -> dict[str, str | None]:
    return {name: shutil.which(name, path=HOST_PATH) for name in TOOLS}


def _hash(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]


def _distributions() -> Iterator[tuple[str, str]]:
    seen = set()
    for found in distributions():
        name = canonical(found.metadata["Name"] or "")
        if name not in seen:  # the first of a name on sys.path is the one that is imported
            seen.add(name)
            yield name, f"{found.version} {distribution_hash(found)[:16]}" if _may_change(found) else found.version


def _may_change(distribution: Distribution) -> bool:
    """Whether the files of one version are not always the same: it is installed from a folder."""
    return distribution.read_text("direct_url.json") is not None


def _recipes() -> Iterator[tuple[str, str]]:
    for item in plugins().items("allotment_recipe_types"):
        try:
            version = str(getattr(load(item.target), "build_version", 0))
        except (AllotmentError, ImportError, AttributeError) as error:
            version = f"can't be imported: {error}"  # a release that uses it fails, and says so
        yield f"recipe {item.distribution}:{item.name}", version


def main() -> None:
    """Print all that the test node wants to know; the look comes first, so a change while this runs is noticed."""
    paths = watched()
    found: dict[str, Any] = {"watched": asdict(paths), "look": paths.look()}
    found["kinds"] = [kind.name for kind in plugins().items("allotment_job_kinds")]
    found["environment"] = environment()
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""What builds that were killed have left in a release's folder, and no part is recorded to have made."""

import logging
import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import Final

from allotment.atomic import write_bytes
from allotment_recipes.journal import Journal, is_inside
from allotment_recipes.shared_store import remove
from allotment_recipes.store import HASH_DIGITS

NAME: Final = ".build/written"  # in a release's folder: new files of builds that have not come to their end, one a line
_PART: Final = re.compile(rf".*-[0-9a-f]{{{HASH_DIGITS}}}")
_logger = logging.getLogger("zc.buildout")


class Leftovers:
    """The files that a build makes are noted before they are there, until they are recorded as those of parts."""

    def __init__(self, folder: Path, journal: Journal) -> None:
        self._folder = folder
        self._path = folder / NAME
        self._journal = journal
        journal.before_new = self._note

    def clear(self, recorded: Collection[str]) -> None:
        """Remove what nobody has recorded; called when a build has gone well, and all its parts are recorded.

        A file that this build wrote stays, also one that no part owns; so does what is not in the release's folder.
        """
        kept = {*(str(self._folder / path) for path in recorded), *map(str, self._journal.paths)}
        for path in map(Path, sorted(self._noted() - kept)):
            is_owned = not kept.isdisjoint(map(str, path.parents))  # a part may record the folder of its files
            if not is_owned and is_inside(path, self._folder) and (path.is_symlink() or path.is_file()):
                _logger.info("a build that did not come to its end has left %s", path)
                path.unlink()
        for path in self._parts():
            if str(path) not in kept:
                _logger.info("a build that did not come to its end has left %s", path)
                remove(path)
        self._path.unlink(missing_ok=True)

    def forget(self, parts: Collection[str]) -> None:
        """Let stay what these parts wrote in this build, also what they don't own: they are done, and recorded."""
        noted = self._noted()
        left = noted.difference(map(str, self._journal.paths_of(parts)))
        if left != noted:
            lines = b"".join(os.fsencode(path) + b"\n" for path in sorted(left))
            write_bytes(self._path, lines, 0o600, sync=False)

    def _noted(self) -> set[str]:
        try:
            lines = self._path.read_bytes().split(b"\n")[:-1]  # without one that was cut off
        except FileNotFoundError:
            return set()
        return {os.fsdecode(line) for line in lines}

    def _parts(self) -> list[Path]:
        """Return the parts in the release's own store, which are nobody else's."""
        folder = self._folder / "store"
        return [path for path in folder.glob("[!.]*") if _PART.fullmatch(path.name) and not path.is_symlink()]

    def _note(self, path: Path) -> None:
        self._path.parent.mkdir(exist_ok=True)
        with self._path.open("ab", buffering=0) as file:
            file.write(os.fsencode(path) + b"\n")

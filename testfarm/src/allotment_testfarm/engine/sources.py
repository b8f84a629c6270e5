# SPDX-License-Identifier: Apache-2.0
"""The files of a revision as a tar, made once and kept while they are asked for."""

import threading
from pathlib import Path

from allotment_testfarm.git import UNFINISHED, Mirror

KEPT = 8  # archives


class Sources:
    """A small cache of archives in ``folder``; every method blocks."""

    def __init__(self, folder: Path, mirror: Mirror, kept: int = KEPT) -> None:
        self._folder = folder
        self._mirror = mirror
        self._kept = kept
        self._lock = threading.Lock()

    def archive(self, commit: str) -> Path:
        """Return a revision's tar; open it at once: it may be removed when many others are asked for."""
        path = self._folder / f"{commit}.tar"
        with self._lock:
            if path.exists():
                path.touch()
                return path
            self._prepare()
            self._mirror.archive(commit, path)
            newest = sorted(self._folder.glob("*.tar"), key=lambda item: item.stat().st_mtime, reverse=True)
            for old in newest[self._kept :]:
                old.unlink()
        return path

    def _prepare(self) -> None:
        """Make the folder, and remove what an engine that was killed has left half written."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for left in self._folder.glob(f"{UNFINISHED}*"):
            left.unlink()

# SPDX-License-Identifier: Apache-2.0
"""Recipe ``download-unpacked``: an archive, known by its sha256, as a folder."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from allotment.blobs import BlobStore
from allotment.errors import AllotmentError
from allotment.options import OptionProblem
from allotment_recipes import sources
from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.part_folder import clear_beside, filling, removable, replacing, telling_disk_errors, unpack_into
from allotment_recipes.source_options import NOT_INPUTS, DownloadOptions

_MARK: Final = ".allotment-unpacked"  # in a destination that is ours: what was unpacked there
_SHOWN: Final = 5  # names in a warning


@dataclass(frozen=True)
class Options(DownloadOptions):
    strip_top_level_dir: bool = False  # leave out the one folder that an archive usually holds
    destination: Path | None = None  # folder of this part's own, replaced and removed with it; default: in a store


class Recipe(GenericBaseRecipe[Options]):
    """Download a tar or zip archive, check its sha256 and unpack it; ``location`` is the folder.

    An archive with a path, a link or a device that leads out of the folder is refused, and nothing of it stays.
    """

    build_version = 1
    builds_ahead = True
    not_inputs: ClassVar[frozenset[str]] = NOT_INPUTS

    def prepare(self) -> None:
        self.source = self.options.source(self.run)
        if self.options.destination is None:
            self.location = self.store_path(self.name, self.options.version, shared=self.options.shared)
        else:
            if self.options.shared:
                raise OptionProblem("destination", "a shared part is in the store", "Take out one of the two options")
            self.location = self.path(self.options.destination)
        self.publish_option("location", self.location)

    def install(self) -> list[Path]:
        """Unpack, unless that has been done; a destination that others have filled is never replaced.

        One that this part has filled is, when the section changes, with what was changed in it by hand.
        """
        blobs = BlobStore(self.run.sources)
        if self.options.destination is not None:
            with telling_disk_errors(self, self.location):
                self._fill_destination(blobs)
            return [self.location]
        with filling(self, self.location, self.options.version) as folder:
            if folder is not None:
                sources.fetch(self.source, blobs)
                self._unpack(blobs, folder)
        return removable(self, self.location)

    @classmethod
    def uninstall(cls, name: str, options: Mapping[str, str]) -> None:
        """Say what goes with a destination; its files are removed by buildout."""
        if "destination" in options:
            _tell_changes(name, Path(options["location"]))

    def _unpack(self, blobs: BlobStore, folder: Path) -> None:
        unpack_into(blobs.path(self.source.sha256), folder, strip_top_level=self.options.strip_top_level_dir)

    def _fill_destination(self, blobs: BlobStore) -> None:
        content = f"{self.source.sha256} {self.options.strip_top_level_dir}\n"
        mark = self.location / _MARK
        found = mark.read_text() if mark.is_file() else None
        clear_beside(self.location)
        if found == content:
            return
        if found is None and (self.location.is_file() or (self.location.is_dir() and any(self.location.iterdir()))):
            raise AllotmentError(
                f"[{self.name}] destination: {self.location} holds what this part has not made",
                "Remove it, or choose a folder of its own",
            )
        sources.fetch(self.source, blobs)
        _tell_changes(self.name, self.location)
        with replacing(self.location) as folder:
            self._unpack(blobs, folder)
            (folder / _MARK).write_text(content)


def _tell_changes(part: str, folder: Path) -> None:
    """Name the files of a destination that were changed by hand: they are younger than its mark."""
    mark = folder / _MARK
    if not mark.is_file():
        return
    made = mark.stat().st_ctime_ns
    paths = (Path(place, name) for place, _, names in os.walk(folder) for name in names)
    changed = sorted(str(path) for path in paths if path.lstat().st_ctime_ns > made)
    if changed:
        more = f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
        logging.getLogger(part).warning("changed by hand, and goes now: %s%s", ", ".join(changed[:_SHOWN]), more)

# SPDX-License-Identifier: Apache-2.0
"""Recipe ``download``: one file, known by its sha256."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from allotment.blobs import BlobStore
from allotment.options import Mode, OptionProblem
from allotment_recipes import sources
from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.part_folder import filling, removable
from allotment_recipes.source_options import NOT_INPUTS, DownloadOptions, file_name


@dataclass(frozen=True)
class Options(DownloadOptions):
    filename: str = ""  # name of the file; default: the last word of the URL
    destination: Path | None = None  # path of the file; default: in the part's own folder
    mode: Mode = Mode(0o644)  # permissions of the file; in the store of all releases nothing can be written to


class Recipe(GenericBaseRecipe[Options]):
    """Download a file and check its sha256; ``location`` is its folder, ``target`` its path, ``filename`` its name."""

    build_version = 2
    builds_ahead = True
    not_inputs: ClassVar[frozenset[str]] = NOT_INPUTS

    def prepare(self) -> None:
        self.filename = self._filename()
        self.source = self.options.source(self.run)
        self.location: Path | None = None
        if self.options.destination is not None:
            if self.options.shared:
                raise OptionProblem("destination", "a shared part is in the store", "Take out one of the two options")
            self.target = self.path(self.options.destination)
            if self.target.is_dir():
                raise OptionProblem("destination", f"{self.target} is a folder", "Write the path of the file")
        else:
            self.location = self.store_path(self.name, self.options.version, shared=self.options.shared)
            self.target = self.location / self.filename
        self.publish_option("location", self.target.parent)
        self.publish_option("target", self.target)
        self.publish_option("filename", self.target.name)

    def inputs(self) -> Mapping[str, str]:
        """Return the file's name, which may come from the URL."""
        return {"filename": self.filename}

    def install(self) -> list[Path]:
        """Fetch through the source providers; bytes with another sha256 are refused."""
        blobs = BlobStore(self.run.sources)
        if self.location is None:
            sources.fetch(self.source, blobs)
            self.write(self.target, blobs.read(self.source.sha256), self.options.mode)
            return [self.target]
        with filling(self, self.location, self.options.version) as folder:
            if folder is not None:
                sources.fetch(self.source, blobs)
                blobs.copy(self.source.sha256, folder / self.filename)
                (folder / self.filename).chmod(self.options.mode)
        return removable(self, self.location)

    def _filename(self) -> str:
        name = self.options.filename or file_name(self.options.url)
        if name in ("", ".", "..") or "/" in name:
            raise OptionProblem("filename", f"{name!r} is not a file's name", "Write a name without '/'")
        return name

# SPDX-License-Identifier: Apache-2.0
"""Recipe ``download``: one file, known by its sha256."""

from dataclasses import dataclass
from pathlib import Path

from allotment.blobs import BlobStore
from allotment.errors import AllotmentError
from allotment.options import Lines, Mode, OptionProblem
from allotment_recipes import sources
from allotment_recipes.base import GenericBaseRecipe


@dataclass(frozen=True)
class Options:
    url: str  # http, https or file URL, or a path
    sha256sum: str  # 64 hexadecimal digits
    alternate_url: Lines = Lines(())  # further URLs, one a line, tried in order
    filename: str = ""  # name of the file; default: the last word of the URL
    destination: Path | None = None  # path of the file; default: in the part's own folder
    version: str = "1"  # a word in the part's folder name
    mode: Mode = Mode(0o644)  # permissions of the file


class Recipe(GenericBaseRecipe[Options]):
    """Download a file and check its sha256; ``location`` is its folder and ``target`` its path."""

    build_version = 1

    def prepare(self) -> None:
        name = self._filename()
        try:
            urls = (self.options.url, *self.options.alternate_url)
            self.source = sources.Source(self.options.sha256sum.lower(), name, urls)
        except AllotmentError as error:
            raise OptionProblem("sha256sum", f"{self.options.sha256sum!r} is not a sha256", error.fix) from error
        self.location: Path | None = None
        if self.options.destination is not None:
            self.target = self.path(self.options.destination)
        else:
            self.location = self.store_path(self.name, self.options.version)
            self.target = self.location / name
        self.publish_option("location", self.target.parent)
        self.publish_option("target", self.target)

    def install(self) -> list[Path]:
        """Fetch through the source providers; bytes with another sha256 are refused."""
        blobs = BlobStore(self.run.sources)
        if self.location is None:
            sources.fetch(self.source, blobs)
            self.write(self.target, blobs.read(self.source.sha256), self.options.mode)
            return [self.target]
        with self.building(self.location) as folder:
            if folder is not None:
                sources.fetch(self.source, blobs)
                blobs.copy(self.source.sha256, folder / self.target.name)
                (folder / self.target.name).chmod(self.options.mode)
        return [self.location]

    def _filename(self) -> str:
        name = (
            self.options.filename or self.options.url.partition("#")[0].partition("?")[0].rstrip("/").rpartition("/")[2]
        )
        if name in ("", ".", "..") or "/" in name:
            raise OptionProblem("filename", f"{name!r} is not a file's name", "Write a name without '/'")
        return name

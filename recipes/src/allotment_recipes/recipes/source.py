# SPDX-License-Identifier: Apache-2.0
"""Recipe ``source``: the sources of a program as a folder, wherever their bytes can be had."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from allotment.blobs import BlobStore
from allotment.options import Lines, OptionProblem
from allotment_recipes import sources
from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.part_folder import filling, removable, unpack_into
from allotment_recipes.source_options import check_reach, elsewhere, file_name, pinned_source


@dataclass(frozen=True)
class Options:
    sha256sum: str = ""  # 64 hexadecimal digits: what decides whether bytes are accepted
    url: str = ""  # address of the source archive: http, https or file URL, or a path
    alternate_url: Lines = Lines(())  # further URLs, one a line, tried in order
    md5sum: str = ""  # checked as well when given
    debian_source: str = ""  # package, version and suite in the distribution's source archive
    python_source: str = ""  # name==version of a source distribution in the Python index
    npm: str = ""  # name@version of a package in the npm registry
    strip_top_level_dir: bool = True  # leave out the one folder that an archive usually holds
    version: str = "1"  # a word in the part's folder name
    shared: bool = True  # into the store that all releases share; false: into the release's own


class Recipe(GenericBaseRecipe[Options]):
    """Fetch a source archive from whoever has the bytes with the pinned sha256; ``location`` is it, unpacked.

    URLs are tried first, then the distribution's source archive, the Python index and the npm registry, of those that
    are given. Recipe ``cmmi`` builds it by ``path = ${this-section:location}``.
    """

    build_version = 1
    builds_ahead = True
    not_inputs: ClassVar[frozenset[str]] = frozenset(
        {"url", "alternate-url", "md5sum", "debian-source", "python-source", "npm", "shared"}
    )

    def prepare(self) -> None:
        options = self.options
        places = (options.url, options.debian_source, options.python_source, options.npm)
        if not any(places):
            fix = "Add 'url = ...', 'debian-source = ...', 'python-source = ...' or 'npm = ...'"
            raise OptionProblem("url", "missing option", fix)
        check_reach(self.run, {"url": [options.url], "alternate-url": options.alternate_url})
        for option, place in zip(("debian-source", "python-source", "npm"), places[1:], strict=True):
            if self.run.instance is not None and place:
                raise elsewhere(option, place)
        self.source = pinned_source(
            file_name(options.url) or " ".join(next(filter(None, places[1:]), "").split()),
            options.sha256sum,
            options.md5sum,
            (*filter(None, [options.url]), *options.alternate_url),
            debian=options.debian_source,
            sdist=options.python_source,
            npm=options.npm,
        )
        self.location = self.store_path(self.name, options.version, shared=options.shared)
        self.publish_option("location", self.location)

    def install(self) -> list[Path]:
        """Fetch and unpack, unless the folder is there."""
        with filling(self, self.location, self.options.version) as folder:
            if folder is not None:
                blobs = BlobStore(self.run.sources)
                sources.fetch(self.source, blobs)
                archive = blobs.path(self.source.sha256)
                unpack_into(archive, folder, strip_top_level=self.options.strip_top_level_dir)
        return removable(self, self.location)

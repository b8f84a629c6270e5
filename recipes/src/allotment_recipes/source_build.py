# SPDX-License-Identifier: Apache-2.0
"""Recipes that build an archive or a folder of sources, one shell command after the other."""

import os
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeVar

from allotment.options import Lines, OptionProblem, Words
from allotment_recipes import sources
from allotment_recipes.build_steps import Workshop
from allotment_recipes.compiled_part import LOCATION, CompiledPart, CompileOptions
from allotment_recipes.shared_store import Place
from allotment_recipes.source_options import file_name, pinned_source

S = TypeVar("S", bound="SourceOptions")
_PARALLEL: Final = ("make", "go build")  # steps that run more than one command at a time


@dataclass(frozen=True)
class SourceOptions(CompileOptions):
    sha256sum: str = ""  # 64 hexadecimal digits: what decides whether bytes are accepted
    url: str = ""  # address of the source archive: http, https or file URL, or a path
    md5sum: str = ""  # checked as well when given
    alternates: Lines = Lines(())  # further URLs, one a line, tried in order
    debian_source: str = ""  # package, version and suite in the distribution's source archive
    path: Path | None = None  # instead: a folder with the sources, of the profile's tree or another part's
    version: str = "1"  # a word in the part's folder name
    patches: Lines = Lines(())  # path or URL, '#' and its sha256, one a line
    patch_options: str = "-p0"  # arguments of patch
    patch_binary: str = "patch"  # the program that applies patches
    strip_top_level_dir: bool = True  # leave out the one folder that an archive usually holds


@dataclass(frozen=True)
class MakeOptions(SourceOptions):
    """What is built and installed with make or a program like it."""

    prefix: str = LOCATION  # folder to install to, in @@LOCATION@@
    make_options: str = ""  # arguments of make, or of ninja, when it builds and when it installs
    make_targets: Words = Words(("install",))  # what make is asked for when it installs
    pre_build: str = ""  # shell commands before make; the first that fails ends the build
    pre_install: str = ""  # shell commands before make install
    post_install: str = ""  # shell commands after it


@dataclass(frozen=True)
class ConfigureOptions(MakeOptions):
    """What is configured first."""

    configure_options: str = ""  # arguments of the configure command, over any number of lines
    pre_configure: str = ""  # shell commands before configuring; the first that fails ends the build


class SourceBuild(CompiledPart[S]):
    """A part that is built from sources in steps, each a shell command."""

    @abstractmethod
    def steps(self, folder: Path, work: Path) -> Iterator[tuple[str, str]]:
        """Yield each step's name and command, empty when there is nothing to do, for the sources in ``folder``.

        Each is run before the next one is asked for. ``work`` is the folder for what is not installed.
        """

    def read_sources(self) -> None:
        """Take the options that say what is built; called first by ``prepare``."""
        options = self.options
        self.source_folder = self._source_folder()
        self.source = self._source() if self.source_folder is None else None
        self.strips_top_level = options.strip_top_level_dir
        self.patch_lines, self.patch_options, self.patch_binary = (
            options.patches, options.patch_options, options.patch_binary,
        )  # fmt: skip

    def build(self, workshop: Workshop, place: Place) -> None:
        """Run the steps one after the other."""
        for step, command in self.steps(workshop.folder, place.work):
            if command.strip():
                workshop.run(step, self.located(command), is_parallel=step in _PARALLEL)

    def inside_location(self, option: str, text: str) -> str:
        """Return the path that an option names, which must be of this part."""
        path = os.path.normpath(self.located(text))
        if not Path(path).is_relative_to(self.location):
            raise OptionProblem(option, f"{text!r} is outside of the part", "Begin it with @@LOCATION@@")
        return path

    def check_script(self, folder: Path, names: Sequence[str], option: str, fix: str) -> None:
        """Raise unless the sources have a file that their build system reads, by one of its names."""
        if not any((folder / name).is_file() for name in names):
            kind = "configure script" if names[0] == "configure" else names[0]
            self.fail(OptionProblem(option, f"the sources have no {kind}", fix))

    def _source(self) -> sources.Source:
        options = self.options
        if not options.url and not options.debian_source:
            raise OptionProblem("url", "missing option", "Add 'url = ...', 'debian-source = ...' or 'path = ...'")
        name = f"[{self.name}] {file_name(options.url)}".strip()
        urls = (options.url,) if options.url else ()
        source = pinned_source(name, options.sha256sum, options.md5sum, urls, debian=options.debian_source)
        return replace(source, alternates=options.alternates)

    def _source_folder(self) -> Path | None:
        """Return the folder of ``path``; one that nothing pins is an error."""
        options = self.options
        if options.path is None:
            return None
        if options.url or options.debian_source:
            raise OptionProblem("path", "stands beside an address of the sources", "Take one of the two out")
        folder = self.path(options.path)
        pinned = [*self.referred_parts(), self.run.closure or self.folder]
        if not any(folder.is_relative_to(place) for place in pinned):
            fix = "Write ${:_profile_base_location_}/... or ${<part>:location}"
            raise OptionProblem("path", f"{folder} is neither in the profile's tree nor of another part", fix)
        if folder.is_relative_to(pinned[-1]) and not folder.is_dir():
            raise OptionProblem("path", f"there is no folder {folder}", "Correct it")
        return folder

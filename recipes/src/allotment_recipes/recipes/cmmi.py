# SPDX-License-Identifier: Apache-2.0
"""Recipe ``cmmi``: configure, make, make install, from a pinned source into the store."""

import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from allotment.options import Lines, OptionProblem, Words
from allotment_recipes import sources
from allotment_recipes.build_steps import Workshop
from allotment_recipes.compiled_part import LOCATION, CompiledPart, CompileOptions, jobs
from allotment_recipes.shared_store import Place
from allotment_recipes.source_options import file_name, pinned_source

_TOOLS = {"configure": ("make",), "cmake": ("cmake", "make"), "meson": ("meson", "ninja")}


@dataclass(frozen=True)
class Options(CompileOptions):
    sha256sum: str = ""  # 64 hexadecimal digits: what decides whether bytes are accepted
    url: str = ""  # address of the source archive: http, https or file URL, or a path
    md5sum: str = ""  # checked as well when given
    alternates: Lines = Lines(())  # further URLs, one a line, tried in order
    debian_source: str = ""  # package, version and suite in the distribution's source archive
    path: Path | None = None  # instead: a folder with the sources, of the profile's tree or another part's
    version: str = "1"  # a word in the part's folder name
    build_system: Literal["configure", "cmake", "meson"] = "configure"  # what the sources are built with
    prefix: str = LOCATION  # folder to install to, in @@LOCATION@@
    configure_command: str = ""  # default: what the build system needs; true when there is nothing to configure
    configure_options: str = ""  # arguments of the configure command, over any number of lines
    make_binary: str = "make"  # the program that builds and installs; empty: make-targets are a shell command, if any
    make_options: str = ""  # arguments of make, or of ninja, when it builds and when it installs
    make_targets: Words = Words(("install",))  # what make is asked for when it installs
    pre_configure: str = ""  # shell commands before configuring; the first that fails ends the build
    pre_build: str = ""  # shell commands before make
    pre_install: str = ""  # shell commands before make install
    post_install: str = ""  # shell commands after it
    patches: Lines = Lines(())  # path or URL, '#' and its sha256, one a line
    patch_options: str = "-p0"  # arguments of patch
    patch_binary: str = "patch"  # the program that applies patches
    strip_top_level_dir: bool = True  # leave out the one folder that an archive usually holds


class Recipe(CompiledPart[Options]):
    """Build sources with their own configure and make, with CMake or with Meson; ``location`` is the result.

    It is built in a clean environment, with headers and libraries of the parts that the section refers to where
    compilers look, and with an rpath to them. ``@@LOCATION@@`` in an option stands for ``location``. What needs a
    library from outside the store, or remembers the folder it was built in, is an error.
    """

    build_version = 3
    options_class = Options

    def prepare(self) -> None:
        options = self.options
        self.source_folder = self._source_folder()
        self.source = self._source() if self.source_folder is None else None
        self.strips_top_level = options.strip_top_level_dir
        self.patch_lines, self.patch_options, self.patch_binary = (
            options.patches, options.patch_options, options.patch_binary,
        )  # fmt: skip
        if options.make_binary == "make" or options.build_system == "meson":
            self.tools = _TOOLS[options.build_system]
        self.prepare_part(options.version)
        self.prefix = os.path.normpath(self.located(options.prefix))
        if not Path(self.prefix).is_relative_to(self.location):
            raise OptionProblem("prefix", f"{options.prefix!r} is outside of the part", "Begin it with @@LOCATION@@")

    def build(self, workshop: Workshop, place: Place) -> None:
        """Run the steps one after the other."""
        for step, command in self._steps(workshop.folder, place.work / "build"):
            if command.strip():
                workshop.run(step, self.located(command))

    def _steps(self, folder: Path, build: Path) -> Iterator[tuple[str, str]]:
        """Yield each step and its command, one after the other: what is before may write the configure script."""
        options = self.options
        make, parallel = self._make(build)
        yield "pre-configure", options.pre_configure
        yield "configure", self._configure(folder, build)
        yield "pre-build", options.pre_build
        yield "make", f"{make}{parallel}"
        yield "pre-install", options.pre_install
        yield "make install", f"{make} {' '.join(self._targets())}" if self._targets() else ""
        yield "post-install", options.post_install

    def _make(self, build: Path) -> tuple[str, str]:
        """Return the command that builds, and what makes it use all cores."""
        binary = self.options.make_binary.strip()
        if not binary:
            return "", ""
        if self.options.build_system != "configure":
            binary = "ninja" if self.options.build_system == "meson" else binary
            return f"{binary} -C {shlex.quote(str(build))} {_joined(self.options.make_options)}".strip(), f" {jobs()}"
        make = f"{binary} {_joined(self.options.make_options)}".strip()
        return make, f" {jobs()}" if Path(binary.split()[0]).name == "make" else ""

    def _targets(self) -> Sequence[str]:
        """Return what is installed; without a program that makes, other targets than its own are a command."""
        targets = self.options.make_targets
        return () if not self.options.make_binary.strip() and targets == ("install",) else targets

    def _configure(self, folder: Path, build: Path) -> str:
        arguments = _joined(self.options.configure_options)
        if self.options.configure_command:
            return f"{self.options.configure_command} {arguments}"
        script = {"configure": "configure", "cmake": "CMakeLists.txt", "meson": "meson.build"}[
            self.options.build_system
        ]
        if not (folder / script).is_file():
            kind = "configure script" if script == "configure" else script
            fix = "Write 'configure-command = true' if it needs none, or the build-system that it has"
            self.fail(OptionProblem("configure-command", f"the archive has no {kind}", fix))
        if self.options.build_system == "cmake":
            return f"cmake -S . -B {shlex.quote(str(build))} {shlex.join(self._cmake_settings())} {arguments}"
        if self.options.build_system == "meson":
            settings = [f"--prefix={self.prefix}", "--libdir=lib", "--buildtype=release", "--wrap-mode=nodownload"]
            return f"meson setup {shlex.quote(str(build))} {shlex.join(settings)} {arguments}"
        return f"./configure --prefix={shlex.quote(self.prefix)} {arguments}"

    def _cmake_settings(self) -> Sequence[str]:
        """Return what makes CMake install for the store: it would drop every rpath when it installs."""
        search = dict.fromkeys(f"{folder}/lib" for folder in (self.prefix, *self.parts))
        return [
            "-GUnix Makefiles",
            f"-DCMAKE_INSTALL_PREFIX={self.prefix}",
            "-DCMAKE_INSTALL_LIBDIR=lib",
            "-DCMAKE_BUILD_TYPE=Release",
            f"-DCMAKE_INSTALL_RPATH={';'.join(search)}",
            "-DCMAKE_INSTALL_RPATH_USE_LINK_PATH=ON",
            "-DCMAKE_FIND_USE_PACKAGE_REGISTRY=OFF",
            "-DFETCHCONTENT_FULLY_DISCONNECTED=ON",
        ]

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


def _joined(text: str) -> str:
    return " ".join(text.split("\n")).strip()

# SPDX-License-Identifier: Apache-2.0
"""Recipe ``cmmi``: configure, make, make install, from a pinned source into the store."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from allotment_recipes import build_systems
from allotment_recipes.build_systems import joined
from allotment_recipes.source_build import ConfigureOptions, SourceBuild

_SCRIPTS = {"configure": "configure", "cmake": "CMakeLists.txt", "meson": "meson.build"}


@dataclass(frozen=True)
class Options(ConfigureOptions):
    build_system: Literal["configure", "cmake", "meson"] = "configure"  # what the sources are built with
    configure_command: str = ""  # default: what the build system needs; true when there is nothing to configure
    make_binary: str = "make"  # the program that builds and installs; empty: make-targets are a shell command, if any


class Recipe(SourceBuild[Options]):
    """Build sources with their own configure and make, with CMake or with Meson; ``location`` is the result.

    It is built in a clean environment, with headers and libraries of the parts that the section refers to where
    compilers look, and with an rpath to them. ``@@LOCATION@@`` in an option stands for ``location``. What needs a
    library from outside the store, or remembers the folder it was built in, is an error.
    """

    build_version = 4
    options_class = Options

    def prepare(self) -> None:
        options = self.options
        self.read_sources()
        if options.make_binary == "make" or options.build_system == "meson":
            self.tools = build_systems.TOOLS[options.build_system]
        self.prepare_part(options.version)
        self.prefix = self.inside_location("prefix", options.prefix)

    def steps(self, folder: Path, work: Path) -> Iterator[tuple[str, str]]:
        """Yield each step; what is before ``configure`` may write the configure script."""
        options = self.options
        yield "pre-configure", options.pre_configure
        yield "configure", self._configure(folder, work / "build")
        if make := self._make(work / "build"):
            yield from build_systems.making(options, make)
            return
        yield "pre-build", options.pre_build
        yield "pre-install", options.pre_install
        yield "make install", "" if options.make_targets == ("install",) else " ".join(options.make_targets)
        yield "post-install", options.post_install

    def _make(self, build: Path) -> str:
        """Return the command that builds; empty when nothing does."""
        binary = self.options.make_binary.strip()
        if binary and self.options.build_system != "configure":
            binary = f"{'ninja' if self.options.build_system == 'meson' else binary} -C {shlex.quote(str(build))}"
        return f"{binary} {joined(self.options.make_options)}".strip() if binary else ""

    def _configure(self, folder: Path, build: Path) -> str:
        options = self.options
        arguments = joined(options.configure_options)
        if options.configure_command:
            return f"{options.configure_command} {arguments}"
        fix = "Write 'configure-command = true' if it needs none, or the build-system that it has"
        self.check_script(folder, [_SCRIPTS[options.build_system]], "configure-command", fix)
        if options.build_system == "cmake":
            return f"{build_systems.cmake('.', build, self.prefix, self.parts)} {arguments}"
        if options.build_system == "meson":
            return f"{build_systems.meson('.', build, self.prefix)} {arguments}"
        return f"./configure --prefix={shlex.quote(self.prefix)} {arguments}"

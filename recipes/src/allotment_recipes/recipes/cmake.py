# SPDX-License-Identifier: Apache-2.0
"""Recipe ``cmake``: sources with a CMakeLists.txt, built beside them, from a pinned source into the store."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from allotment_recipes import build_systems
from allotment_recipes.source_build import ConfigureOptions, SourceBuild


@dataclass(frozen=True)
class Options(ConfigureOptions):
    subdirectory: str = "."  # folder of the sources that has the CMakeLists.txt
    build_type: str = "Release"  # CMake's: also MinSizeRel, or one that the sources know
    generator: Literal["make", "ninja"] = "make"  # the program that builds


class Recipe(SourceBuild[Options]):
    """Build sources with CMake; ``location`` is the result; what is installed keeps its rpath.

    Sources, environment and checks are those of the recipe ``cmmi``; CMake finds the parts that the section refers to,
    and fetches nothing. Settings are written as ``configure-options = -DNAME=value``. cmake and ninja may be the
    machine's, a part's or pinned in ``python-tools``.
    """

    build_version = 1
    options_class = Options

    def prepare(self) -> None:
        self.read_sources()
        self.tools = ("cmake", self.options.generator)
        self.prepare_part(self.options.version)
        self.prefix = self.inside_location("prefix", self.options.prefix)

    def steps(self, folder: Path, work: Path) -> Iterator[tuple[str, str]]:
        """Yield the steps; what is before ``configure`` may write the CMakeLists.txt."""
        options, build = self.options, work / "build"
        yield "pre-configure", options.pre_configure
        source = folder / options.subdirectory
        self.check_script(source, ["CMakeLists.txt"], "subdirectory", "Write the folder that has it")
        configure = build_systems.cmake(
            options.subdirectory, build, self.prefix, self.parts, options.build_type, options.generator
        )
        yield "configure", f"{configure} {build_systems.joined(options.configure_options)}"
        make = f"{options.generator} -C {shlex.quote(str(build))} {build_systems.joined(options.make_options)}"
        yield from build_systems.making(options, make)

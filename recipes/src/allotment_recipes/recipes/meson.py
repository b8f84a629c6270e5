# SPDX-License-Identifier: Apache-2.0
"""Recipe ``meson``: sources with a meson.build, built beside them, from a pinned source into the store."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from allotment_recipes import build_systems
from allotment_recipes.source_build import ConfigureOptions, SourceBuild


@dataclass(frozen=True)
class Options(ConfigureOptions):
    subdirectory: str = "."  # folder of the sources that has the meson.build
    build_type: str = "release"  # Meson's: also minsize, or plain, which adds no flags to CFLAGS


class Recipe(SourceBuild[Options]):
    """Build sources with Meson and ninja; ``location`` is the result.

    Sources, environment and checks are those of the recipe ``cmmi``; Meson downloads no wraps. Settings are written as
    ``configure-options = -Dname=value``. meson and ninja may be the machine's, a part's or pinned in ``python-tools``.
    """

    build_version = 1
    options_class = Options

    def prepare(self) -> None:
        self.read_sources()
        self.tools = ("meson", "ninja")
        self.prepare_part(self.options.version)
        self.prefix = self.inside_location("prefix", self.options.prefix)

    def steps(self, folder: Path, work: Path) -> Iterator[tuple[str, str]]:
        """Yield the steps; what is before ``configure`` may write the meson.build."""
        options, build = self.options, work / "build"
        yield "pre-configure", options.pre_configure
        source = folder / options.subdirectory
        self.check_script(source, ["meson.build"], "subdirectory", "Write the folder that has it")
        configure = build_systems.meson(options.subdirectory, build, self.prefix, options.build_type)
        yield "configure", f"{configure} {build_systems.joined(options.configure_options)}"
        ninja = f"ninja -C {shlex.quote(str(build))} {build_systems.joined(options.make_options)}"
        yield from build_systems.making(options, ninja)

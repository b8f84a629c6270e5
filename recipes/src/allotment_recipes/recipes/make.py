# SPDX-License-Identifier: Apache-2.0
"""Recipe ``make``: sources with a Makefile and nothing to configure, from a pinned source into the store."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from allotment.options import OptionProblem, Words
from allotment_recipes import build_systems
from allotment_recipes.source_build import MakeOptions, SourceBuild


@dataclass(frozen=True)
class Options(MakeOptions):
    subdirectory: str = "."  # folder of the sources that has the Makefile
    prefix_variable: str = "PREFIX"  # how the Makefile calls the folder to install to
    build_targets: Words = Words(())  # what make is asked for when it builds; default: the Makefile's first target


class Recipe(SourceBuild[Options]):
    """Build sources that have only a Makefile; ``location`` is the result, handed on as ``PREFIX``.

    Sources, environment and checks are those of the recipe ``cmmi``. Variables of the Makefile are set in
    ``make-options``; one that sets CFLAGS or LDFLAGS itself takes ours by ``LDFLAGS="$LDFLAGS"`` there.
    """

    build_version = 1
    options_class = Options
    tools = ("make",)

    def prepare(self) -> None:
        options = self.options
        self.read_sources()
        if not options.prefix_variable.isidentifier():
            problem = f"{options.prefix_variable!r} is no variable"
            raise OptionProblem("prefix-variable", problem, "Write a name such as PREFIX or INSTALL_TOP")
        self.prepare_part(options.version)
        self.prefix = self.inside_location("prefix", options.prefix)

    def steps(self, folder: Path, work: Path) -> Iterator[tuple[str, str]]:
        """Yield the steps; what is before ``make`` may write the Makefile."""
        options = self.options
        prefix = shlex.quote(f"{options.prefix_variable}={self.prefix}")
        make = f"make -C {shlex.quote(options.subdirectory)} {prefix} {build_systems.joined(options.make_options)}"
        for step, command in build_systems.making(options, make.strip(), " ".join(options.build_targets)):
            if step == "make":
                names = ("Makefile", "makefile", "GNUmakefile")
                fix = "Write the folder that has it, or use another recipe: cmmi, cmake, meson"
                self.check_script(folder / options.subdirectory, names, "subdirectory", fix)
            yield step, command

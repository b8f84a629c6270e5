# SPDX-License-Identifier: Apache-2.0
"""Recipe ``python.extension``: a Python distribution that is compiled, from its pinned sources."""

import configparser
import re
import shlex
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from allotment.errors import AllotmentError
from allotment.options import Lines, OptionProblem, Words, rest
from allotment_recipes import build_backend, wheels
from allotment_recipes.base import unknown_option
from allotment_recipes.build_steps import Workshop
from allotment_recipes.compiled_part import CompiledPart, CompileOptions, MissingToolError
from allotment_recipes.python_programs import base_python
from allotment_recipes.recipe_loading import canonical
from allotment_recipes.references import variables_of
from allotment_recipes.shared_store import Place
from allotment_recipes.source_options import file_name, pinned_source

_REQUIREMENT: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:==([A-Za-z0-9][A-Za-z0-9.!+_-]*))?")


@dataclass(frozen=True)
class Options(CompileOptions):
    egg: str = ""  # the distribution: a name that [versions] pins, or name==version; others read it as ${part:egg}
    sha256sum: str = ""  # of its source archive; default: what [hashes] says
    url: str = ""  # address of the source archive; default: the Python index is asked
    md5sum: str = ""  # checked as well when given
    setup_eggs: Words = Words(("setuptools",))  # distributions that its build needs, pinned like others
    include_dirs: Lines = Lines(())  # folders with headers, beside those of the parts that the section refers to
    library_dirs: Lines = Lines(())  # folders with libraries
    rpath: Lines = Lines(())  # folders where its libraries are looked for at run time
    libraries: Words = Words(())  # libraries to link with
    define: Words = Words(())  # C macros, NAME or NAME=value
    undef: Words = Words(())  # C macros that must not be defined
    patches: Lines = Lines(())  # path or URL, '#' and its sha256, one a line; or <egg>-patches
    patch_options: str = "-p0"  # arguments of patch; or <egg>-patch-options
    patch_binary: str = "patch"  # the program that applies patches; or <egg>-patch-binary
    of_egg: dict[str, str] = rest()  # <egg>-patches, <egg>-patch-options, <egg>-patch-binary


class Recipe(CompiledPart[Options]):
    """Compile a Python distribution by its own build backend, offline, with only ``setup-eggs`` around it.

    ``location`` has it in ``lib``; a ``python.scripts`` section that lists ``${this-section:egg}`` sees it. Headers,
    libraries and rpath are those of the parts that the section refers to, and what the options add.
    """

    build_version = 2
    options_class = Options
    runs_python = True

    def prepare(self) -> None:
        options = self.options
        self.egg = self._pin()
        self.source = pinned_source(
            file_name(options.url) or self.egg.requirement,
            self.egg.hashes[0],
            options.md5sum,
            (options.url,) if options.url else (),
            sdist=self.egg.requirement,
        )
        self._read_patch_options()
        self.setup_eggs = options.setup_eggs
        self.prepare_part(re.sub(r"[^A-Za-z0-9._+]", "_", self.egg.version))
        self.publish_option("egg", self.egg.name)
        self.publish_option("lib", self.location / "lib")
        header = Path(sysconfig.get_path("include")) / "Python.h"
        if not header.is_file() and not self.store.holds(self.location):
            raise MissingToolError(f"[{self.name}] {header} is not there", "Install it: apt-get install python3-dev")

    def inputs(self) -> Mapping[str, str]:
        """Return what no option of this section says: the version and the hash of the sources, too."""
        return {**super().inputs(), "egg": self.egg.requirement, "source": self.egg.hashes[0]}

    def more_environment(self, work: Path) -> Mapping[str, str]:
        """Return what makes Python see ``setup-eggs`` and nothing else, and compile without the folder's name."""
        macros = (shlex.quote(f"-D{macro}") for macro in self.options.define)  # setuptools' own way takes no values
        # Without it setuptools links as the interpreter itself was linked, perhaps with an rpath of that.
        linkers = {"LDSHARED": "gcc -shared", "LDCXXSHARED": "g++ -shared"}
        return {
            **{name: text for name, text in linkers.items() if name not in self.variables},
            "CFLAGS": " ".join([self.located(self.variables.get("CFLAGS", "-O2")), "-g0", *macros]),
            "PYTHONPATH": str(work / "tools/lib"),
            "PYTHONNOUSERSITE": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def build(self, workshop: Workshop, place: Place) -> None:
        """Build the wheel, and unpack it into ``lib``."""
        self._write_settings(workshop.folder / "setup.cfg")
        folder = place.work / "wheel"
        folder.mkdir()
        workshop.run("build the wheel", backend_command("wheel", folder))
        library, programs = self.location / "lib", self.location / "scripts"
        library.mkdir()
        programs.mkdir()
        wheels.run_pip([self.egg.requirement], str(folder), library)
        for name, path in wheels.take_programs(library, programs).items():
            path.rename(programs / name)
        if not any(programs.iterdir()):
            programs.rmdir()

    def _pin(self) -> wheels.Pin:
        options = self.options
        match = _REQUIREMENT.fullmatch(options.egg)
        if match is None:
            problem = f"{options.egg!r} is not a distribution" if options.egg else "missing option"
            raise OptionProblem("egg", problem, "Write its name, or name==version")
        sections = tuple(self.buildout)
        name = match[1]
        versions = {name: match[2]} if match[2] else self.buildout["versions"] if "versions" in sections else {}
        hashes = self.buildout["hashes"] if "hashes" in sections else {}
        if options.sha256sum:
            hashes = {name: f"sha256:{options.sha256sum.lower()}"}
        try:
            found = wheels.pin(name, versions, hashes)
        except AllotmentError as error:
            raise OptionProblem("egg", error.what, error.fix) from error
        if len(found.hashes) > 1:
            raise OptionProblem("sha256sum", f"[hashes] has several for {name}", "Add that of the source archive")
        return found

    def _read_patch_options(self) -> None:
        """Take the patches by either name."""
        options = self.options
        self.patch_lines, self.patch_options = options.patches, options.patch_options
        self.patch_binary = options.patch_binary
        own = {f"{canonical(self.egg.name)}-{name}" for name in ("patches", "patch-options", "patch-binary")}
        variables = variables_of(self.buildout, self.name, self.raw)
        for option, text in options.of_egg.items():
            if (key := canonical(option)) not in own:
                if option in variables or not key or option[0] in "_<" or option == "recipe":
                    continue
                raise unknown_option(option, ("egg", "setup-eggs", *sorted(own)))
            if key.endswith("-patches"):
                self.patch_lines = tuple(line.strip() for line in text.splitlines() if line.strip())
            elif key.endswith("-options"):
                self.patch_options = text
            else:
                self.patch_binary = text

    def _write_settings(self, path: Path) -> None:
        """Tell setuptools what to compile with, in the file where it looks for it."""
        options = self.options
        colon = {"include_dirs": options.include_dirs, "library_dirs": options.library_dirs, "rpath": options.rpath}
        settings = {name: ":".join(map(self.located, folders)) for name, folders in colon.items()}
        settings |= {"libraries": " ".join(options.libraries), "undef": ",".join(options.undef)}
        if not any(settings.values()):
            return
        parser = configparser.RawConfigParser(strict=False)
        parser.optionxform = str  # type: ignore[assignment,method-assign]  # the documented way to keep capitals
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError) as error:
            problem = f"[{self.name}] setup.cfg of {self.egg.requirement} can't be read: {' '.join(str(error).split())}"
            raise AllotmentError(problem, "Patch it, or take out what only it could hand on") from error
        if not parser.has_section("build_ext"):
            parser.add_section("build_ext")
        for name, text in settings.items():
            if text:
                parser.set("build_ext", name, text)
        with path.open("w", encoding="utf-8") as file:
            parser.write(file)


def backend_command(kind: str, folder: Path) -> str:
    """Return the shell command that builds a wheel of the current folder, with only PYTHONPATH to import from."""
    return shlex.join([base_python(), "-SsP", build_backend.__file__, kind, str(folder)])

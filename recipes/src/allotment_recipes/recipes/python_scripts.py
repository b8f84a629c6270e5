# SPDX-License-Identifier: Apache-2.0
"""Recipe ``python.scripts``: pinned wheels, with their scripts and an interpreter that sees them and nothing else."""

import importlib.metadata
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from allotment.blobs import BlobStore
from allotment.errors import AllotmentError, nearest
from allotment.options import Lines, OptionProblem, Words
from allotment_recipes import python_programs, wheels
from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.part_folder import filling, removable
from allotment_recipes.python_programs import Programs
from allotment_recipes.python_programs import base_python as base_python  # told to others from here
from allotment_recipes.recipe_loading import canonical


@dataclass(frozen=True)
class Options:
    eggs: Words = Words(())  # distributions, each pinned in [versions] and [hashes], all they need among them
    scripts: Words | None = None  # which of their scripts to make, as name or name=newname; default: all
    script_eggs: Words | None = None  # of which eggs all scripts are made, where scripts names none; default: of each
    entry_points: Words = Words(())  # further scripts, each as name=module:function
    interpreter: str = ""  # name of an interpreter that sees the distributions; default: none is made
    extra_paths: Lines = Lines(())  # folders to import from as well, one a line
    initialization: str = ""  # Python code that each script runs first; its lines are kept as they are
    arguments: str = ""  # arguments of each script's function, in Python
    relative_paths: bool = False  # let the part's folder be moved: scripts look for it from where they are
    shared: bool = False  # into the store that all releases share; false: into the release's own


class Recipe(GenericBaseRecipe[Options]):
    """Install the wheels by hash, offline, and make scripts in ``${section:bin}``; ``location`` is the part's folder.

    An egg may also be a part of ``python.extension`` or ``python.develop``, by its ``${part:egg}``. Scripts run with
    the Python that runs the node, isolated from what is installed there.
    """

    build_version = 2
    builds_ahead = True
    not_inputs: ClassVar[frozenset[str]] = frozenset({"shared"})

    def prepare(self) -> None:
        built = self._built_eggs()
        self.built = [built[canonical(name)] for name in self.options.eggs if canonical(name) in built]
        names = [name for name in self.options.eggs if canonical(name) not in built]
        try:
            self.pins = python_programs.pins_of(names, self.buildout)
        except AllotmentError as error:
            raise OptionProblem("eggs", error.what, error.fix) from error
        for text in self.options.entry_points:
            if not python_programs.ENTRY.fullmatch(text):
                raise OptionProblem(
                    "entry-points", f"{text!r} is not name=module:function", "Write it like serve=app:main"
                )
        for name in (
            self.options.interpreter or "py",
            *(text.rpartition("=")[2] for text in self.options.scripts or ()),
        ):
            if "/" in name or name in ("", ".", ".."):
                raise OptionProblem("interpreter, or scripts", f"{name!r} is not a file's name", "Write it without '/'")
        self._check_code()
        self.version = re.sub(r"[^A-Za-z0-9._+]", "_", self.pins[0].version if self.pins else "1")
        self.location = self.store_path(self.name, self.version, shared=self.options.shared)
        self.publish_option("location", self.location)
        self.publish_option("bin", self.location / "bin")
        self.publish_option("python", base_python())

    def inputs(self) -> Mapping[str, str]:
        """Return the pins: they are in no option of this section."""
        return {pin.requirement: " ".join(pin.hashes) for pin in self.pins}

    def install(self) -> list[Path]:
        """Make the part's folder, once: its name is the hash of all that goes into it."""
        with filling(self, self.location, self.version) as folder:
            if folder is not None:
                files = python_programs.install(self.pins, BlobStore(self.run.sources), folder)
                self._check_requirements(folder)
                self._make_programs(folder, files)
        return removable(self, self.location)

    def _check_requirements(self, folder: Path) -> None:
        try:
            wheels.check_requirements([folder / "lib", *(path / "lib" for path in self.built)])
        except AllotmentError as error:
            self.fail(OptionProblem("eggs", error.what, error.fix))

    def _built_eggs(self) -> dict[str, Path]:
        """Map the eggs that parts of this profile make, of those that are referred to, to their folders."""
        names = getattr(self.buildout, "parts_of", lambda name: ())(self.name)
        parts = [self.buildout[name] for name in names]
        return {canonical(part["egg"]): Path(part["location"]) for part in parts if "egg" in part and "lib" in part}

    def _check_code(self) -> None:
        """Raise when what is to stand in each script is no Python."""
        call = f"main({self.options.arguments})"
        for option, text in (("initialization", self.options.initialization), ("arguments", call)):
            try:
                compile(text, option, "exec")
            except (SyntaxError, ValueError) as error:
                raise OptionProblem(option, f"is no Python: {error}", "Correct it") from error

    def _make_programs(self, folder: Path, files: Mapping[str, Path]) -> None:
        options, library = self.options, self.location / "lib"
        paths = [str(self.path(path)) for path in options.extra_paths] + [str(library)]
        programs = Programs(
            folder,
            self.location,
            paths,
            [str(path / "lib") for path in self.built],
            options.initialization,
            options.arguments,
            options.relative_paths,
        )
        libraries = [folder / "lib", *(path / "lib" for path in self.built)]
        points = python_programs.entry_points(libraries)
        wanted = self._wanted([*points, *files], libraries)
        for old, new in wanted:
            if old in points:
                programs.add_entry_point(new, *points[old])
            else:
                programs.add_file(new, files[old])
        for old in set(files) - {old for old, _ in wanted}:
            files[old].unlink()
        for text in options.entry_points:
            name, module, attribute = text.replace("=", ":", 1).split(":")
            programs.add_entry_point(name, module, attribute)
        if options.interpreter:
            programs.add_interpreter(options.interpreter)

    def _wanted(self, offered: list[str], libraries: list[Path]) -> list[tuple[str, str]]:
        """Return the scripts to make, each with its new name."""
        eggs = self.options.script_eggs
        if self.options.scripts is None:
            own = set(offered) if eggs is None else _programs_of(libraries, eggs)
            return [(name, name) for name in offered if name in own]
        wanted = [(text.partition("=")[0], text.rpartition("=")[2]) for text in self.options.scripts]
        for name, _ in wanted:
            if name not in offered:
                self.fail(OptionProblem("scripts", f"no egg has the script '{name}'", nearest(name, tuple(offered))))
        return wanted


def _programs_of(libraries: Sequence[Path], eggs: Iterable[str]) -> set[str]:
    """Return the names of the console scripts and program files that some of the distributions bring."""
    wanted = {canonical(egg) for egg in eggs}
    found: set[str] = set()
    for distribution in importlib.metadata.distributions(path=[str(library) for library in libraries]):
        if canonical(distribution.metadata["Name"]) in wanted:
            found |= {point.name for point in distribution.entry_points if point.group == "console_scripts"}
            found |= {path.name for path in distribution.files or () if path.parent.name == "bin"}
    return found

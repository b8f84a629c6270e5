# SPDX-License-Identifier: Apache-2.0
"""Recipe ``python.scripts``: pinned wheels, with their scripts and an interpreter that sees them and nothing else."""

import importlib.metadata
import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from allotment.blobs import BlobStore
from allotment.errors import AllotmentError
from allotment.options import Lines, OptionProblem, Words
from allotment_recipes import wheels
from allotment_recipes.base import GenericBaseRecipe

_ENTRY = re.compile(r"([A-Za-z0-9][-A-Za-z0-9._]*)=([A-Za-z_][\w.]*):([A-Za-z_][\w.]*)")
_SCRIPT = """\
import sys

sys.path[:0] = {paths!r}
sys.argv[0] = {name!r}
from {module} import {first}

sys.exit({attribute}())
"""
_INTERPRETER = """\
import runpy
import sys

sys.path[:0] = {paths!r}
arguments = sys.argv[1:]
if arguments[:1] == ["-c"] and len(arguments) > 1:
    sys.argv = ["-c", *arguments[2:]]
    exec(compile(arguments[1], "<string>", "exec"), {{"__name__": "__main__"}})
elif arguments[:1] == ["-m"] and len(arguments) > 1:
    sys.argv = arguments[1:]
    runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
elif arguments and not arguments[0].startswith("-"):
    sys.argv = arguments
    runpy.run_path(arguments[0], run_name="__main__")
else:
    sys.exit("usage: {name} FILE | -m MODULE | -c CODE [ARGUMENT ...]")
"""


@dataclass(frozen=True)
class Options:
    eggs: Words = Words(())  # distributions, each pinned in [versions] and [hashes], all they need among them
    scripts: Words = Words(())  # which of their scripts to make; default: all
    entry_points: Words = Words(())  # further scripts, each as name=module:function
    interpreter: str = ""  # name of an interpreter that sees the distributions; default: none is made
    extra_paths: Lines = Lines(())  # folders to import from as well, one a line


class Recipe(GenericBaseRecipe[Options]):
    """Install the wheels by hash, offline, and make scripts in ``${section:bin}``; ``location`` is the part's folder.

    Scripts run with the Python that runs the node, isolated from what is installed there.
    """

    build_version = 1

    def prepare(self) -> None:
        try:
            versions, hashes = self._section("versions"), self._section("hashes")
            self.pins = tuple(wheels.pin(name, versions, hashes) for name in self.options.eggs)
        except AllotmentError as error:
            raise OptionProblem("eggs", error.what, error.fix) from error
        for text in self.options.entry_points:
            if not _ENTRY.fullmatch(text):
                raise OptionProblem(
                    "entry-points", f"{text!r} is not name=module:function", "Write it like serve=app:main"
                )
        version = self.pins[0].version if self.pins else "1"
        self.location = self.store_path(self.name, re.sub(r"[^A-Za-z0-9._+]", "_", version))
        self.publish_option("location", self.location)
        self.publish_option("bin", self.location / "bin")
        self.publish_option("python", base_python())

    def inputs(self) -> Mapping[str, str]:
        """Return the pins: they are in no option of this section."""
        return {pin.requirement: " ".join(pin.hashes) for pin in self.pins}

    def install(self) -> list[Path]:
        """Make the part's folder, once: its name is the hash of all that goes into it."""
        with self.building(self.location) as folder:
            if folder is not None:
                library = folder / "lib"
                library.mkdir()
                wheels.install(self.pins, BlobStore(self.run.sources), library)
                self._make_scripts(folder)
        return [self.location]

    def _section(self, name: str) -> Mapping[str, str]:
        return self.buildout[name] if name in self.buildout else {}  # noqa: SIM401 (a section is made when it is read)

    def _make_scripts(self, folder: Path) -> None:
        (folder / "bin").mkdir()
        (folder / "scripts").mkdir()
        paths = [str(self.path(path)) for path in self.options.extra_paths] + [str(self.location / "lib")]
        for name, (module, attribute) in self._entry_points(folder / "lib").items():
            text = _SCRIPT.format(
                paths=paths, name=name, module=module, first=attribute.partition(".")[0], attribute=attribute
            )
            self._make_script(folder, name, text)
        if self.options.interpreter:
            self._make_script(
                folder, self.options.interpreter, _INTERPRETER.format(paths=paths, name=self.options.interpreter)
            )

    def _make_script(self, folder: Path, name: str, text: str) -> None:
        (folder / "scripts" / f"{name}.py").write_text(text)
        script = self.location / "scripts" / f"{name}.py"
        # -I and -S: neither the caller's environment nor what is installed beside Python changes what is imported.
        launcher = f'#!/bin/sh\nexec {shlex.quote(base_python())} -IS {shlex.quote(str(script))} "$@"\n'
        path = folder / "bin" / name
        path.write_text(launcher)
        path.chmod(0o755)

    def _entry_points(self, library: Path) -> dict[str, tuple[str, str]]:
        offered = {
            point.name: (point.module, point.attr)
            for distribution in importlib.metadata.distributions(path=[str(library)])
            for point in distribution.entry_points
            if point.group == "console_scripts"
        }
        wanted = self.options.scripts or tuple(offered)
        for name in wanted:
            if name not in offered:
                from allotment.errors import nearest

                self.fail(OptionProblem("scripts", f"no egg has the script '{name}'", nearest(name, tuple(offered))))
        found = {name: offered[name] for name in wanted}
        for text in self.options.entry_points:
            name, module, attribute = text.replace("=", ":", 1).split(":")
            found[name] = (module, attribute)
        return found


def base_python() -> str:
    """Return the interpreter that runs us, not the virtual environment around it: that one may go away."""
    return str(getattr(sys, "_base_executable", "") or sys.executable)

# SPDX-License-Identifier: Apache-2.0
"""Recipe ``python.develop``: a Python distribution that is used from its checkout, as it is there."""

import hashlib
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from allotment.blobs import BlobStore
from allotment.errors import AllotmentError
from allotment.options import OptionProblem, Words
from allotment_recipes import wheels
from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.build_environment import build_environment, read_variables
from allotment_recipes.build_steps import Workshop
from allotment_recipes.hermetic.surroundings import surround
from allotment_recipes.part_folder import clear_beside, replacing, telling_disk_errors
from allotment_recipes.python_programs import install_tools, pins_of
from allotment_recipes.recipes.python_extension import backend_command
from allotment_recipes.shared_store import remove

_MARK: Final = ".made-from"
_DECIDING: Final = ("pyproject.toml", "setup.py", "setup.cfg")


@dataclass(frozen=True)
class Options:
    setup: Path  # the checkout: the folder of pyproject.toml or setup.py, or that file
    egg: str = ""  # the distribution's name; default: what pyproject.toml says
    setup_eggs: Words = Words(("setuptools",))  # distributions that its build needs, pinned in [versions] and [hashes]
    environment: str = ""  # variables of its build, NAME=value a line
    location: Path | None = None  # folder of what leads to the checkout; default: develop-eggs/<section>


class Recipe(GenericBaseRecipe[Options]):
    """Install a distribution so that its own checkout is imported: a change there counts at once.

    A ``python.scripts`` section that lists ``${this-section:egg}`` sees it. It is made again when pyproject.toml,
    setup.py or setup.cfg has changed. Nothing pins a checkout: this is for development.
    """

    def prepare(self) -> None:
        options = self.options
        setup = self.path(options.setup)
        self.checkout = setup.parent if setup.name in _DECIDING else setup
        self.egg = options.egg or self._name()
        self.variables = read_variables(options.environment)
        try:
            self.pins = pins_of(options.setup_eggs, self.buildout)
        except AllotmentError as error:
            raise OptionProblem("setup-eggs", error.what, error.fix) from error
        self.location = self.path(options.location or Path("develop-eggs") / self.name)
        self.publish_option("location", self.location)
        self.publish_option("lib", self.location / "lib")
        self.publish_option("egg", self.egg)

    def install(self) -> list[Path]:
        """Ask the checkout's build backend for an editable wheel, and unpack it into ``lib``."""
        if not any((self.checkout / name).is_file() for name in _DECIDING[:2]):
            problem = f"{self.checkout} has no pyproject.toml and no setup.py"
            self.fail(OptionProblem("setup", problem, "Write the path of the checkout"))
        made_from = self._made_from()
        mark = self.location / _MARK
        with telling_disk_errors(self, self.location):
            clear_beside(self.location)
            if not mark.is_file() or mark.read_text() != made_from:
                self._make(made_from)
        return [self.location]

    def _make(self, made_from: str) -> None:
        if self.location.is_dir() and not (self.location / _MARK).is_file() and any(self.location.iterdir()):
            problem = f"{self.location} holds what this part has not made"
            self.fail(OptionProblem("location", problem, "Choose another one"))
        self.logger.info("developing %s in %s", self.egg, self.checkout)
        work = self.folder / ".build" / self.name
        if work.is_symlink():
            work.unlink()
        remove(work)
        work.mkdir(parents=True)
        install_tools(self.pins, BlobStore(self.run.sources), work / "tools")
        wheel = self._build(work)
        with replacing(self.location) as new:
            (new / "lib").mkdir()
            name, version, *_ = wheel.name.split("-")
            wheels.run_pip([f"{name}=={version}"], str(wheel.parent), new / "lib")
            wheels.take_programs(new / "lib", work / "wheel")
            (new / _MARK).write_text(made_from)
        remove(work)

    def _build(self, work: Path) -> Path:
        parts = self.referred_parts()
        visible = [*(part.parent for part in parts), self.folder, self.run.closure]
        around = surround(self.store_root(shared=True), (), [work, self.checkout], visible, runs_python=True)
        environment = build_environment(self.location, parts, work, self.variables, around.path)
        environment |= {"PYTHONPATH": str(work / "tools/lib"), "PYTHONNOUSERSITE": "1"}
        environment["PATH"] = f"{work}/tools/bin:{environment['PATH']}"
        log = work / "log"
        handle = os.open(log, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            workshop = Workshop(
                self.name, self.checkout, work, environment, log, handle, self.folder, self.logger.info, around
            )
            workshop.prepare()
            (work / "wheel").mkdir()
            workshop.run("build the editable wheel", backend_command("editable", work / "wheel"))
        finally:
            os.close(handle)
        found = sorted((work / "wheel").glob("*.whl"))
        if len(found) != 1:
            raise AllotmentError(
                f"[{self.name}] {self.checkout}: its build backend made {len(found)} wheels", "See its log"
            )
        return found[0]

    def _name(self) -> str:
        try:
            with (self.checkout / "pyproject.toml").open("rb") as file:
                return str(tomllib.load(file)["project"]["name"])
        except (OSError, KeyError, TypeError, tomllib.TOMLDecodeError) as error:
            problem = f"missing option, and {self.checkout}/pyproject.toml doesn't say it"
            raise OptionProblem("egg", problem, "Add 'egg = <name>'") from error

    def _made_from(self) -> str:
        """Return what decides whether it has to be made again."""
        texts = [str(self.checkout), repr(sorted(self.variables.items())), *(repr(pin) for pin in self.pins)]
        texts += [
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            for path in (self.checkout / name for name in _DECIDING)
        ]
        return hashlib.sha256("\n".join(texts).encode()).hexdigest() + "\n"

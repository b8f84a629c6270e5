# SPDX-License-Identifier: Apache-2.0
"""Recipe ``npm``: the packages that a package-lock.json pins, installed offline."""

import hashlib
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from allotment.blobs import BlobStore
from allotment.errors import AllotmentError, MachineError
from allotment.options import OptionProblem, Words
from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.build_environment import HOST_PATH, missing_tools, read_variables
from allotment_recipes.hermetic.surroundings import Surroundings, surround
from allotment_recipes.hermetic.warning import tell_once
from allotment_recipes.npm_lock import Tarball, fetch_tarballs, read_lock
from allotment_recipes.part_folder import filling, removable
from allotment_recipes.unpack import check

_FILES: Final = ("package.json", "package-lock.json")
_PROGRAMS: Final = ("npm", "node:nodejs")


@dataclass(frozen=True)
class Options:
    path: Path  # folder with package.json and package-lock.json, of the profile's tree or another part's
    omit: Words = Words(("dev",))  # kinds of dependencies to leave out: dev, optional, peer
    scripts: bool = False  # run the scripts that packages bring
    host_tools: Words = Words(())  # the machine's programs that these need: program[:Debian package]
    node: Path | None = None  # a part with bin/node and bin/npm; default: the machine's
    environment: str = ""  # variables of npm and of scripts, NAME=value a line
    timeout: float = 600.0  # seconds, for npm
    version: str = "1"  # a word in the part's folder name
    shared: bool = False  # into the store that all releases share; false: into the release's own


class Recipe(GenericBaseRecipe[Options]):
    """Install the packages of a lock below ``${section:location}/node_modules``; ``bin`` has their programs.

    Each tarball is fetched and verified by the sha512 that the lock has for it, and kept in the source cache; npm then
    runs offline, and no script of a package runs unless ``scripts`` says so: then as a step of a build, which reaches
    no network and sees no other folders. A package from git or a folder is refused.
    """

    build_version = 1
    builds_ahead = True
    not_inputs: ClassVar[frozenset[str]] = frozenset({"host-tools", "timeout", "shared"})

    def prepare(self) -> None:
        options = self.options
        self.source_folder = self.path(options.path)
        if unknown := set(options.omit) - {"dev", "optional", "peer"}:
            raise OptionProblem("omit", f"{min(unknown)!r} is no kind", "Write dev, optional or peer")
        if options.timeout <= 0:
            raise OptionProblem("timeout", "is not above zero", "Write a number of seconds")
        self.variables = read_variables(options.environment)
        is_part = any(self.source_folder.is_relative_to(part) for part in self.referred_parts())
        self.texts = {} if is_part else self._read()
        self.location = self.store_path(self.name, options.version, shared=options.shared)
        self.publish_option("location", self.location)
        self.publish_option("bin", self.location / "node_modules/.bin")

    def inputs(self) -> Mapping[str, str]:
        """Return the hashes of the two files; those of another part are in the hash of that part."""
        return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in self.texts.items()}

    def tarballs(self) -> tuple[Tarball, ...]:
        """Return what is to be fetched, as far as it is known before other parts are made."""
        return read_lock(self.texts[_FILES[1]], _FILES[1]) if self.texts else ()

    def install(self) -> list[Path]:
        """Fetch what is not in the source cache, and let npm install it."""
        with filling(self, self.location, self.options.version) as folder:
            if folder is not None:
                self._install(folder)
        return removable(self, self.location)

    def _read(self) -> dict[str, str]:
        found = {}
        for name in _FILES:
            try:
                found[name] = (self.source_folder / name).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or "it is no text"
                problem = f"{self.source_folder / name} can't be read: {reason}"
                raise OptionProblem("path", problem, "Write the folder of both; npm install makes the lock") from error
        try:
            read_lock(found[_FILES[1]], str(self.source_folder / _FILES[1]))
        except AllotmentError as error:
            raise OptionProblem("path", error.what, error.fix) from error
        return found

    def _install(self, folder: Path) -> None:
        programs = self._programs()
        try:
            texts = self.texts or self._read()
        except OptionProblem as problem:
            self.fail(problem)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        blobs = BlobStore(self.run.sources)
        try:
            tarballs = fetch_tarballs(read_lock(texts[_FILES[1]], _FILES[1]), blobs)
            for tarball, sha256 in tarballs.items():
                check(blobs.path(sha256), tarball.name)
        except AllotmentError as error:
            raise type(error)(f"[{self.name}] {error.what}", error.fix) from error
        with tempfile.TemporaryDirectory(prefix="allotment-npm-") as work:
            _fill_cache(Path(work) / "cache", tarballs, blobs)
            self._run_npm(folder, Path(work), programs)

    def _programs(self) -> str:
        """Return what is on the PATH before the machine's programs."""
        node = self.options.node
        if node is not None:
            if not (node / "bin/npm").exists():
                problem = f"{node} has no bin/npm"
                self.fail(OptionProblem("node", problem, "Refer to a part that has: ${<part>:location}"))
            return f"{node}/bin:"
        if lacking := missing_tools([*_PROGRAMS, *self.options.host_tools]):
            names = " and no ".join(lacking)
            fix = f"Install it: apt-get install {' '.join(lacking.values())}"
            raise MachineError(f"[{self.name}] this machine has no {names} in {HOST_PATH}", fix)
        return ""

    def _run_npm(self, folder: Path, work: Path, programs: str) -> None:
        command = ["npm", "ci", "--offline", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]
        command += [f"--cache={work / 'cache'}", *(f"--omit={kind}" for kind in self.options.omit)]
        command += [] if self.options.scripts else ["--ignore-scripts"]
        around = self._surround(folder, work, _PROGRAMS if not programs else ())
        environment = {
            "PATH": f"{programs}{around.path}",
            "HOME": str(work),
            "TMPDIR": str(work),
            "LC_ALL": "C",
            "TZ": "UTC",
            "npm_config_userconfig": str(work / "user"),
            "npm_config_globalconfig": str(work / "global"),
            **self.variables,
        }
        try:
            done = around.run_for(command, folder, environment, self.options.timeout)
        except subprocess.TimeoutExpired as error:
            raise MachineError(
                f"[{self.name}] npm took more than {self.options.timeout:.0f} s", "Set a longer timeout"
            ) from error
        if done.returncode != 0:
            lines = [line for line in done.stderr.splitlines() if line.strip() and "A complete log" not in line]
            shown = "".join(f"\n  | {line[:300]}" for line in lines[:15])
            raise AllotmentError(f"[{self.name}] npm failed with exit code {done.returncode}:{shown}")

    def _surround(self, folder: Path, work: Path, programs: Sequence[str]) -> Surroundings:
        visible = [*self.referred_parts(), self.options.node, self.folder, self.run.closure]
        tools = [*programs, *self.options.host_tools]
        around = surround(self.store_root(shared=self.options.shared), tools, [folder, work], visible)
        if around.refusal:
            tell_once(self.run, self.name, around.refusal, self.logger.warning)
        return around


def _fill_cache(folder: Path, tarballs: Mapping[Tarball, str], blobs: BlobStore) -> None:
    """Lay tarballs where npm looks for bytes of a known sha512 before it asks anybody."""
    for tarball, sha256 in tarballs.items():
        digest = tarball.sha512
        path = folder / "_cacache/content-v2/sha512" / digest[:2] / digest[2:4] / digest[4:]
        path.parent.mkdir(parents=True, exist_ok=True)
        blobs.copy(sha256, path)

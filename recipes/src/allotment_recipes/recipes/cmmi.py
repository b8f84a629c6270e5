# SPDX-License-Identifier: Apache-2.0
"""Recipe ``cmmi``: configure, make, make install, from a pinned source into the store."""

import functools
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from allotment.blobs import BlobStore
from allotment.errors import AllotmentError, MachineError
from allotment.options import Lines, OptionProblem, Words
from allotment_recipes import sources
from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.build_environment import HOST_PATH, build_environment, missing_tools, read_variables
from allotment_recipes.build_steps import Workshop
from allotment_recipes.part_checks import PartError, check_part, names_folder
from allotment_recipes.patches import read_patches
from allotment_recipes.shared_store import Place, Store

LOCATION = "@@LOCATION@@"


class MissingToolError(MachineError):
    """A part needs a program of the machine that is not installed."""


@dataclass(frozen=True)
class Options:
    sha256sum: str  # 64 hexadecimal digits: what decides whether bytes are accepted
    url: str = ""  # address of the source archive: http, https or file URL, or a path
    md5sum: str = ""  # checked as well when given
    alternates: Lines = Lines(())  # further URLs, one a line, tried in order
    debian_source: str = ""  # package, version and suite in the distribution's source archive
    version: str = "1"  # a word in the part's folder name
    configure_command: str = ""  # default: ./configure --prefix=@@LOCATION@@; true when there is nothing to configure
    configure_options: str = ""  # arguments of the configure command, over any number of lines
    make_binary: str = "make"  # the program that builds and installs; empty when there is nothing to make
    make_options: str = ""  # arguments of make, when it builds and when it installs
    make_targets: Words = Words(("install",))  # what make is asked for when it installs
    environment: str = ""  # NAME=value a line, or the name of a section with these; %(NAME)s is the value before
    pre_configure: str = ""  # shell commands before configuring; the first that fails ends the build
    pre_build: str = ""  # shell commands before make
    pre_install: str = ""  # shell commands before make install
    post_install: str = ""  # shell commands after it
    patches: Lines = Lines(())  # path or URL, '#' and its sha256, one a line
    patch_options: str = "-p0"  # arguments of patch
    host_tools: Words = Words(())  # the machine's programs that it needs beside gcc and make: program[:Debian package]
    shared: bool = True  # into the store that all releases share; false: into the release's own
    keep_compile_dir: bool = False  # keep the sources, as after a failure
    strip_top_level_dir: bool = True  # leave out the one folder that an archive usually holds
    description: str = ""  # one line on what this is
    licence: str = ""  # its licence, as SPDX writes it
    purl: str = ""  # package URL, by which vulnerability reports know it


class Recipe(GenericBaseRecipe[Options]):
    """Build a source archive with its own configure and make; ``location`` is where it is installed.

    It is built in a clean environment, with headers and libraries of the parts that the section refers to where
    compilers look, and with an rpath to them. ``@@LOCATION@@`` in an option stands for ``location``. What needs a
    library from outside the store, or remembers the folder it was built in, is an error.
    """

    build_version = 3
    # Where the bytes come from and what people are told of them; the sha256 says which bytes. Of the machine's programs
    # only the compiler is an input, which writes what is installed: a node has other updates of perl than the farm had.
    not_inputs: ClassVar[frozenset[str]] = frozenset(
        {"url", "md5sum", "alternates", "debian-source", "patches", "shared", "keep-compile-dir"}
        | {"host-tools", "description", "licence", "purl"}
    )

    def prepare(self) -> None:
        self.source = self._source()
        self.patches = read_patches(self.options.patches, self.path)
        self.variables = self._variables()
        if self.options.shared:
            self._check_relocatable()
        self.location = self.store_path(self.name, self.options.version, shared=self.options.shared)
        for option, text in list(self.raw.items()):
            if LOCATION in text:
                self.publish_option(option, text.replace(LOCATION, str(self.location)))
        self.publish_option("location", self.location)
        self.store = Store(self.location.parent, seals=not self.is_upstream)
        if not self.store.holds(self.location):
            self._check_tools()
        self.roots = {self.store.root, self.store_root(shared=True)}  # a part of the release may use shared ones
        self.parts = [part for part in self.referred_parts() if part.parent in self.roots]

    def inputs(self) -> Mapping[str, str]:
        """Return what no option of this section says: patches, variables of another section, the compiler."""
        patches = {f"patch {number}": patch.sha256 for number, patch in enumerate(self.patches)}
        variables = {f"variable {name}": value for name, value in self.variables.items()}
        return {**patches, **variables, "compiler": compiler()}

    def install(self) -> list[Path]:
        """Build the part, unless it is in the store; what is in the store of all releases is not ours to remove."""
        store, keep = self.store, self.options.keep_compile_dir
        started, seconds = time.time(), 0.0
        with store.building(self.location, f"{self.name} of {self.folder}", self.logger.info, keep_work=keep) as place:
            if place is not None:
                began = time.monotonic()
                self._build(place)
                seconds = time.monotonic() - began
                self._note(seconds)
        self.run.tell_part(self.name, self.options.version, started, seconds, is_reused=place is None)
        return [] if self.store.root == self.run.store_root else [self.location]

    def _build(self, place: Place) -> None:
        self.logger.info("building %s", self.location.name)
        workshop = self._open_workshop(place)
        for patch in self.patches:
            path = shlex.quote(str(patch.path(self.run.sources)))
            workshop.run(f"patch {patch.name}", f"patch --batch --forward {self.options.patch_options} < {path}")
        for step, command in self._steps(workshop.folder):
            if command.strip():
                workshop.run(step, command.replace(LOCATION, str(self.location)))
        self._check(place)

    def _steps(self, folder: Path) -> Iterator[tuple[str, str]]:
        """Yield each step and its command, one after the other: what is before may write the configure script."""
        options = self.options
        binary = options.make_binary.strip() or "true"
        make = f"{binary} {_joined(options.make_options)}".strip()
        jobs = f" -j{len(os.sched_getaffinity(0))}" if Path(binary.split()[0]).name == "make" else ""
        yield "pre-configure", options.pre_configure
        yield "configure", self._configure(folder)
        yield "pre-build", options.pre_build
        yield "make", f"{make}{jobs}"
        yield "pre-install", options.pre_install
        yield "make install", f"{make} {' '.join(options.make_targets)}" if options.make_targets else ""
        yield "post-install", options.post_install

    def _open_workshop(self, place: Place) -> Workshop:
        from allotment_recipes.unpack import unpack

        blobs = BlobStore(self.run.sources)
        sources.fetch_all((self.source, *(patch.source for patch in self.patches if patch.source)), blobs)
        folder = place.work / "source"
        unpack(blobs.path(self.source.sha256), folder, strip_top_level=self.options.strip_top_level_dir)
        variables = {name: text.replace(LOCATION, str(self.location)) for name, text in self.variables.items()}
        environment = build_environment(self.location, self.parts, place.work, variables)
        workshop = Workshop(
            self.name, folder, place.work, environment, place.log, place.lock, self.folder, self.logger.info
        )
        workshop.prepare()
        self._link_work(place.work)
        return workshop

    def _link_work(self, work: Path) -> None:
        """Let `allot build --shell` find the work folder by the part's name."""
        link = self.folder / ".build" / self.name
        link.parent.mkdir(exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(work)

    def _configure(self, folder: Path) -> str:
        arguments = _joined(self.options.configure_options)
        if self.options.configure_command:
            return f"{self.options.configure_command} {arguments}"
        if not (folder / "configure").is_file():
            problem = "the archive has no configure script"
            self.fail(OptionProblem("configure-command", problem, "Write 'configure-command = true' if it needs none"))
        return f"./configure --prefix={shlex.quote(str(self.location))} {arguments}"

    def _check(self, place: Place) -> None:
        if not any(self.location.iterdir()):
            raise PartError(
                f"[{self.name}] make install wrote nothing into {self.location}",
                "Hand it on as @@LOCATION@@: in configure-options, or as PREFIX in make-options",
            )
        folders = [place.work, self.location.resolve(), self.folder, *filter(None, [self.run.closure])]
        traces = [folder for folder in folders if not self.store.root.is_relative_to(folder)]
        check_part(self.name, self.location, self.roots, traces)

    def _note(self, seconds: float) -> None:
        size = sum(path.lstat().st_size for path in Path(f"{self.location}/").rglob("*") if path.is_file())
        fields = {"part": self.name, "version": self.options.version, "seconds": round(seconds, 1), "bytes": size}
        self.store.note(self.location, {**fields, "references": [part.name for part in self.parts]})
        self.logger.info("built %s in %.1f s, %.1f MB", self.location.name, seconds, size / 1e6)

    def _source(self) -> sources.Source:
        options = self.options
        if not options.url and not options.debian_source:
            raise OptionProblem("url", "missing option", "Add 'url = ...' or 'debian-source = ...'")
        name = f"[{self.name}] {options.url.partition('#')[0].rstrip('/').rpartition('/')[2]}".strip()
        try:
            return sources.Source(
                options.sha256sum.lower(),
                name,
                urls=(options.url,) if options.url else (),
                alternates=options.alternates,
                md5=options.md5sum.lower(),
                debian=" ".join(options.debian_source.split()),
            )
        except AllotmentError as error:
            problem = error.what.removeprefix(f"{name}: ")
            raise OptionProblem("sha256sum, md5sum or debian-source", problem, error.fix) from error

    def _variables(self) -> dict[str, str]:
        name = self.options.environment.strip()
        if not name or "=" in name:
            return read_variables(name)
        if len(name.split()) > 1:
            raise OptionProblem("environment", f"{name!r} is neither NAME=value nor a section", "Write one of them")
        section = self.buildout[name]
        return {key: section[key] for key in section if key not in ("recipe", "_profile_base_location_")}

    def _check_tools(self) -> None:
        """Raise when this machine lacks a program, before anything is fetched or built."""
        programs = ["gcc", "make"] if self.options.make_binary == "make" else []
        programs += ["patch"] if self.patches else []
        if lacking := missing_tools([*programs, *self.options.host_tools]):
            packages = " ".join(dict.fromkeys(lacking.values()))
            problem = f"[{self.name}] host-tools: this machine has no {' and no '.join(lacking)} in {HOST_PATH}"
            raise MissingToolError(problem, f"Install it: apt-get install {packages}")

    def _check_relocatable(self) -> None:
        """Raise when an option names the release's own folder; the tree of profiles in it is hashed file by file."""
        texts = {
            option: text for option, text in self.raw.items() if option not in self.not_inputs and option[0] != "_"
        }
        texts["environment"] = "\n".join(self.variables.values())
        elsewhere = [str(folder) for folder in (self.run.closure, self.store_root(shared=True)) if folder is not None]
        for option, text in texts.items():
            for folder in elsewhere:
                text = text.replace(folder, "")
            if names_folder(text, self.folder):
                raise OptionProblem(
                    option, f"names {self.folder}, and a shared part is for all releases", "Write 'shared = false'"
                )


@functools.cache
def compiler(path: str = HOST_PATH) -> str:
    """Return what compiles here, such as ``gcc 12.2.0``; empty when nothing does.

    ``path`` is where builds look for it, whatever the caller's own PATH is.
    """
    program = shutil.which("gcc", path=path)
    if program is None:
        return ""
    try:
        done = subprocess.run(
            [program, "-dumpfullversion"], capture_output=True, text=True, timeout=60, check=True, env={"PATH": path}
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise MachineError(f"{program} doesn't tell its version: {error}", "Install gcc anew") from error
    return f"gcc {done.stdout.strip()}"


def _joined(text: str) -> str:
    return " ".join(text.split("\n")).strip()

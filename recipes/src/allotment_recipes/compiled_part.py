# SPDX-License-Identifier: Apache-2.0
"""What recipes that compile have in common: a pinned source, a clean environment, the store, and checks at the end."""

import contextlib
import shlex
import shutil
import stat
import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from allotment.blobs import BlobStore
from allotment.errors import AllotmentError, MachineError
from allotment.options import Lines, OptionProblem, Words
from allotment_recipes import sources, wheels
from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.build_environment import HOST_PATH, build_environment, missing_tools, read_variables
from allotment_recipes.build_steps import Workshop
from allotment_recipes.cached_part import digest_of, take_cached
from allotment_recipes.compiler import check_compiler, compiler
from allotment_recipes.hermetic.root import HOST_FOLDERS, real_programs
from allotment_recipes.hermetic.surroundings import Surroundings, surround
from allotment_recipes.hermetic.warning import tell_once
from allotment_recipes.part_checks import PartError, check_part, names_folder
from allotment_recipes.part_promises import check_promises, read_promises
from allotment_recipes.patches import Patch, read_patches
from allotment_recipes.python_programs import install_tools, pins_of
from allotment_recipes.shared_store import Place, Store, remove

LOCATION = "@@LOCATION@@"
C = TypeVar("C", bound="CompileOptions")


class MissingToolError(MachineError):
    """A part needs a program of the machine that is not installed."""


@dataclass(frozen=True)
class CompileOptions:
    environment: str = ""  # NAME=value a line, or the name of a section with these; %(NAME)s is the value before
    host_tools: Words = Words(())  # the machine's programs that it needs beside gcc and make: program[:Debian package]
    python_tools: Words = Words(())  # distributions with programs for the build, pinned in [versions] and [hashes]
    promises: Lines = Lines(
        ()
    )  # what must be there then: [directory:|file:|statlib:|dynlib:]PATH [linked:A,B] [rpath:C,D]
    shared: bool = True  # into the store that all releases share; false: into the release's own
    keep_compile_dir: bool = False  # keep the sources, as after a failure
    description: str = ""  # one line on what this is
    licence: str = ""  # its licence, as SPDX writes it
    purl: str = ""  # package URL, by which vulnerability reports know it


class CompiledPart(GenericBaseRecipe[C]):
    """A part that is compiled from a pinned source into the store."""

    # Where the bytes come from and what people are told of them; the sha256 says which bytes. Of the machine's programs
    # only the compiler is an input, which writes what is installed: a node has other updates of perl than the farm had.
    # Promises are checked anew of a part that is there already.
    not_inputs: ClassVar[frozenset[str]] = frozenset(
        {"url", "md5sum", "alternates", "debian-source", "patches", "shared", "keep-compile-dir"}
        | {"host-tools", "promises", "description", "licence", "purl"}
    )
    builds_ahead = True
    source: sources.Source | None = None  # what is to be unpacked and built
    source_folder: Path | None = None  # or to be copied
    strips_top_level = True
    runs_python: ClassVar[bool] = False  # the interpreter that runs us is a tool of the build
    patch_lines: Sequence[str] = ()
    patch_options = "-p0"
    patch_binary = "patch"
    setup_eggs: Sequence[str] = ()  # distributions for the build, beside python-tools
    needs_compiler: bool = True  # whether gcc is needed, and is an input
    tools: Sequence[str] = ()  # programs that the build asks for, of the machine, a part or python-tools

    @abstractmethod
    def build(self, workshop: Workshop, place: Place) -> None:
        """Run the steps that install the part into ``location``."""

    def more_environment(self, work: Path) -> Mapping[str, str]:
        """Return variables of the build that the recipe adds."""
        return {}

    def prepare_part(self, version: str) -> None:
        """Read what the options say together; called by ``prepare`` of the recipe, after ``source`` is set."""
        options = self.options
        self.patches: tuple[Patch, ...] = read_patches(self.patch_lines, self.path)
        self.variables = self._variables()
        self.pins = (
            *self.read_pins("python-tools", options.python_tools), *self.read_pins("setup-eggs", self.setup_eggs),
        )  # fmt: skip
        if options.shared:
            self._check_relocatable()
        self.version = version
        self.location = self.store_path(self.name, version, shared=options.shared)
        for option, text in list(self.raw.items()):
            if LOCATION in text:
                self.publish_option(option, text.replace(LOCATION, str(self.location)))
        self.publish_option("location", self.location)
        self.promises = read_promises(map(self.located, options.promises), self.location)
        self.store = Store(self.location.parent, seals=not self.is_upstream)
        if not self.run.caches and not self.store.holds(self.location):
            self._check_tools()
        # A part of the release may use shared ones.
        self.roots = {self.store.root, self.store_root(shared=True), *self.run.lower_roots}
        # What is only a source is not where compilers look, nor is it linked to.
        self.parts = [part for part in self.referred_parts() if part.parent in self.roots and not self._is_source(part)]

    def inputs(self) -> Mapping[str, str]:
        """Return what no option of this section says: patches, variables of another section, the compiler, pins."""
        patches = {f"patch {number}": patch.sha256 for number, patch in enumerate(self.patches)}
        variables = {f"variable {name}": value for name, value in self.variables.items()}
        pins = {pin.requirement: " ".join(pin.hashes) for pin in self.pins}
        known = {"compiler": self.run.compiler or compiler()} if self.needs_compiler else {}
        return {**patches, **variables, **pins, **known}

    def install(self) -> list[Path]:
        """Build the part, unless it is in the store; what is in the store of all releases is not ours to remove."""
        store, keep = self.store, self.options.keep_compile_dir
        started, seconds = time.time(), 0.0
        builder, idle = f"{self.name} of {self.folder}", self.run.jobs.idle
        with store.building(self.location, builder, self.logger.info, keep_work=keep, idle=idle) as place:
            if place is not None and not take_cached(self, store, self.location):
                self._check_tools()
                began = time.monotonic()
                self.logger.info("building %s", self.location.name)
                with self._inside_work(place):
                    workshop = self.open_workshop(place)
                    self.build(workshop, place)
                    self._check(place)
                seconds = time.monotonic() - began
                self._note(seconds, workshop.phases)
            check_promises(self.name, self.promises)  # before the part has its name
        self.run.tell_part(self.name, self.version, started, seconds, is_reused=place is None)
        return [] if self.store.root in self.run.shared_roots else [self.location]

    @contextlib.contextmanager
    def _inside_work(self, place: Place) -> Iterator[None]:
        """Let the part be made below its work folder: files are linked and renamed only within one mount."""
        folder, inside = self.location.resolve(), place.work / "part"
        inside.mkdir()
        self._lead_to(inside)
        yield
        inside.rename(folder)
        self._lead_to(folder)

    def _lead_to(self, folder: Path) -> None:
        self.location.unlink()
        self.location.symlink_to(folder.relative_to(self.location.parent))

    def watched(self) -> list[Path]:
        """Return the part's folder, and what it promises."""
        return [self.location, *(promise.path for promise in self.promises)]

    def located(self, text: str) -> str:
        """Return a text with the part's own folder in it."""
        return text.replace(LOCATION, str(self.location))

    def read_pins(self, option: str, names: Sequence[str]) -> tuple[wheels.Pin, ...]:
        """Return the pins of the distributions that an option names."""
        if not names:
            return ()
        try:
            return pins_of(names, self.buildout)
        except AllotmentError as error:
            raise OptionProblem(option, error.what, error.fix) from error

    def open_workshop(self, place: Place) -> Workshop:
        """Unpack the sources, and patch them; return where ``build`` goes on."""
        blobs = BlobStore(self.run.sources)
        folder = place.work / "source"
        self._bring_source(blobs, folder)
        variables = {name: self.located(text) for name, text in self.variables.items()}
        around = self._surround(place)
        if around.refusal:
            tell_once(self.run, self.name, around.refusal, self.logger.warning)
        environment = build_environment(self.location, self.parts, place.work, variables, around.path)
        if self.pins:
            install_tools(self.pins, blobs, place.work / "tools")
            environment["PATH"] = f"{place.work}/tools/bin:{environment['PATH']}"
        environment |= self.more_environment(place.work)
        workshop = Workshop(
            self.name, folder, place.work, environment, place.log, place.lock, self.folder, self.logger.info, around,
            self.run.jobs,
        )  # fmt: skip
        workshop.prepare()
        self._link_work(place.work)
        for patch in self.patches:
            path = shlex.quote(str(patch.path(self.run.sources)))
            command = f"{self.patch_binary} --batch --forward {self.patch_options} < {path}"
            workshop.run(f"patch {patch.name}", command)
        return workshop

    def _surround(self, place: Place) -> Surroundings:
        """Let the build write its own two folders, and read what its section may refer to."""
        visible = [*filter(None, self.roots), *self.parts, self.folder, self.run.closure, self.run.sources]
        tools = [*self.tools, *self.options.host_tools, self.patch_binary]
        runs_python = self.runs_python or bool(self.pins)
        return surround(self.store.root, tools, [place.work, self.location], visible, runs_python=runs_python)

    def _bring_source(self, blobs: BlobStore, folder: Path) -> None:
        from allotment_recipes.unpack import unpack

        wanted = [self.source, *(patch.source for patch in self.patches)]
        sources.fetch_all((source for source in wanted if source is not None), blobs)
        if self.source is not None:
            unpack(blobs.path(self.source.sha256), folder, strip_top_level=self.strips_top_level)
        elif self.source_folder is not None:
            shutil.copytree(self.source_folder, folder, symlinks=True)
            for path in (folder, *folder.rglob("*")):  # a part of the store is read-only
                if not path.is_symlink():
                    path.chmod(path.stat().st_mode | stat.S_IWUSR)

    def _link_work(self, work: Path) -> None:
        """Let `allot build --shell` find the work folder by the part's name."""
        link = self.folder / ".build" / self.name
        link.parent.mkdir(exist_ok=True)
        if link.is_symlink():
            link.unlink()
        remove(link)  # a folder, of the python.develop that the section was before
        link.symlink_to(work)

    def _check(self, place: Place) -> None:
        if not any(self.location.iterdir()):
            raise PartError(
                f"[{self.name}] make install wrote nothing into {self.location}",
                "Hand it on as @@LOCATION@@: in configure-options, or as PREFIX in make-options",
            )
        folders = [place.work, self.location.resolve(), self.folder, *filter(None, [self.run.closure])]
        traces = [folder for folder in folders if not self.store.root.is_relative_to(folder)]
        programs = {tool.partition(":")[0] for tool in self.options.host_tools}
        traces += map(real_programs, HOST_FOLDERS)
        check_part(
            self.name, self.location, self.roots, traces, built_in=[place.work], parts=self.parts, programs=programs
        )

    def _note(self, seconds: float, phases: Sequence[Mapping[str, Any]]) -> None:
        size = sum(path.lstat().st_size for path in Path(f"{self.location}/").rglob("*") if path.is_file())
        fields = {"part": self.name, "version": self.version, "seconds": round(seconds, 1), "bytes": size}
        fields["hash"] = digest_of(self)
        references = [part.name for part in self.referred_parts()]
        self.store.note(self.location, {**fields, "phases": phases, "references": references})
        self.logger.info("built %s in %.1f s, %.1f MB", self.location.name, seconds, size / 1e6)

    def _variables(self) -> dict[str, str]:
        name = self.options.environment.strip()
        if not name or "=" in name:
            return read_variables(name)
        if len(name.split()) > 1:
            raise OptionProblem("environment", f"{name!r} is neither NAME=value nor a section", "Write one of them")
        section = self.buildout[name]
        return {key: section[key] for key in section if key not in ("recipe", "_profile_base_location_")}

    def _is_source(self, part: Path) -> bool:
        return self.source_folder is not None and self.source_folder.is_relative_to(part)

    def _check_tools(self) -> None:
        """Raise when this machine lacks a program or the compiler, before anything is fetched or built."""
        if self.needs_compiler:
            check_compiler(self.name, self.run.compiler)
        brought = {pin.name for pin in self.pins} | set(getattr(self.buildout, "parts_of", lambda name: ())(self.name))
        programs = ["gcc"] if self.tools and self.needs_compiler else []
        programs += [tool for tool in self.tools if tool not in brought]
        programs += [self.patch_binary] if self.patches and "/" not in self.patch_binary else []  # or of another part
        if lacking := missing_tools([*programs, *self.options.host_tools]):
            packages = " ".join(dict.fromkeys(lacking.values()))
            problem = f"[{self.name}] host-tools: this machine has no {' and no '.join(lacking)} in {HOST_PATH}"
            other = ", or pin it in python-tools" if set(lacking) & {"cmake", "meson", "ninja"} else ""
            raise MissingToolError(problem, f"Install it: apt-get install {packages}{other}")

    def _check_relocatable(self) -> None:
        """Raise when an option names the release's own folder; the tree of profiles in it is hashed file by file."""
        texts = {
            option: text for option, text in self.raw.items() if option not in self.not_inputs and option[0] != "_"
        }
        texts["environment"] = "\n".join(self.variables.values())
        folders = (self.run.closure, self.store_root(shared=True), *self.run.lower_roots)
        elsewhere = [str(folder) for folder in folders if folder is not None]
        own = str(self.folder)
        for option, text in texts.items():
            if own not in text:
                continue
            for folder in elsewhere:
                text = text.replace(folder, "")
            if names_folder(text, self.folder):
                raise OptionProblem(
                    option, f"names {self.folder}, and a shared part is for all releases", "Write 'shared = false'"
                )

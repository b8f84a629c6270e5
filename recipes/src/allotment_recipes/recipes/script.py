# SPDX-License-Identifier: Apache-2.0
"""Recipe ``script``: Python in the profile itself, run when a section is read, installed or updated."""

import contextlib
import fcntl
import os
import sys
import tempfile
import textwrap
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import ClassVar, Final

from allotment.atomic import sync_file_system
from allotment.blobs import BlobStore
from allotment.errors import AllotmentError, MachineError
from allotment.options import Lines, OptionProblem, Words, rest
from allotment_recipes import confined_script, wheels
from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.hermetic.bench import bench, is_confined
from allotment_recipes.part_promises import check_promises, read_promises
from allotment_recipes.python_programs import pins_of
from allotment_recipes.script_tools import ScriptTools, in_place, scope
from allotment_recipes.scripts import read_environment, refuse_whole_folder
from allotment_recipes.shared_store import Store, remove, seal
from allotment_recipes.source_options import file_name, pinned_source
from allotment_recipes.waiting import Waiting

_SNIPPETS: Final = ("init", "install", "update")


@dataclass(frozen=True)
class Options:
    init: str = ""  # Python run when the section is read; what it sets in options, other sections read
    install: str = ""  # Python that makes location; default: what update does
    update: str = ""  # Python run at each later run
    location: str = ""  # file or folder that install makes; default: a folder of the part's own
    environment: str = ""  # self.environ: NAME=value a line, or the name of a section; %(NAME)s is the value before
    setup_eggs: Words = Words(())  # distributions that the snippets import, each pinned in [versions] and [hashes]
    slapos_promise: Lines = Lines(())  # what must be there after install, such as file:bin/x, one a line
    shared: bool = False  # into the store that all releases share; false: into the release's own
    version: str = "1"  # a word in the part's folder name
    values: dict[str, str] = rest()  # each other option is the snippets' own


class Recipe(GenericBaseRecipe[Options]):
    """Run Python that stands in the profile. ``install`` must make ``location``, and what fails leaves nothing there.

    It finds ``self``, ``options``, ``buildout``, ``location``, ``guessworkdir``, ``guessPlatform`` and ``multiarch``;
    ``self`` has ``download``, ``extract``, ``copyTree``, ``pipeCommand``, ``applyPatchList``, ``failIfPathExists``,
    ``environ``, ``run``, ``write``, ``reveal`` and ``hide``. A mistake is named with its option and line. In the build
    of a release ``install`` and ``update`` have no network but by ``self.download``, and write only into its folder.
    """

    build_version = 2
    not_inputs: ClassVar[frozenset[str]] = frozenset({"shared"})

    def prepare(self) -> None:
        self.code = {name: self._compiled(name) for name in _SNIPPETS}
        if self.options.shared:
            self._check_shared()
        self.variables = read_environment(self, self.options.environment)
        try:
            self.pins = pins_of(self.options.setup_eggs, self.buildout) if self.options.setup_eggs else ()
        except AllotmentError as error:
            raise OptionProblem("setup-eggs", error.what, error.fix) from error
        self.tools = ScriptTools(self, self.variables)  # one: what init sets in self, the others find there
        self.own_location = self._own_location()
        self.publish_option("location", self.own_location if not self.options.location else self.options.location)
        values = self.options.values
        if values.get("url") and values.get("sha256sum"):  # known beforehand, so it is fetched with all others
            md5sum = values.get("md5sum", "")
            self.source = pinned_source(file_name(values["url"]), values["sha256sum"], md5sum, (values["url"],))
        self._execute("init")
        self.makes_location = bool(self.code["install"]) or self.raw.get("location") != str(self.own_location)
        if text := self.raw.get("location", ""):
            refuse_whole_folder(self, "location", self.path(text))
        if self.options.shared and self.raw.get("location") != str(self.own_location):
            raise OptionProblem("location", "is another one, and a shared part can't choose", "Leave it as it is")

    def inputs(self) -> Mapping[str, str]:
        """Return what no option of this section says: variables of another section, pins."""
        variables = {f"variable {name}": value for name, value in self.variables.items()}
        return {**variables, **{pin.requirement: " ".join(pin.hashes) for pin in self.pins}}

    def install(self) -> list[Path]:
        """Run ``install``, unless the part is in the store; without it, run ``update``."""
        if not self.code["install"]:
            return self._execute("update")
        text = self.raw.get("location", "")
        if not text:
            return self._execute("install")
        location = self.path(text)
        self.run.journal.release(location)
        started, written = time.time(), []
        with self._making(location) as is_there:
            if not is_there:
                written = self._execute("install")
                self._check(location)
        if location.parent in self.run.shared_roots:
            self._tell(location, started, is_reused=is_there)
            return written
        return [location, *written]

    def update(self) -> list[Path]:
        """Run ``update``; what ``install`` made stays this part's."""
        written = self._execute("update")
        text = self.raw.get("location", "") if self.code["install"] else ""
        location = self.path(text) if text else None
        return written if location is None or location.parent in self.run.shared_roots else [location, *written]

    def _check_shared(self) -> None:
        if not self.code["install"]:
            raise OptionProblem("install", "missing option, and a shared part needs it", "Add 'install = ...'")
        for option in ("update", "location"):
            if getattr(self.options, option).strip():
                raise OptionProblem(option, "a shared part can't have it", "Take it out, or write 'shared = false'")

    def _own_location(self) -> Path:
        if self.run.instance is None:
            return self.store_path(self.name, self.options.version, shared=self.options.shared)
        return self.path(self.buildout["buildout"].get("parts-directory", "parts")) / self.name

    def _compiled(self, option: str) -> CodeType | None:
        text = textwrap.dedent(getattr(self.options, option)).strip("\n")
        if not text.strip():
            return None
        try:
            return compile(text + "\n", f"[{self.name}] {option}", "exec")
        except (SyntaxError, ValueError) as error:
            line = f"line {error.lineno}: " if isinstance(error, SyntaxError) and error.lineno else ""
            reason = error.msg if isinstance(error, SyntaxError) else str(error)
            raise OptionProblem(option, f"{line}{reason}", "Correct the Python") from error

    def _execute(self, option: str) -> list[Path]:
        """Run a snippet; return the files that it has written by ``self.write``."""
        code = self.code[option]
        if code is None:
            return []
        self.tools.written = []
        if option != "init":
            self.run.journal.flush()
        if option != "init" and is_confined(self):
            self._run_confined(option, code)
        else:
            with self._named(option), self._importing(None):
                self._run_code(code, None)
        return self.tools.written

    def _run_confined(self, option: str, code: CodeType) -> None:
        location = self.path(self.raw.get("location", ""))
        made = location if option == "install" and location.parent in self.run.shared_roots else None
        with bench(self, made) as place, contextlib.ExitStack() as stack:
            with self._named(option):
                stack.enter_context(self._importing(place.folder))

            def work() -> None:
                with self._named(option):
                    self._run_code(code, place.environment)

            if place.sandbox is None:
                work()
            else:
                confined_script.run(self, self.tools, place.sandbox, work)

    def _run_code(self, code: CodeType, environment: Mapping[str, str] | None) -> None:
        self.tools.enter(environment)
        try:
            with in_place(self.folder, environment):
                exec(code, scope(self.tools, self.raw.get("location", "")))  # noqa: S102 (the recipe is for that)
        finally:
            self.tools.close()

    @contextlib.contextmanager
    def _named(self, option: str) -> Iterator[None]:
        """Tell of a mistake in which option and line it is."""
        try:
            yield
        except Waiting:
            raise
        except AllotmentError as error:
            kind = MachineError if isinstance(error, MachineError) else AllotmentError
            raise kind(f"{self._place(error, option)}: {self.run.tokens.scrub(error.what)}", error.fix) from error
        except (Exception, SystemExit) as error:
            shown = "".join(traceback.format_exception(error))
            self.logger.info("%s", self.run.tokens.scrub(shown.rstrip()))
            problem = self.run.tokens.scrub(f"{type(error).__name__}: {error}")
            raise AllotmentError(f"{self._place(error, option)}: {problem}", "Correct the Python") from error

    def _place(self, error: BaseException, option: str) -> str:
        name = f"[{self.name}] {option}"
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == name]
        return f"{name}, line {lines[-1]}" if lines else name

    @contextlib.contextmanager
    def _importing(self, place: Path | None) -> Iterator[None]:
        """Let the snippet import ``setup-eggs``, from a folder in ``place``, or from one of temporary files."""
        if not self.pins:
            yield
            return
        with tempfile.TemporaryDirectory(dir=place) as folder:
            library, programs = Path(folder, "lib"), Path(folder, "scripts")
            library.mkdir()
            programs.mkdir()
            wheels.install(self.pins, BlobStore(self.run.sources), library, programs)
            sys.path.insert(0, str(library))
            try:
                yield
            finally:
                sys.path.remove(str(library))

    @contextlib.contextmanager
    def _making(self, location: Path) -> Iterator[bool]:
        """Say whether ``location`` is there, whole; else it is what the block makes, or is not there after it.

        A note tells that it is being made: what a killed run has left is no part, though it has its final name.
        """
        if location != self.own_location:
            with _nothing_half(location):
                yield False
            return
        note = location.parent / ".work" / f"{location.name}.unfinished"
        try:
            note.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = f"[{self.name}] {error.filename} can't be made: {error.strerror}"
            raise MachineError(reason, "Check the folder and its owner") from error
        is_named_by_hash = self.run.instance is None and hasattr(self.buildout, "part_hash")
        with note.open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            if os.path.lexists(location) and not file.read() and is_named_by_hash:
                yield True
                return
            _remove(location)
            file.write("it is being made\n")
            file.flush()
            with _nothing_half(location):
                yield False
                if location.parent in self.run.shared_roots:
                    seal(location)
            if is_named_by_hash:
                sync_file_system(location.parent)
            file.truncate(0)

    def _check(self, location: Path) -> None:
        if not os.path.lexists(location):
            fix = "Make it, or write options['location'] = '' in init"
            self.fail(OptionProblem("install", f"has not made {location}", fix))
        lines = [*self.options.slapos_promise, *self.options.values.get("slapos_promise", "").splitlines()]
        check_promises(self.name, read_promises(filter(None, map(str.strip, lines)), location))

    def _tell(self, location: Path, started: float, *, is_reused: bool) -> None:
        seconds = 0.0 if is_reused else time.time() - started
        if not is_reused:
            size = sum(path.lstat().st_size for path in (location, *location.rglob("*")) if path.is_file())
            fields = {"part": self.name, "version": self.options.version, "seconds": round(seconds, 1), "bytes": size}
            (location.parent / ".built").mkdir(exist_ok=True)
            store = Store(location.parent)
            store.note(location, {**fields, "references": [part.name for part in self.referred_parts()]})
            store.record(location, location)
        self.run.tell_part(self.name, self.options.version, started, seconds, is_reused=is_reused)


@contextlib.contextmanager
def _nothing_half(location: Path) -> Iterator[None]:
    """Remove what a block that fails has begun to make."""
    was_there = os.path.lexists(location)
    try:
        yield
    except BaseException:
        if not was_there:
            _remove(location)
        raise


def _remove(location: Path) -> None:
    if location.is_dir() and not location.is_symlink():
        remove(location)
    else:
        location.unlink(missing_ok=True)

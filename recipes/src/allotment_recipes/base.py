# SPDX-License-Identifier: Apache-2.0
"""The base of every recipe: options are parsed before anything is written, files go through the run's journal."""

import contextlib
import functools
import logging
import shutil
import tempfile
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any, ClassVar, Generic, NoReturn, TypeVar

from allotment.errors import AllotmentError, nearest
from allotment.options import OptionProblem, option_name, option_names, parse_options
from allotment.secret import Secret
from allotment_recipes.context import RunContext, context_of
from allotment_recipes.references import variables_of
from allotment_recipes.values import written_value

O = TypeVar("O")  # noqa: E741 (the recipe's Options)

# Options of every section that are buildout's business, not the recipe's.
FRAMEWORK = frozenset({"recipe", "<", "<part-dependencies>", "_profile_base_location_", "_buildout_section_name_"})


class GenericBaseRecipe(Generic[O]):
    """A recipe: subclass it with your ``Options`` dataclass and write ``install``.

    ``prepare`` runs at the end of the constructor; other sections read what it sets with ``publish_option``.
    """

    # Whether ``install`` only fills ``location``, a folder of a store: it is built in a process of its own then, beside
    # other parts, before its turn comes; and ``install`` is called again, to find it whole.
    builds_ahead: ClassVar[bool] = False
    makes_location: bool = True  # whether ``location``, if the section has it, is what the part is
    build_version: ClassVar[int] = 0  # raise it when the same options now give other files; 0: builds no store part
    options_class: ClassVar[type]
    options: O
    run: RunContext

    def __init_subclass__(cls) -> None:
        for base in cls.__dict__.get("__orig_bases__", ()):
            origin = typing.get_origin(base)
            if isinstance(origin, type) and issubclass(origin, GenericBaseRecipe):
                cls.options_class = typing.get_args(base)[0]

    def __init__(self, buildout: Mapping[str, Any], name: str, options: MutableMapping[str, str]) -> None:
        self.buildout = buildout
        self.name = name
        self.raw = options
        self.folder = Path(buildout["buildout"]["directory"])
        self.run = context_of(buildout)
        self.logger = logging.getLogger(name)
        self.options = self._parse()
        with told(upstream=self.is_upstream):
            try:
                self.prepare()
            except OptionProblem as problem:
                self.fail(problem)
        if self.is_upstream:  # it takes paths as texts only; our driver makes them so
            for step in (self.install, self.update):
                setattr(self, step.__name__, functools.partial(_as_texts, step))

    def prepare(self) -> None:
        """Compute, in the constructor, the options that other sections may refer to; write nothing."""

    def install(self) -> list[Path]:
        """Write the files; return the paths that buildout removes when the part goes."""
        return []

    def update(self) -> list[Path]:
        """Do what ``install`` does: unchanged files are not touched."""
        return self.install()

    def watched(self) -> Iterable[Path] | None:
        """Return by which paths, beside those that ``install`` returns, ``update`` can have anything to do.

        A build in which all of them are as they were is not run again. None: this part always may have.
        """
        from allotment_recipes.graph.ahead import location_ahead

        location = location_ahead(self)  # not a folder that may be filled with other things, such as a working copy
        return None if location is None else [location]

    @classmethod
    def kept(cls, options: Mapping[str, str]) -> list[str]:
        """Return the paths of data that stay when a part with these options goes: the run's log names those there are.

        A recipe that has more to undo than its files also has a ``uninstall(name, options)``, a class method: our
        driver calls it, and upstream's command when the distribution registers it with ``zc.buildout.uninstall``.
        """
        return []

    @classmethod
    def other_names(cls, name: str) -> list[str]:
        """Return what profiles of others call this recipe, which is registered as ``name``; ``allot plugins`` asks."""
        from allotment_recipes import aliases

        return aliases.names_of(name) if cls.__module__.startswith("allotment_recipes.recipes.") else []

    def publish_option(self, option: str, value: object) -> None:
        """Set an option of this section that other sections read as ``${section:option}``."""
        self.raw[option] = str(value)

    def path(self, path: Path | str) -> Path:
        """Return ``path``, taken from the partition's or release's folder when it is relative."""
        return self.folder / path

    def write(self, path: Path | str, content: str | bytes, mode: int = 0o644, *, private: bool = False) -> Path:
        """Enter a file into the run's journal and return its path.

        A ``private`` file, and one whose text holds a secret, is never readable by others; secrets get their values.
        """
        target = self.path(path)
        if isinstance(content, str):
            private = private or self.run.tokens.found_in(content)
            content = self.run.tokens.reveal(content).encode()
        self.run.journal.write(target, content, mode & ~0o077 if private else mode, self.name, self._profile)
        return target

    def link(self, path: Path | str, target: Path | str) -> Path:
        """Enter a symbolic link into the run's journal and return its path; it goes with the part, as a file does.

        ``target`` is kept as it is written (from the link's folder, when it is relative) and need not exist yet.
        """
        link = self.path(path)
        self.run.journal.link(link, str(target), self.name, self._profile)
        return link

    def fail(self, problem: OptionProblem) -> NoReturn:
        """Raise an option's problem as the error that names this section."""
        from allotment_recipes.option_error import OptionError

        raise OptionError(self.name, problem) from problem

    def inputs(self) -> Mapping[str, str]:
        """Return what the built part depends on beyond its own options: pins, patches."""
        return {}

    def store_path(self, name: str, version: str, *, shared: bool = False) -> Path:
        """Return where this part is built to: a store under our driver, ``parts`` under upstream's command.

        A ``shared`` part goes to the store of all releases, the others to the release's own. What is whole in a lower
        store is used there.
        """
        hasher = getattr(self.buildout, "part_hash", None)
        if hasher is None:
            return self.folder / "parts" / self.name
        from allotment_recipes.store import part_path

        try:
            location = part_path(self.store_root(shared=shared), name, version, hasher(self.name, self))
        except AllotmentError as error:
            raise OptionProblem("version, or the section's name", error.what, error.fix) from error
        if not shared or not self.run.lower_roots:
            return location
        from allotment_recipes.stores import find

        return find(self.run.shared_roots, location.name) or location

    @property
    def _profile(self) -> str:
        """What tells this run's profiles apart: each has its own list of installed parts."""
        return str(self.buildout["buildout"].get("installed", ""))

    @property
    def is_upstream(self) -> bool:
        """Whether upstream's own command runs us, with our extension or without, and not our driver."""
        return type(self.buildout).__module__ in ("zc.buildout.buildout", "allotment_recipes.extension")

    def store_root(self, *, shared: bool) -> Path:
        """Return the store of all releases, if the run has one, or else the release's own."""
        root = self.run.store_root if shared else None
        return root or self.folder / "store"

    def referred_parts(self) -> list[Path]:
        """Return the ``location`` of each part that this section refers to, directly or through variables."""
        names = getattr(self.buildout, "parts_of", lambda name: ())(self.name)
        parts = [self.buildout[name] for name in names]
        return [Path(part["location"]) for part in parts if "location" in part and _makes_location(part)]

    @contextlib.contextmanager
    def building(self, location: Path) -> Iterator[Path | None]:
        """Give a folder to build ``location`` in, renamed to it at the end; None when the part is there already.

        A crash leaves no half part under the final name.
        """
        from allotment.atomic import sync_file_system

        if location.is_dir():
            yield None
            return
        location.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{location.name[:40]}-", dir=location.parent))
        try:
            yield temporary
            temporary.chmod(0o755)
            sync_file_system(temporary)
            temporary.rename(location)
        finally:
            if temporary.exists():
                shutil.rmtree(temporary)

    def _written_value(self, option: str, text: Any) -> Any:
        try:
            return written_value(self.raw, option, text)
        except ValueError as error:
            self.fail(OptionProblem(option, str(error), "Write it with dumps() in the template of the profile"))

    def _parse(self) -> O:
        known, prefixes, secrets = _known(self.options_class)
        raw: dict[str, Any] = {option: value for option, value in self.raw.items() if option not in FRAMEWORK}
        others = {option for option in raw if option not in known and not option.startswith(prefixes)}
        if others:  # rarely; it takes a search of the whole profile to know its variables
            for option in others & variables_of(self.buildout, self.name, self.raw):
                del raw[option]
        for option in secrets & raw.keys():
            raw[option] = Secret(self.run.tokens.reveal(raw[option]))
        for option in (known - secrets) & raw.keys():
            raw[option] = self._written_value(option, raw[option])
        try:
            return typing.cast(O, parse_options(self.options_class, raw))
        except OptionProblem as problem:
            self.fail(problem)


def _makes_location(part: Any) -> bool:
    """Whether ``location`` of a section is what the part is; a recipe of somebody else says nothing of it."""
    return bool(getattr(getattr(part, "recipe", None), "makes_location", True))


def prepare_options(recipe: object) -> None:
    """Read a recipe's types of options now: runs that are forked from this process find them read."""
    options = getattr(recipe, "options_class", None)
    if options is not None:
        _known(options)
        with contextlib.suppress(OptionProblem):  # of a section that says nothing; its types are read before
            parse_options(options, {})


def _as_texts(step: Callable[[], list[Path]]) -> list[str]:
    with told(upstream=True):
        return [str(path) for path in step()]


@contextlib.contextmanager
def told(*, upstream: bool) -> Iterator[None]:
    """Make errors such as upstream's own command tells, without where in our code they were found."""
    try:
        yield
    except AllotmentError as error:
        if not upstream:
            raise
        from allotment_recipes.option_error import OptionError, ProfileError

        if isinstance(error, OptionError | ProfileError):
            raise
        raise ProfileError(error.what, error.fix) from error


@functools.cache
def _known(options: type) -> tuple[frozenset[str], tuple[str, ...], frozenset[str]]:
    """Return the names of the options, the prefixes of those that have no field of their own, and which are secrets."""
    hints = typing.get_type_hints(options)
    secrets = frozenset(option_name(name) for name, hint in hints.items() if hint in (Secret, Secret | None))
    return *option_names(options), secrets


def unknown_option(name: str, valid: tuple[str, ...]) -> OptionProblem:
    """Return the problem of an option that no field or prefix of the recipe takes."""
    return OptionProblem(name, "unknown option", nearest(name, valid))

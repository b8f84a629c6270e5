# SPDX-License-Identifier: Apache-2.0
"""The buildout driver: upstream's ``Buildout`` and ``Options``, subclassed. One run a process: see ``zygote``.

tests/recipes/test_upstream_contract.py names every internal of zc.buildout that is used here.
"""

import functools
import importlib.metadata
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import zc.buildout.buildout as upstream

from allotment.atomic import write_bytes
from allotment.errors import AllotmentError, nearest
from allotment_recipes import installed_parts, uninstalling
from allotment_recipes.context import RunContext
from allotment_recipes.graph.ahead import Ahead, location_ahead
from allotment_recipes.installed_parts import PATHS
from allotment_recipes.journal import is_inside
from allotment_recipes.node_sections import node_sections
from allotment_recipes.option_error import ProfileError
from allotment_recipes.part_hashes import PartHashes
from allotment_recipes.profiles import BASE_LOCATION, reading
from allotment_recipes.reader import limits
from allotment_recipes.reader.settings import tell_settings
from allotment_recipes.recipe_loading import canonical
from allotment_recipes.references import references
from allotment_recipes.remote_profiles import RemoteProfiles
from allotment_recipes.sections import SIGNATURE, Options
from allotment_recipes.shared_store import remove
from allotment_recipes.signatures import recipe_signature
from allotment_recipes.source_lock import NAME as LOCK
from allotment_recipes.source_lock import SourceLock
from allotment_recipes.waiting import Waiting


class Buildout(upstream.Buildout):  # type: ignore[misc]  # zc.buildout has no types
    """One run over one profile. ``run_parts`` is the way in; the rest are upstream's steps, overridden."""

    Options = Options
    characters = 0  # of all options whose references were replaced

    def __init__(
        self,
        profile: Path | None,
        run: RunContext,
        settings: Mapping[str, str],
        *,
        records: bool = False,
        lock: SourceLock | None = None,
    ) -> None:
        """``records``: what has no sha256 is not an error, but noted for ``allot.lock``."""
        self.run = run
        self.waiting: dict[str, str] = {}  # section -> what it waits for
        self.files: list[Path] = []  # every profile that was read, but those of other machines
        place = run.folder if profile is None else profile.parent
        self.lock = lock or SourceLock(place / LOCK, run.folder, run.closure, records=records)
        self.hashes = PartHashes(self)
        self.ahead: Ahead | None = None  # what builds parts beside each other, in a build
        self._reader: str | None = None  # the part whose recipe alone is at work here: it reads what it refers to only
        self._stack: list[str] = []
        self._edges: dict[str, set[str]] = {}
        self._said: set[str] = set()
        self._installed: dict[str, Any] = {}
        self._on_disk: installed_parts.Parts = []
        self._uninstalled: set[str] = set()
        self._prepared: list[str] | None = None  # all parts, from when the first is installed
        options = {"directory": str(run.folder), "newest": "false", "offline": "true", **settings}
        overrides = [("buildout", key, value) for key, value in options.items()]
        with reading(self.files, run, RemoteProfiles(self.lock, run), options):
            try:
                self._read_profile(None if profile is None else str(profile), overrides)
            except FileNotFoundError as error:  # upstream opens what is extended without looking
                raise ProfileError(
                    f"[buildout] extends: {os.path.normpath(str(error.filename))} does not exist",
                    f"Correct it in {profile}, or in what it extends, or add that file",
                ) from error
        tell_settings(self)
        if run.instance is not None:
            for name, found in node_sections(run.instance).items():
                self._raw[name] = {**found, **self._raw.get(name, {})}

    def _read_profile(
        self, profile: str | None, overrides: list[tuple[str, str, str]], *, use_user_defaults: bool = False
    ) -> None:
        super().__init__(profile, overrides, use_user_defaults=use_user_defaults)

    @functools.cached_property
    def references(self) -> dict[str, set[str]]:
        """Which options of which sections the profile refers to."""
        return references(self._raw)

    # Reading: who refers to whom, and who waits.

    def __getitem__(self, section: str) -> Any:
        if section in self.waiting:
            raise Waiting(self.waiting[section])
        if self._reader is not None:
            self._check_read(self._reader, section)
        if self._stack:
            self._edges.setdefault(self._stack[-1], set()).add(section)
        if section in self._data:
            return self._data[section]
        if len(self._stack) > limits.DEPTH:
            raise ProfileError(
                f"[{self._stack[0]}] comes to more than {limits.DEPTH} sections by way of others", "Use fewer"
            )
        self._stack.append(section)
        try:
            found = super().__getitem__(section)
            self._check_late(section)
            return found
        except Waiting as waiting:
            self._data.pop(section, None)  # half made
            self.waiting[section] = str(waiting)
            raise
        except upstream.MissingSection as error:
            raise self._no_section(error.args[0]) from error
        except upstream.MissingOption as error:
            raise self._no_option(section, error) from error
        finally:
            self._stack.pop()

    def only_reads(self, part: str) -> None:
        """Make it an error to read a part from now on that ``part`` does not refer to: it may not be built yet."""
        self._readable = {part, *self.hashes.all_parts_of(part)}
        self._reader = part

    def _check_read(self, reader: str, section: str) -> None:
        is_part = bool(self._raw.get(section, {}).get("recipe"))
        for part in [section] if is_part else self.parts_of(section):
            if part not in self._readable:
                raise ProfileError(
                    f"[{reader}] reads [{part}] only while it is installed: that part may not be built yet",
                    f"Refer to it, or add '<part-dependencies> = {part}' to [{reader}]",
                )

    def _check_late(self, section: str) -> None:
        """Make it an error that a part is found while others are installed; upstream has no signature of it."""
        if self._prepared is not None and section in self._parts and section not in self._prepared:
            self._parts.remove(section)
            del self._data[section]
            raise ProfileError(
                f"[{section}] is read only while another part is installed, and nothing else makes it a part",
                f"Refer to it where it is read, or add {section} to [buildout] parts",
            )

    def _no_section(self, section: str) -> ProfileError:
        user = self._stack[-2] if len(self._stack) > 1 else "buildout"
        return ProfileError(f"[{user}] refers to the section '{section}', which does not exist", self.nearest(section))

    def _no_option(self, section: str, error: KeyError) -> ProfileError:
        if len(error.args) == 3:
            _, owner, option = error.args
            valid = tuple(key for key in self._data.get(owner, ()) if key != BASE_LOCATION)
            return ProfileError(
                f"[{section}] refers to ${{{owner}:{option}}}, but [{owner}] has no such option", nearest(option, valid)
            )
        return ProfileError(str(error.args[0]), "Add it")

    def say_once(self, text: str) -> None:
        """Tell what concerns many sections alike one time in a run."""
        if text not in self._said:
            self._said.add(text)
            self._logger.info(text)

    def pin_egg(self, name: str, version: str, sha256: str) -> None:
        """Enter an egg into ``[versions]`` and ``[hashes]``, where recipes look for pins."""
        for section, text in (("versions", version), ("hashes", f"sha256:{sha256}" if sha256 else "")):
            self._raw.setdefault(section, {})
            for other in [other for other in self[section] if canonical(other) == canonical(name)]:
                self[section][other] = text
            self[section][canonical(name)] = text

    def nearest(self, section: str) -> str:
        """Return the advice for a section that does not exist."""
        return nearest(section, tuple(name for name in self._raw if name not in ("buildout", "versions", "hashes")))

    def graph(self) -> dict[str, tuple[str, ...]]:
        """Map each part to the parts that it refers to, directly or through sections that are no parts."""
        parts = set(self._parts)
        return {part: tuple(sorted(self._reachable(part, parts))) for part in self._parts}

    def parts_of(self, name: str) -> list[str]:
        """Return the parts that a section refers to; in a recipe's constructor, those that it has named so far."""
        return sorted(self._reachable(name, set(self._parts)))

    def _reachable(self, section: str, parts: set[str]) -> set[str]:
        found: set[str] = set()
        seen = {section}
        todo = list(self._edges.get(section, ()))
        while todo:
            name = todo.pop()
            if name in seen:
                continue
            seen.add(name)
            if name in parts:
                found.add(name)
            else:
                todo.extend(self._edges.get(name, ()))
        return found

    def part_hash(self, name: str, recipe: Any = None) -> str:
        """Return the hash of a part's inputs; a recipe asks in its constructor, after its references are resolved."""
        return self.hashes.hash(name, recipe)

    @functools.cached_property
    def _wanted_folders(self) -> frozenset[Path]:
        """The folders of parts that this build wants: their names tell their inputs, so an old record's is the same."""
        if self.ahead is None:
            return frozenset()
        return frozenset(filter(None, (location_ahead(self[part].recipe) for part in self._parts)))

    # Running.

    def run_parts(self) -> None:
        """Process the profile's parts; what waits is left as it is, and nothing is uninstalled then."""
        self.prepare_parts()
        ready = list(self._parts)
        if not self.waiting:
            self.install([])
        elif ready:
            self.install(ready)  # named parts: upstream uninstalls nothing of what is not named
        if self.ahead is not None:
            self.ahead.check()

    def prepare_parts(self) -> None:
        """Run the constructors of all parts."""
        parts = self["buildout"].get("parts")
        if parts is None:
            raise ProfileError("[buildout] parts: missing option", "Add 'parts = ...'")
        for part in parts.split():
            try:
                options = self[part]
            except Waiting:
                continue
            if not options.get("recipe"):
                raise ProfileError(f"[{part}] recipe: missing option", "Add 'recipe = ...', or take it out of parts")

    def waiting_parts(self) -> tuple[str, ...]:
        """Return ``"part: reason"`` of each part that waits, in the order of the profile."""
        return tuple(
            f"{section}: {reason}"
            for section, reason in sorted(self.waiting.items(), key=lambda item: list(self._raw).index(item[0]))
            if self._raw[section].get("recipe") or section in self["buildout"]["parts"].split()
        )

    def save(self) -> None:
        """Write ``.installed.cfg`` in one step, if it is another than the one that was read.

        Upstream rewrites it after each part, and appends to it at each run.
        """
        parts = [(part, options) for part, options in self._parts_of(self._installed) if part not in self._unmade]
        if parts != self._on_disk or not parts:
            self._record(parts)

    def _record(self, parts: installed_parts.Parts, develop_eggs: str = "") -> None:
        path = Path(self["buildout"]["installed"])
        try:
            if parts or develop_eggs:
                text = installed_parts.text_of(parts, develop_eggs)
                write_bytes(path, self.run.tokens.scrub(text).encode(), 0o600)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            raise AllotmentError(f"{path} can't be written: {reason}", "Mend that, or remove it") from error

    @property
    def _unmade(self) -> frozenset[str]:
        """The parts that are no more, or were never: upstream takes them for installed, because the build went on."""
        if self.ahead is None:
            return frozenset()
        kept = {part for part, _ in self._on_disk} - self._uninstalled
        return self.ahead.unbuilt - kept

    def recorded(self) -> list[str]:
        """Return the paths of all installed parts, as ``save`` writes them."""
        parts = self._parts_of(self._installed)
        return [path for _, options in parts for path in options[PATHS].split("\n") if path]

    @staticmethod
    def _parts_of(installed: Mapping[str, Any]) -> installed_parts.Parts:
        return [(part, installed[part].copy()) for part in installed["buildout"]["parts"].split()] if installed else []

    # Upstream's steps.

    def _setup_directories(self) -> None:
        """Make none: recipes make the folders they write to."""

    def _update_sys_path(self) -> None:
        """Recipes come from the environment that runs buildout; there are no develop eggs."""

    def _develop(self) -> str:
        """Return what counts as an egg and is none: without any, upstream removes a list of no parts too early."""
        return super()._develop() or "\n"

    def _load_extensions(self) -> None:
        """Load no extension of SlapOS: what it does the driver does, or what it helps is not there."""
        options = self["buildout"]
        names = [name for name in options.get("extensions", "").split() if not name.startswith("slapos.")]
        options["extensions"] = "\n".join(names)
        for name in names:  # upstream would ask an index for what is not there, also in an offline run
            try:
                importlib.metadata.distribution(re.split(r"[\[<>=!~;]", name)[0] or name)
            except (importlib.metadata.PackageNotFoundError, ValueError) as error:
                problem = f"[buildout] extensions: {name} can't be loaded: it is not installed"
                raise ProfileError(problem, "Install it where buildout runs, or take it out") from error
        super()._load_extensions()

    def _compute_part_signatures(self, parts: Iterable[str]) -> None:
        for part in parts:
            options = self[part]
            options.shows_theirs = False  # or it would differ from what was recorded
            options[SIGNATURE] = recipe_signature(type(options.recipe))
        self._prepared = list(self._parts)

    def _read_installed_part_options(self) -> tuple[dict[str, Any], bool]:
        path = Path(self["buildout"]["installed"])
        try:
            self._on_disk = installed_parts.read(path)
        except AllotmentError as error:
            self._logger.warning("%s is damaged (%s): all parts are made again", path, error.what)
        found = {"buildout": self.Options(self, "buildout", {"parts": " ".join(name for name, _ in self._on_disk)})}
        for name, options in self._on_disk:
            found[name] = self.Options(self, name, {})
            found[name]._data.update(options)  # final: a parameter with a reference in it would read any option
        self._installed = found
        return found, bool(self._on_disk)

    def _save_installed_options(self, installed_options: dict[str, Any]) -> None:
        self._installed = installed_options

    def _update_installed(self, **buildout_options: str) -> None:
        self._installed["buildout"].update(buildout_options)

    def _uninstall_part(self, part: str, installed_part_options: dict[str, Any]) -> None:
        self._logger.info("Uninstalling %s.", part)
        self._uninstalled.add(part)
        options = installed_part_options[part]
        uninstalling.begin(part, options, self.run.journal, is_wanted=part in self._parts)
        self._uninstall(options[PATHS])

    def _uninstall(self, installed: str) -> None:
        """Leave files to the journal, so that a run that fails later removes nothing; folders go at once.

        What a record names outside of a partition stays: whoever can write there could name any path.
        """
        for name in filter(None, installed.split("\n")):
            path = Path(self._buildout_path(name))
            if path in self._wanted_folders:
                continue
            if self.run.instance is not None and not is_inside(path, self.run.folder):
                self._logger.warning("%s stays: it is outside of %s", path, self.run.folder)
            elif path.is_dir() and not path.is_symlink():
                remove(path)
            else:
                self.run.journal.remove(path)
